"""Whatever fails, the stop ends by grace − 0.2 s, the app is gone, and the report says what was not known.

Uses servers of its own, because it stops and kills them.
"""
import contextlib
import os
import signal
import time

import pytest

from database import Database
from reports import phases, valid
from runner import c_app, descendants, is_alive, lastcall, status
from servers import Servers, wait_until
from stops import start, warm_up

GRACE_S = 4.0


@pytest.fixture(scope="module")
def servers():
    with Servers() as started:
        yield started


def stop_all(pids, signo):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signo)


def ends_in_time(run, grace_s=GRACE_S, began=None):
    """SIGTERM (unless it was sent: began) and the end by grace − 0.2 s with nothing left of the
    app. The valid report."""
    tree = descendants(run.pid)
    if began is None:
        began = time.monotonic()
        run.send()
    run.wait(grace_s + 6)
    seconds = time.monotonic() - began
    assert seconds <= grace_s - 0.2, (seconds, run.err())
    wait_until(lambda: not [pid for pid in tree if is_alive(pid)], 2, "the app's tree is gone")
    return valid(run.report())


# What makes each phase last: a query longer than the grace (holding), an app that takes half a second to
# end (stopping), one that ignores the signal (killing), the server's sessions that must be ended when the
# app is gone (sweeping).
LASTS = {
    "running": {}, "draining": {}, "holding": {}, "stopping": {}, "sweeping": {}, "killing": {"HANDLER": "ignore"},
}


@pytest.mark.parametrize("phase", LASTS)
@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGSTOP])
def test_agent_is_lost(database, directory, phase, signo):
    """The agent killed or stopped in each phase, beside an app with a query longer than the grace and a slow end."""
    run, journal = start("lastcall", "threads, leaves the pool open", database, "direct", directory, True,
                         f"{GRACE_S:g}s",
                         environment={"LONG_QUERY": "30", "LASTCALL_LOG_LEVEL": "debug", **LASTS[phase]})
    agent = 0
    try:
        with run:
            warm_up(run, journal)
            agent = run.agent_pid()
            began = None
            if phase != "running":
                began = time.monotonic()
                run.send()
                wait_until(lambda: phase in run.phases(), GRACE_S + 2, lambda: f"phase {phase}\n{run.err()}",
                           step=0.0005)
            stop_all([agent], signo)
            report = ends_in_time(run, began=began)
            assert phase == "running" or phase in phases(report), report["stop"]
            if phase in ("draining", "holding"):
                assert report["unknown"], report["stop"]
    finally:
        stop_all([agent] if agent and is_alive(agent) else [], signal.SIGKILL)


def test_lost_agent_is_started_again_and_the_app_never_notices(database, directory):
    run, journal = start("lastcall", "threads", database, "direct", directory)
    with run:
        warm_up(run, journal)
        app = run.app_pid()
        for _ in range(3):
            first = run.agent_pid()
            os.kill(first, signal.SIGKILL)
            wait_until(lambda: run.agent_pid(10) != first and is_alive(run.agent_pid(10)), 10,
                       f"another agent\n{run.err()}")
        done = len(journal.of("C"))
        wait_until(lambda: len(journal.of("C")) > done + 10, 5, "the app goes on")
        assert run.app_pid() == app and journal.errors() == []
        report = ends_in_time(run)
    assert report["stop"]["aborted"] == 0, (report["stop"], run.err())
    assert database.settled_counters().xact_rollback == 0


def postgres_processes(servers):
    postmaster = servers.running["postgres"].pid
    return [postmaster, *descendants(postmaster)]


def test_postgres_stopped_while_the_app_runs(servers, database, directory):
    """SIGSTOP to the postmaster and all backends: nothing answers, nothing can be known."""
    run, journal = start("lastcall", "threads", database, "direct", directory, grace=f"{GRACE_S:g}s")
    with run:
        warm_up(run, journal)
        frozen = postgres_processes(servers)
        stop_all(frozen, signal.SIGSTOP)
        try:
            report = ends_in_time(run)
        finally:
            stop_all(frozen, signal.SIGCONT)
        assert report["unknown"], report
        assert report["stop"]["finished"] in (None, 0) or report["stop"]["aborted"] is None or report["unknown"], \
            report["stop"]


def test_postgres_stopped_from_the_start(servers, directory, database):
    """The agent never got a connection; the app does nothing with its own."""
    frozen = postgres_processes(servers)
    stop_all(frozen, signal.SIGSTOP)
    try:
        with lastcall([c_app("behave"), "good"], directory, grace=f"{GRACE_S:g}s",
                      env=database.environment("direct", True)) as run:
            run.ready()
            report = ends_in_time(run)
            assert report["unknown"] or not report["targets"][0]["handles"], report
            assert run.process.returncode == 0, run.err()
    finally:
        stop_all(frozen, signal.SIGCONT)


@pytest.mark.parametrize("app", ["threads", "prefork, good handler"])
def test_redis_gone(servers, database, directory, app):
    run, journal = start("lastcall", app, database, "direct", directory, True, f"{GRACE_S:g}s")
    with run:
        warm_up(run, journal)
        os.kill(servers.running["redis"].pid, signal.SIGKILL)
        servers.running.pop("redis").wait(5)
        try:
            ends_in_time(run)
        finally:
            servers.start_redis()


def test_redis_stopped(servers, database, directory):
    run, journal = start("lastcall", "threads", database, "direct", directory, True, f"{GRACE_S:g}s")
    with run:
        warm_up(run, journal)
        redis = servers.running["redis"].pid
        os.kill(redis, signal.SIGSTOP)
        try:
            ends_in_time(run)
        finally:
            os.kill(redis, signal.SIGCONT)


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_pgbouncer_stopped(servers, database, directory, mode):
    run, journal = start("lastcall", "threads", database, f"pgbouncer-{mode}", directory, grace=f"{GRACE_S:g}s")
    with run:
        warm_up(run, journal)
        pooler = servers.running[f"pgbouncer-{mode}"].pid
        os.kill(pooler, signal.SIGSTOP)
        try:
            ends_in_time(run)
        finally:
            os.kill(pooler, signal.SIGCONT)


def test_app_stopped_by_somebody_else(database, directory):
    """An app that stands under SIGSTOP cannot finish: it is killed in time."""
    run, journal = start("lastcall", "threads", database, "direct", directory, grace=f"{GRACE_S:g}s")
    with run:
        warm_up(run, journal)
        app = run.app_pid()
        os.kill(app, signal.SIGSTOP)
        wait_until(lambda: status(app, "State").startswith("T"), 2, "the app is stopped")
        ends_in_time(run)


def test_app_crashes(database, directory):
    """No stop was asked for: the report comes from the last sample, and the orphans are ended on the server."""
    run, journal = start("lastcall", "threads", database, "direct", directory, grace=f"{GRACE_S:g}s")
    with run:
        warm_up(run, journal)
        os.kill(run.app_pid(), signal.SIGKILL)
        assert run.wait(GRACE_S + 5) == 137, run.err()
        valid(run.report())
    wait_until(lambda: not database.sessions(), 2, "no orphan on the server")


def test_postgres_shut_down(servers, directory):
    """Immediately, under a running app. Last: these servers are started anew after it."""
    database = Database(servers)
    run, journal = start("lastcall", "threads", database, "direct", directory, True, f"{GRACE_S:g}s")
    with run:
        warm_up(run, journal)
        postmaster = servers.running["postgres"]
        postmaster.send_signal(signal.SIGQUIT)
        postmaster.wait(10)
        ends_in_time(run)
