"""Where seccomp refuses pidfd_getfd(2) and not ptrace(2), as Docker's and containerd's default profiles do: the app is
held all the same, by the second way to a duplicate, and the report says so."""
import pytest

import hold_stop
from hold_rows import Row, APPS, faults
from hold_stage import Stage
from reports import valid
from runner import Run

STOPS = 2
ROWS = [Row(app, route, user) for app in APPS for name, route, user in (
    ("threads, C", "direct", "user"), ("threads, Python", "pgbouncer-transaction", "root"), ("asyncpg", "tls", "user"),
    ("two connections a flow", "direct", "root")) if app.name == name]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return Stage(str(tmp_path_factory.mktemp("ptrace-stage")), [row.app for row in ROWS])


@pytest.fixture
def without_getfd(stage, monkeypatch):
    """Every lastcall of the hold rows runs under the filter."""
    def run(words, directory, prefix=(), **more):
        return Run(words, directory, prefix=[*prefix, stage.path("c", "without_getfd")], **more)
    monkeypatch.setattr(hold_stop, "Run", run)


@pytest.mark.limit(120)
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_held_by_ptrace(servers, directory, stage, without_getfd, row):
    for _ in range(STOPS):
        stop = hold_stop.measure(servers, row, "lastcall", directory, stage)
        assert not faults(row.app, stop), (faults(row.app, stop), stop)
        report = valid(stop.report)
        assert report["hands"] == "ptrace" and report["unknown"] == [], (report["hands"], report["unknown"])
        assert report["stop"]["aborted"] == stop.aborted == stop.abandoned == 0
