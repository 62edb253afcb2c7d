"""The hold table, in short: each app once under full load, by one route and as one user in turn, 2 stops, a bare one
beside it. `make check-stops` takes every app by every route, 20 stops a row. What a stop is judged by: hold_rows.py."""
import os

import pytest

from far_servers import FarServers
from hold_rows import APPS, ROUTES, USERS, faults, lost_something, nulls, one_each, pairwise, possible
from hold_stage import Stage
from hold_stop import measure
from reports import valid

STOPS = 2
BARE_TRIES = 3
ROWS = one_each()


@pytest.fixture(scope="module")
def hold_stage(tmp_path_factory):
    return Stage(str(tmp_path_factory.mktemp("hold-stage")), [row.app for row in ROWS])


@pytest.fixture(scope="module")
def far_servers():
    with FarServers() as started:
        yield started


def explain(stop, directory):
    """The figures, what lastcall said of them without the connections, and the end of its log."""
    figures = {name: value for name, value in vars(stop).items() if name != "report" and value not in (0, None)}
    report = stop.report or {}
    logs = [os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".err")]
    with open(max(logs, key=os.path.getmtime), encoding="utf-8", errors="replace") as log:
        return f"{figures}\nreport: {report.get('stop')}\nunknown: {report.get('unknown')}\n{log.read()[-3000:]}"


def report_agrees(row, stop):
    """What lastcall says it did, beside what the servers counted."""
    report = valid(stop.report)
    said = report["stop"]["aborted"]
    assert said is None or row.app.redis or said == stop.aborted, (said, stop.aborted)
    assert report["unknown"] or not nulls(report), report["stop"]
    commands = [connection for target in report["targets"] if target["kind"] == "postgres"
                for connection in target["connections"] if "command" in connection["outcome"]]
    if row.route in ("direct", "tls"):
        assert len(commands) == stop.killed, (len(commands), stop.killed)


@pytest.mark.limit(120)
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_hold(request, directory, hold_stage, row):
    servers = request.getfixturevalue("far_servers" if row.app.far else "servers")
    for _ in range(STOPS):
        stop = measure(servers, row, "lastcall", directory, hold_stage)
        assert not faults(row.app, stop), f"{faults(row.app, stop)}\n{explain(stop, directory)}"
        report_agrees(row, stop)
    beside = []
    while row.app.bare_loses and not any(lost_something(stop) for stop in beside):
        assert len(beside) < BARE_TRIES, f"the bare run lost nothing: {beside}"
        beside.append(measure(servers, row, "bare", directory, hold_stage))


def test_selection():
    """Pairwise: each app by each of its routes and as both users, each route as both users."""
    rows, apps = pairwise(), [app for app in APPS if possible(app)]
    assert {(row.app.name, row.route) for row in rows} == {(app.name, route) for app in apps for route in app.routes}
    assert {(row.app.name, row.user) for row in rows} >= \
        {(app.name, user) for app in apps if len(app.routes) > 1 for user in USERS}
    assert {(row.route, row.user) for row in rows} == {(route, user) for route in ROUTES for user in USERS}
    assert {row.route for row in ROWS} == set(ROUTES) and {row.user for row in ROWS} == set(USERS)
