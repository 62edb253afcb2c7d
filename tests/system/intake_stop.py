"""One stop of an app that serves HTTP, under keep-alive clients that keep a ledger: what became of each request.

Must never judge by what lastcall says: the clients, the app's journal and the server's table are compared."""
import contextlib
import dataclasses
import os
import subprocess
import time

from database import Database
from hold_stage import NODE_HOME, install_node_modules
from runner import C_APPS, PYTHON_APPS, Journal, Run, lastcall_program
from servers import wait_until
from stops import end_by_signal

CLIENTS = 12
NOTICED = 0.02  # seconds from lastcall's end until we know of it, at most
APPS_AT = os.path.join(PYTHON_APPS, "intake")


@dataclasses.dataclass
class App:
    name: str
    words: list
    environment: dict = dataclasses.field(default_factory=dict)
    needs_node: bool = False


APPS = [
    App("node", ["node", os.path.join(APPS_AT, "server.js")], needs_node=True),
    App("node, server.close", ["node", os.path.join(APPS_AT, "server.js")], {"HANDLER": "close"}, needs_node=True),
    App("gunicorn", ["/usr/bin/python3", "-m", "gunicorn", "-c", os.path.join(APPS_AT, "gunicorn.conf.py"),
                     "--chdir", APPS_AT, "wsgi"]),
    App("C", [os.path.join(C_APPS, "intake", "http_libpq")]),
]


class Ledger:
    """What tests/apps/intake/clients.py wrote."""

    def __init__(self, path):
        with open(path, encoding="ascii") as file:
            self.lines = [line.split() for line in file.read().split("\n")[:-1]]

    def of(self, kind):
        return {line[1]: line for line in self.lines if line[0] == kind}

    def refused_before(self, when):
        return [float(line[2]) for line in self.lines if line[0] == "F" and float(line[2]) < when]


@dataclasses.dataclass
class IntakeStop:
    app: str
    how: str
    seconds: float
    code: int
    sent: int              # requests, all in all
    answered: int
    unavailable: int       # answered 503
    cut: int               # sent on an open connection, and neither answer nor 503
    cut_executed: int      # of these, those whose transaction is committed
    raced: int             # sent on a connection that had ended: the client tries again
    lost: int              # committed, and the client has no answer
    aborted: int           # xact_rollback
    errors: int            # the app saw
    turned_away: int       # connections refused while lastcall was there
    draining: float        # seconds in that phase
    report: dict = None
    how_cut: list = None


@contextlib.contextmanager
def clients(port, think, path):
    words = ["/usr/bin/python3", os.path.join(APPS_AT, "clients.py"), str(port), str(CLIENTS),
             *(str(part) for part in think), path]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(5)


def requests_seen(path):
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read().count(b"\nA ")
    return 0


def all_are_told(path):
    ledger = Ledger(path)
    return len(ledger.of("S")) == sum(len(ledger.of(kind)) for kind in "ARXN")


def start(app, how, database, directory, more, prefix):
    name = f"{how}.{database.name}"
    environment = {**database.environment("direct", False), "JOURNAL": os.path.join(directory, f"{name}.journal"),
                   "PORT_FILE": os.path.join(directory, f"{name}.port"), **app.environment, **more}
    if app.needs_node:
        install_node_modules()
        environment["NODE_PATH"] = os.path.join(NODE_HOME, "node_modules")
    words = app.words
    if how == "lastcall":
        report = os.path.join(directory, f"{name}.report.json")
        words = [lastcall_program(), "--grace", "10s", "--report", report, "--", *words]
    return Run(words, directory, env=environment, name=name, prefix=prefix), environment


def wait_for_port(run, path):
    wait_until(lambda: os.path.exists(path) or run.process.poll() is not None, 20, lambda: f"it listens:\n{run.err()}")
    assert os.path.exists(path), f"the app ended by itself:\n{run.err()}"
    with open(path, encoding="ascii") as file:
        return int(file.read())


def measure(servers, app, how, think, directory, environment=None, prefix=(), at_least=150):
    """One stop, counted; `at_least` requests are answered before it."""
    database = Database(servers)
    try:
        run, environment = start(app, how, database, directory, environment or {}, prefix)
        ledger = os.path.join(directory, f"{run.name}.ledger")
        with run:
            port = wait_for_port(run, environment["PORT_FILE"])
            with clients(port, think, ledger):
                wait_until(lambda: requests_seen(ledger) >= at_least, 20, lambda: f"requests:\n{run.err()}")
                seconds, code = end_by_signal(run, how, 10)
                ended = time.monotonic()
                wait_until(lambda: all_are_told(ledger), 5, "each request that was sent has an end")
        return count(app, how, database, run, Ledger(ledger), Journal(environment["JOURNAL"]), seconds, code,
                     ended)
    finally:
        database.drop()


def seconds_in(report, phase):
    return sum(entry["seconds"] or 0 for entry in report["stop"]["phases"] if entry["phase"] == phase)


def count(app, how, database, run, ledger, journal, seconds, code, ended):
    report = run.report() if how == "lastcall" else None
    answered, cut, committed = ledger.of("A"), ledger.of("X"), database.committed()
    refused = ledger.refused_before(ended - NOTICED)
    return IntakeStop(
        app=app.name, how=how, seconds=round(seconds, 3), code=code, sent=len(ledger.of("S")), answered=len(answered),
        unavailable=len(ledger.of("R")), cut=len(cut), cut_executed=len(set(cut) & committed),
        raced=len(ledger.of("N")), lost=len(committed - set(answered)),
        aborted=database.settled_counters().xact_rollback, errors=len(journal.errors()), turned_away=len(refused),
        draining=round(seconds_in(report, "draining"), 3) if report else 0, report=report, how_cut=list(cut.values()))
