"""Fixtures, the time limit of each test, and the rule that a skipped test is a failure."""
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from database import Database  # noqa: E402
from places import PLACES, Place  # noqa: E402
from runner import stage_for_everyone  # noqa: E402
from servers import Servers  # noqa: E402

LIMIT_S = 60
# Containers with the capabilities that runtimes leave to root take root; an ordinary user's run has them not.
collect_ignore = [] if os.geteuid() == 0 else ["test_boxes.py"]
skipped = []


def pytest_configure(config):
    config.addinivalue_line("markers", f"limit(seconds): this test's time limit instead of {LIMIT_S} s")
    # `kill PID` ends the run as ^C does: fixtures are taken down, servers end. And what `nohup` or a script's `&` has
    # set to be ignored would be so in every app that a test starts.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for signo in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signo, signal.SIG_DFL)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    marker = item.get_closest_marker("limit")
    seconds = marker.args[0] if marker else LIMIT_S

    def over(*_):
        raise AssertionError(f"the test's time limit of {seconds} s is over")
    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pytest_runtest_logreport(report):
    if report.skipped:
        skipped.append(report.nodeid)


def pytest_sessionfinish(session):
    if skipped and session.exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    for name in skipped:
        terminalreporter.write_line(f"FAILED {name} (skipped: a skipped test is a failure)")


@pytest.fixture(scope="session")
def servers():
    with Servers() as started:
        yield started


@pytest.fixture
def database(servers):
    made = Database(servers)
    yield made
    made.drop()


@pytest.fixture
def directory(tmp_path):
    """A directory for the test's files that every user may write into."""
    for path in (tmp_path.parent.parent.parent, tmp_path.parent.parent, tmp_path.parent):
        if path.stat().st_uid == os.geteuid() and str(path) != "/tmp":
            path.chmod(0o755)
    tmp_path.chmod(0o777)
    return str(tmp_path)


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    """Copies of the programs that every user may run."""
    return stage_for_everyone(str(tmp_path_factory.mktemp("stage")))


@pytest.fixture(params=PLACES)
def place(request, directory, stage):
    """Where and as whom lastcall runs: PID 1 of a pid namespace or not, root or an ordinary user."""
    return Place(request.param, directory, stage)
