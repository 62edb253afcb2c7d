"""Where no socket of the app can be duplicated (a hardened container) nobody could say goodbye for an app that the
signal ends at once. So lastcall waits until it is quiet by itself, freezes it, and the server ends its idle sessions
before the signal."""
import pytest

from reports import target_of, valid
from runner import c_app
from stops import measure

STOPS = 2
HANDLES = {"threads": 8, "event loop": 8, "prefork": 4}


def stop_without_hands(servers, app, route, directory, **more):
    """A stop in which nothing is lost; its report says that there were no hands, and why."""
    stop = measure(servers, app, route, "lastcall", directory, prefix=[c_app("no_hands")], **more)
    report = valid(stop.report)
    said = (stop, report["stop"], report["unknown"])
    assert (stop.aborted, stop.abandoned, stop.lost, stop.redis_lost, stop.errors) == (0, 0, 0, 0, 0), said
    assert report["hands"] == "none", said
    assert [each["why"] for each in report["unknown"] if "could not be held" in each["what"]] == \
        ["duplicating a socket: Operation not permitted"], said
    return stop, target_of(report, "postgres")


def all_is_known(stop):
    told = stop.report["stop"]
    assert told["aborted"] == 0 and told["in_flight"] == told["finished"], told


@pytest.mark.limit(60)
@pytest.mark.parametrize("route", ["direct", "tls"])
@pytest.mark.parametrize("app", list(HANDLES))
def test_idle_sessions_are_ended_before_the_signal(servers, directory, app, route):
    for _ in range(STOPS):
        stop, target = stop_without_hands(servers, app, route, directory)
        all_is_known(stop)
        assert stop.code == 143, stop
        outcomes = [connection["outcome"] for connection in target["connections"]]
        assert outcomes == ["ended by command"] * HANDLES[app], outcomes
        assert stop.killed == target["leaked"] == HANDLES[app], stop


@pytest.mark.limit(60)
def test_before_sigkill_too(servers, directory):
    stop, target = stop_without_hands(servers, "threads, good handler", "direct", directory,
                                      environment={"LASTCALL_STOP_END": "kill"})
    all_is_known(stop)
    assert stop.code == 137 and stop.killed == target["leaked"] == 8, stop


@pytest.mark.limit(60)
def test_redis_beside_it(servers, directory):
    stop, target = stop_without_hands(servers, "threads", "direct", directory, with_redis=True)
    assert stop.killed == target["leaked"] == 8 and stop.redis_left == 0, stop


@pytest.mark.limit(60)
def test_an_app_that_closes_by_itself_keeps_its_sessions(servers, directory):
    stop, target = stop_without_hands(servers, "threads, good handler", "direct", directory)
    assert stop.report["stop"]["aborted"] is None, "it ran on unseen: that is not known"
    assert stop.code == 0 and stop.killed == target["leaked"] == 0, stop


@pytest.mark.limit(60)
@pytest.mark.parametrize("app", ["threads", "threads, good handler"])
def test_under_full_load_the_report_agrees_with_the_server(servers, directory, app):
    """Never at rest by itself: what is open at the deadline is lost. The report counts it, or says
    that it is not known."""
    stop = measure(servers, app, "direct", "lastcall", directory, prefix=[c_app("no_hands")], grace_s=3.0,
                   environment={"QUIET_MS": "0"})
    told = valid(stop.report)["stop"]
    assert told["aborted"] == (None if told["aborted"] is None else stop.aborted), (stop, stop.report["unknown"])
    assert told["aborted"] is not None or "transactions" in str(stop.report["unknown"]), stop.report["unknown"]
    assert told["finished"] is None or told["finished"] <= told["in_flight"], told
    if app == "threads":
        assert stop.aborted > 0 and told["aborted"] == stop.aborted, (stop, told)
