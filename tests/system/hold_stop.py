"""One stop of a hold row, measured. What is counted, and how, is stops.py's; this adds what the hold table asks for.

Must never measure with programs that a build may replace meanwhile: the Stage holds copies."""
import contextlib
import dataclasses
import os
import time

from database import Database
from hold_beside import allow_bench_tables, http_clients
from runner import NOBODY, Journal, Run, as_user
from servers import wait_until
from stops import Stop, count, end_by_signal, warm_up


@dataclasses.dataclass
class HoldStop(Stop):
    user: str = ""
    half_done: int = 0           # committed, and the Redis part that follows each COMMIT never came
    jobs_lost: int = 0           # taken out of Redis, and the app never saw it
    open_for: float = 0.0        # seconds: the longest age of a transaction seen before the signal; pgbench only
    after: float = None          # seconds from the end of the longest transaction open at the signal to the end of all


def start(servers, row, how, database, directory, stage):
    """(run, journal). The files belong to whoever runs it."""
    app, name = row.app, f"{how}.{database.name}"
    journal = Journal(os.path.join(directory, f"{name}.journal"))
    env = {**database.environment(row.route, app.redis), "JOURNAL": journal.path,
           "NODE_PATH": stage.path("node_modules"), **app.environment}
    if app.beside is http_clients:
        env["PORT_FILE"] = os.path.join(directory, f"{name}.port")
    words, prefix = stage.words(app), []
    if app.name.startswith("pgbench"):
        words.append(env["DATABASE_URL"].replace("?pgbouncer=true", ""))
    if how == "tini":
        words = ["tini", "-s", "--", *words]
    if row.user == "user" and os.geteuid() == 0:
        prefix = as_user(NOBODY)
    if how == "lastcall":
        report = os.path.join(directory, f"{name}.report.json")
        words = [stage.path("lastcall"), "--grace", f"{app.grace:g}s", "--report", report, "--", *words]
    return Run(words, directory, env=env, name=name, prefix=prefix), journal


def oldest_transaction(servers, database):
    return float(servers.sql("SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0) "
                             "FROM pg_stat_activity WHERE datname = %s", database.name)[0][0])


def wait_for_load(app, run, journal, servers, database):
    """Until the app has done some work; pgbench, which has no journal, by the server's counters. Returns the longest
    age of a transaction seen meanwhile: pgbench -C leaves transactions open while it connects for
    others of its clients."""
    if app.prepare is not allow_bench_tables:
        warm_up(run, journal, app.transactions)
        return 0.0
    before, ages = database.counters().xact_commit, []

    def enough():
        ages.append(oldest_transaction(servers, database))
        return database.counters().xact_commit - before >= app.transactions and len(database.sessions()) >= 4
    wait_until(enough, 20, lambda: f"pgbench works:\n{run.err()}", step=0.01)
    return max(ages)


def end_sleepers(servers, database):
    """Backends that sleep in a long query do not see that their client is gone."""
    servers.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep' "
                "AND query LIKE 'SELECT pg_sleep%%'", database.name)


def longest_open(journal, signalled):
    """When the last of the transactions that were open at the signal ended, by the app's own clock."""
    marks = [(float(began), float(ended)) for _, began, ended in (line.split() for line in journal.of("T"))]
    ends = [ended / 1e3 for began, ended in marks if began / 1e3 <= signalled < ended / 1e3]
    return max(ends) if ends else None


def multi_cut(journal):
    """MULTI answered, EXEC never: a discarded transaction. One whose EXEC was done is a lost reply instead."""
    return set(journal.of("M")) - journal.confirmed_by_redis()


def half_done(app, database):
    if not app.redis or app.environment.get("ONLY_REDIS"):
        return 0
    return len(database.committed() - database.redis_committed())


def jobs_lost(database, journal):
    pushed, taken = database.redis_committed(), set(journal.of("P"))
    waiting = set(database.redis.lrange("jobs", 0, -1))
    return len(pushed - taken - waiting) if taken else 0


def measure(servers, row, how, directory, stage):
    """One stop of a row, counted."""
    app, database = row.app, Database(servers)
    try:
        if app.prepare:
            app.prepare(servers, database)
        run, journal = start(servers, row, how, database, directory, stage)
        with run, (app.beside(stage, directory, run) if app.beside else contextlib.nullcontext()):
            open_for = wait_for_load(app, run, journal, servers, database)
            in_flight = 0 if app.blind else \
                wait_until(database.in_transaction, 5, "a transaction is open on the server", step=0.001)
            if app.injure:
                app.injure(servers, database)
            signalled = time.monotonic()
            seconds, code = end_by_signal(run, how, app.grace if how == "lastcall" else app.bare_grace)
        last = longest_open(journal, signalled)
        if how != "lastcall":
            end_sleepers(servers, database)
        stop = count(app.name, row.route, how, database, journal, run, seconds, code, in_flight)
        after = None if last is None else round(signalled + seconds - last, 3)
        return complete(stop, row, database, journal, open_for=round(open_for, 3), after=after)
    finally:
        database.drop()


def complete(stop, row, database, journal, **more):
    errors = [line for line in journal.errors() if line.split()[0] not in row.app.ignored_errors]
    found = HoldStop(**vars(stop), user=row.user, half_done=half_done(row.app, database),
                     jobs_lost=jobs_lost(database, journal), **more)
    found.errors = len(errors)
    found.killed = max(0, stop.killed - row.app.killed_by_app)  # behind a pooler the app's own is not counted
    found.aborted += len(multi_cut(journal) - database.redis_committed())
    return found
