"""The natural drain: each app by each route, stopped while transactions are open. 0 aborted, 0 abandoned, 0 replies
lost, no error in the app; the bare run beside it does abort. `make check-stops` measures the same 20 times and more."""
import os

import pytest

from database import ROUTES
from reports import phases, target_of, total, valid, without_connections
from runner import NOBODY, as_user
from stops import measure

STOPS = 3
GRACE_S = 5.0
NO_HANDLER = ("threads", "event loop", "prefork")
WITH_HANDLER = ("threads, good handler", "event loop, good handler", "prefork, good handler")
HANDLES = {"threads": 8, "event loop": 8, "prefork": 4}
ROWS = [(app, route, False) for app in NO_HANDLER for route in ROUTES] + \
       [(app, "direct", True) for app in NO_HANDLER] + [(app, "pgbouncer-transaction", True) for app in NO_HANDLER]


def explain(stop):
    """The figures and what lastcall said of them, without the connections."""
    shown = {name: value for name, value in vars(stop).items() if name != "report"}
    report = stop.report or {}
    return "\n".join(["", *(f"{name}: {value}" for name, value in shown.items()),
                      f"report's stop: {report.get('stop')}", f"report's unknown: {report.get('unknown')}"])


def nothing_was_lost(stop):
    said = explain(stop)
    assert (stop.aborted, stop.abandoned, stop.lost, stop.redis_lost, stop.errors) == (0, 0, 0, 0, 0), said
    assert stop.redis_left == 0, said
    assert stop.seconds <= GRACE_S - 0.2, said


def report_agrees(stop):
    """What lastcall says of itself, beside what the servers counted."""
    report = valid(stop.report)
    assert report["stop"]["aborted"] == 0, report["stop"]
    assert report["stop"]["in_flight"] in (None, report["stop"]["finished"]), report["stop"]
    assert phases(report)[-1] == "done" or "stopping" in phases(report), report["stop"]
    ended = [connection for target in report["targets"] if target["kind"] == "postgres"
             for connection in target["connections"] if "command" in connection["outcome"]]
    if stop.route in ("direct", "tls", "ipv6"):
        assert len(ended) == stop.killed, explain(stop)
    return report


@pytest.mark.limit(120)
@pytest.mark.parametrize("app, route, with_redis", ROWS)
def test_no_handler(servers, directory, app, route, with_redis):
    beside = [measure(servers, app, route, "bare", directory, with_redis) for _ in range(2)]
    assert sum(stop.aborted for stop in beside) > 0 and sum(stop.abandoned for stop in beside) > 0, beside
    for _ in range(STOPS):
        stop = measure(servers, app, route, "lastcall", directory, with_redis, GRACE_S)
        nothing_was_lost(stop)
        assert stop.code == 143, explain(stop)
        report = report_agrees(stop)
        kind = "pgbouncer" if route.startswith("pgbouncer") else "postgres"
        handles = HANDLES[app]
        target = target_of(report, kind)
        assert target["handles"] == handles, without_connections(target)
        # nobody closed them: all are left open, all are handed back
        assert target["leaked"] == handles, without_connections(target)
        if with_redis:
            assert target_of(report, "redis")["handles"] == handles


@pytest.mark.limit(120)
@pytest.mark.parametrize("route", ["direct", "tls", "pgbouncer-transaction"])
@pytest.mark.parametrize("app", WITH_HANDLER)
def test_good_handler(servers, directory, app, route):
    """An app that does it right by itself is not made worse, and closes its own handles."""
    for _ in range(STOPS):
        stop = measure(servers, app, route, "lastcall", directory, True, GRACE_S)
        nothing_was_lost(stop)
        assert stop.code == 0, explain(stop)
        report = report_agrees(stop)
        said = [without_connections(target) for target in report["targets"]]
        assert total(report, "leaked") == 0, said
        # Redis' goodbye is the end of stream, which the kernel says at the end of a process, too: who said
        # it is not always seen.
        unseen = target_of(report, "redis")["closed_unseen"]
        assert total(report, "closed_by_app") + unseen == total(report, "handles"), said


@pytest.mark.parametrize("route", ["direct", "tls", "pgbouncer-session"])
def test_pool_left_open(servers, directory, route):
    """Finishes its transactions on SIGTERM, takes half a second and exits without closing its pool."""
    beside = measure(servers, "threads, leaves the pool open", route, "bare", directory)
    assert beside.abandoned == 8, beside
    stop = measure(servers, "threads, leaves the pool open", route, "lastcall", directory)
    nothing_was_lost(stop)
    report = report_agrees(stop)
    kind = "pgbouncer" if route.startswith("pgbouncer") else "postgres"
    assert target_of(report, kind)["leaked"] == 8
    assert 0.5 <= stop.seconds < 2.5, explain(stop)


@pytest.mark.parametrize("where", ["pid1", "user", "pid1-user"])
def test_drain_elsewhere(servers, directory, stage, where):
    """As PID 1 of a pid namespace; as an ordinary user; as both."""
    more = {"pid1": "pid1" in where, "stage": stage}
    if "user" in where and os.geteuid() == 0:
        more["prefix"] = as_user(NOBODY)
    for app in ("threads", "prefork"):
        stop = measure(servers, app, "direct", "lastcall", directory, True, GRACE_S, **more)
        nothing_was_lost(stop)
        assert stop.code == 143, explain(stop)
        report_agrees(stop)
