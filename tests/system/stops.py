"""One stop of one app by one route, bare or under lastcall, and what the servers and the app's journal say of it.

This is what the tests, the demo and `make check-stops` all measure with: a stop is counted here and nowhere else.
The stop signal is sent at a moment when the server has a transaction of the app open; the same for both.
"""
import contextlib
import dataclasses
import os
import signal
import time

from database import Database
from runner import C_APPS, PYTHON_APPS, Journal, bare, c_app, lastcall, python_app
from servers import NotInTime, wait_until

# The apps of the tables: command, and what makes them what they are.
APPS = {
    "threads": (python_app("threads_pool"), {}),
    "threads, good handler": (python_app("threads_pool"), {"HANDLER": "good"}),
    "threads, leaves the pool open": (python_app("threads_pool"), {"HANDLER": "no-close"}),
    "event loop": (None, {}),
    "event loop, good handler": (None, {"HANDLER": "good"}),
    "prefork": (python_app("prefork"), {}),
    "prefork, good handler": (python_app("prefork"), {"HANDLER": "good"}),
}


def app_command(app, stage=None):
    """Its words and its environment; from the stage, when the app runs as a user who may not read the checkout."""
    command, environment = APPS[app]
    command = command or [c_app("loop_libpq")]
    if stage:
        command = [word.replace(C_APPS, os.path.join(stage, "c")).replace(PYTHON_APPS, os.path.join(stage, "python"))
                   for word in command]
    return command, dict(environment)


@dataclasses.dataclass
class Stop:
    app: str
    route: str
    how: str
    seconds: float           # from the signal to the end of the last process
    code: int                # as a shell would say it
    aborted: int             # xact_rollback
    abandoned: int           # sessions_abandoned; through a pooler: clients without a goodbye as well
    killed: int              # sessions_killed: ended by server command
    lost: int                # committed on the server, the reply never seen by the app
    redis_lost: int          # the same for EXEC
    errors: int              # what the app saw as an error
    finished: int            # transactions the app saw through
    redis_left: int          # Redis connections there when the app had ended
    in_flight: int           # open on the server when the signal was sent
    abandoned_by: list = None
    report: dict = None


def shell_code(code):
    return 128 - code if code < 0 else code


def start(how, app, database, route, directory, with_redis=False, grace="5s", environment=None, stage=None, **more):
    """Starts it: (run, journal)."""
    command, own = app_command(app, stage)
    journal = Journal(os.path.join(directory, f"{how}.{database.name}.journal"))
    env = {**database.environment(route, with_redis), "JOURNAL": journal.path, **own, **(environment or {})}
    if how == "bare":
        return bare(command, directory, name=f"bare.{database.name}", env=env, **more), journal
    program = os.path.join(stage, "lastcall") if stage else None
    return lastcall(command, directory, name=f"lastcall.{database.name}", env=env, grace=grace, program=program,
                    **more), journal


def warm_up(run, journal, at_least=20, limit=20):
    """Waits until the app has done some work and all its connections are in use."""
    def enough():
        assert run.process.poll() is None, f"the app ended by itself:\n{run.err()}\n{journal.lines()[-5:]}"
        return len(journal.of("C")) >= at_least
    wait_until(enough, limit, lambda: f"{at_least} transactions; so far {len(journal.of('C'))}\n{run.err()}")


def end_by_signal(run, how, grace_s):
    """Sends SIGTERM and waits for the end of everything, as a container runtime does: what the main process leaves
    behind, or what is still there after the grace, gets SIGKILL. Returns (seconds, code)."""
    began = time.monotonic()
    run.send(signal.SIGTERM)
    if how != "lastcall":
        run.wait_softly(grace_s)
        seconds = time.monotonic() - began  # SIGKILL to the rest takes no time worth counting; looking for it does
        run.kill()
        return seconds, shell_code(run.process.returncode)
    run.wait(grace_s + 5, "lastcall's end")
    return time.monotonic() - began, shell_code(run.process.returncode)


def measure(servers, app, route, how, directory, with_redis=False, grace_s=5.0, environment=None, **more):
    """One stop, counted."""
    database = Database(servers)
    try:
        run, journal = start(how, app, database, route, directory, with_redis, f"{grace_s:g}s", environment, **more)
        with run:
            warm_up(run, journal)
            in_flight = wait_until(database.in_transaction, 5, "a transaction is open on the server", step=0.001)
            seconds, code = end_by_signal(run, how, grace_s)
        return count(app, route, how, database, journal, run, seconds, code, in_flight)
    finally:
        database.drop()


def redis_connections_left(database):
    """How many Redis still has a second after the app's end; it needs a moment to see the ends of
    those that are gone."""
    with contextlib.suppress(NotInTime):
        wait_until(lambda: not database.redis_clients(), 1, "Redis has seen the ends")
    return len(database.redis_clients())


def discarded(run, how):
    """Clients of a pooler that were held with an unsent write: no goodbye fits behind it, so their connection is reset,
    which costs the pooler a line in its log and no server session. lastcall's report names each."""
    if how != "lastcall" or not os.path.exists(run.report_path):
        return 0
    return sum(1 for target in run.report()["targets"] if target["kind"] == "pgbouncer"
               for handle in target["connections"] if "unsent write was discarded" in (handle["note"] or ""))


def count(app, route, how, database, journal, run, seconds, code, in_flight):
    redis_left = redis_connections_left(database)
    counters = database.settled_counters()
    confirmed = journal.confirmed()
    return Stop(
        app=app, route=route, how=how, seconds=round(seconds, 3), code=code,
        aborted=counters.xact_rollback,
        abandoned=counters.sessions_abandoned + max(0, database.pooler_abandoned() - discarded(run, how)),
        killed=counters.sessions_killed,
        lost=len(database.committed() - confirmed - {"long"}),
        redis_lost=len(database.redis_committed() - journal.confirmed_by_redis()),
        errors=len(journal.errors()), finished=len(confirmed), redis_left=redis_left, in_flight=in_flight,
        abandoned_by=database.abandoned_by(),
        report=run.report() if how == "lastcall" and os.path.exists(run.report_path) else None)
