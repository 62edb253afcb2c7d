"""Adoptions: the sockets of an app at work, duplicated again and again by ptrace, and whether it has noticed anything.
`test_adoptions.py` and `tests/check_hands.py` both measure with this.

The app's own journal is the witness: no error, every confirmed transaction is on the server, and every one of its lanes
has finished one that it began after the last adoption, so that none waits for a call that was lost."""
import json
import os
import subprocess
import time

from database import Database
from hold_rows import APPS
from runner import ROOT, Journal, Run
from servers import wait_until
from stops import warm_up

ADOPT = os.path.join(ROOT, "build", "hands", "adopt")
LANES = 50
GAP_US = 1500
NAMED = {app.name: app for app in APPS}
NODE, PYTHON, GO, JVM = (NAMED[name] for name in ("node, pg, ioredis", "threads, Python", "pgx", "JVM, by signal"))
# All lanes at full load, which is more than the machine can do; and as many transactions a second as the hold rows
# make, spread over all lanes.
LOADS = {"full load": {}, "pauses": {"SHORTEST_MS": "100", "LONGEST_MS": "250"}}


def lane_of(name):
    return name.split(".")[1]


def lanes_since(journal, began_ms):
    """The lanes that have seen a transaction through which they began after that."""
    return {lane_of(name) for name, began, _ in (line.split() for line in journal.of("T")) if float(began) > began_ms}


def start(servers, app, load, database, directory, stage):
    journal = Journal(os.path.join(directory, f"adopt.{database.name}.journal"))
    env = {**database.environment("direct", app.redis), "JOURNAL": journal.path, "LANES": str(LANES),
           "NODE_PATH": stage.path("node_modules"), **app.environment, **LOADS[load]}
    words = [stage.path("c", "without_getfd"), ADOPT, *stage.words(app)]
    return Run(words, directory, env=env, name=f"adopt.{database.name}", stdin=subprocess.PIPE), journal


def series(run, count, limit):
    """The figures of so many adoptions."""
    run.process.stdin.write(f"{count} {GAP_US}\n".encode())
    run.process.stdin.flush()

    def answer():
        assert run.process.poll() is None, f"adopt ended with {run.process.returncode}:\n{run.err()}"
        return run.out().startswith("{") and run.out().endswith("}\n")
    wait_until(answer, limit, lambda: f"{count} adoptions:\n{run.out()}{run.err()}", step=0.1)
    return json.loads(run.out().splitlines()[-1])


def measure(servers, app, load, count, directory, stage, limit=120):
    """One series: its figures, and what the app has seen of it."""
    database = Database(servers)
    try:
        run, journal = start(servers, app, load, database, directory, stage)
        with run:
            warm_up(run, journal, 2 * LANES)
            before = len(journal.of("C"))
            found = series(run, count, limit)
            over_ms = time.monotonic() * 1000
            found["transactions"] = len(journal.of("C")) - before
            wait_until(lambda: len(lanes_since(journal, over_ms)) == LANES, 20, lambda: f"all {LANES} lanes go on; "
                       f"these did: {sorted(lanes_since(journal, over_ms))}; errors {journal.errors()[:3]}", step=0.2)
        found["errors"] = len(journal.errors())
        found["not_on_the_server"] = len(journal.confirmed() - database.committed())
        return found
    finally:
        database.drop()
