"""The intake: apps that serve HTTP under 12 keep-alive clients, stopped. What is counted, and how: intake_stop.py."""
import contextlib
import os
import signal
import socket
import time

import pytest

from intake_stop import APPS, CLIENTS, measure
from reports import valid
from runner import c_app, lastcall, lastcall_verb
from servers import free_port, wait_until

THINKING, RESTLESS = (10, 20), (0, 0)
STOPS = 2
BARE_TRIES = 3
BY_NAME = {app.name: app for app in APPS}
ANSWERED_503 = {"node", "node, server.close", "C"}  # one event loop, sockets that never block


def faults(stop, restless):
    """What must be nought, and is not."""
    found = {name: getattr(stop, name) for name in ("cut", "lost", "aborted", "errors", "turned_away")
             if getattr(stop, name)}
    if stop.unavailable > CLIENTS:
        found["unavailable"] = stop.unavailable
    if restless and stop.app in ANSWERED_503 and stop.draining > 1.5:
        found["draining"] = stop.draining
    if stop.app == "node, server.close" and stop.seconds > 1:  # half a second on a machine that does nothing else
        found["seconds"] = stop.seconds
    return found


def judge(stop, restless=False):
    report = valid(stop.report)
    assert not faults(stop, restless), (faults(stop, restless), vars(stop))
    assert report["requests"]["refused"] == stop.unavailable, (report["requests"], stop.unavailable)
    assert stop.answered > 100


@pytest.mark.limit(120)
@pytest.mark.parametrize("app", APPS, ids=[app.name for app in APPS])
def test_clients_that_think(servers, directory, app):
    for _ in range(STOPS):
        judge(measure(servers, app, "lastcall", THINKING, directory))


@pytest.mark.limit(120)
@pytest.mark.parametrize("app", [app for app in APPS if app.name in ANSWERED_503], ids=sorted(ANSWERED_503))
def test_clients_without_think_time(servers, directory, app):
    for _ in range(STOPS):
        judge(measure(servers, app, "lastcall", RESTLESS, directory), restless=True)


@pytest.mark.parametrize("app, think", [("node", THINKING), ("C", RESTLESS)])
def test_by_ptrace(servers, directory, app, think):
    """Where seccomp refuses pidfd_getfd(2), as in Docker."""
    stop = measure(servers, BY_NAME[app], "lastcall", think, directory, prefix=[c_app("without_getfd")])
    judge(stop)
    assert stop.report["hands"] == "ptrace"


def test_bare_cuts_requests(servers, directory):
    """What all this is for; else the tests above would be green by themselves."""
    assert any(measure(servers, BY_NAME["node"], "bare", THINKING, directory).cut for _ in range(BARE_TRIES))


def test_intake_off(servers, directory):
    """stop.idle 0s: requests are cut as they are without lastcall, and the report knows nothing of them."""
    environment = {"LASTCALL_STOP_IDLE": "0s"}
    stops = [measure(servers, BY_NAME["node"], "lastcall", THINKING, directory, environment=environment)
             for _ in range(BARE_TRIES)]
    assert any(stop.cut for stop in stops)
    assert {name: value for stop in stops for name, value in stop.report["requests"].items()} == \
        {"in_progress": None, "finished": None, "refused": None}
    assert all(stop.draining < 0.01 for stop in stops)


def test_without_targets(servers, directory):
    """No agent runs until the stop; then the intake is dried up all the same."""
    environment = {"LASTCALL_CONFIG": os.path.join(directory, "none.yaml")}
    with open(environment["LASTCALL_CONFIG"], "w", encoding="ascii") as file:
        file.write("targets: {}\n")
    for _ in range(STOPS):
        stop = measure(servers, BY_NAME["C"], "lastcall", THINKING, directory, environment=environment)
        assert not faults(stop, False), (faults(stop, False), vars(stop))
        assert valid(stop.report)["requests"]["refused"] == stop.unavailable


def start_silent_server(directory, database, environment=None):
    port_file = os.path.join(directory, "port")
    run = lastcall([c_app("intake/http_libpq")], directory, grace="10s",
                   env={**database.environment("direct", False), "PORT_FILE": port_file, **(environment or {})})
    return run, port_file


def read_port(run, path):
    wait_until(lambda: os.path.exists(path), 10, lambda: f"it listens:\n{run.err()}")
    with open(path, encoding="ascii") as file:
        return int(file.read())


def ask(connection, name):
    connection.sendall(f"GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection.recv(65536)


def ask_slowly(connection, name, database):
    """Question and answer lie some ticks of the kernel's clock apart: it can be told which was last."""
    with contextlib.closing(database.connect()) as blocker:
        blocker.cursor().execute("LOCK TABLE work")
        connection.sendall(f"GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until = time.monotonic() + 0.03
        wait_until(lambda: time.monotonic() > until, 5, "some ticks")
        blocker.rollback()
    assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_drain_and_resume_leave_nothing_muted(directory, database):
    """After `lastcall drain` new clients get no answer; after `resume` they do."""
    run, port_file = start_silent_server(directory, database)
    with run:
        at = ("127.0.0.1", read_port(run, port_file))
        with socket.create_connection(at, timeout=5) as before:
            ask_slowly(before, "one", database)
            name = f"{socket.gethostname()}-{run.pid}"
            code, out, err = lastcall_verb(["drain", name], directory)
            assert code == 0, out + err
            assert before.recv(10) == b""  # it was idle: ended
        with socket.socket() as late:
            late.settimeout(0.05)
            with pytest.raises(TimeoutError):
                late.connect(at)
        code, out, err = lastcall_verb(["resume", name], directory)
        assert code == 0, out + err
        with socket.create_connection(at, timeout=5) as again:
            assert ask(again, "two").startswith(b"HTTP/1.1 200")
        run.send(signal.SIGTERM)
        run.wait(10)
    assert database.committed() >= {"one", "two"}


@pytest.mark.parametrize("how", ["leave", "refuse"])
def test_listener_as_configured(directory, database, how):
    run, port_file = start_silent_server(directory, database, {"LASTCALL_STOP_LISTENER": how})
    with run:
        at = ("127.0.0.1", read_port(run, port_file))
        code, out, err = lastcall_verb(["drain", f"{socket.gethostname()}-{run.pid}"], directory)
        assert code == 0, out + err
        if how == "refuse":
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(at, timeout=5)
        else:
            socket.create_connection(at, timeout=5).close()
        run.send(signal.SIGTERM)
        run.wait(10)


def test_port_off(directory, database):
    """An idle connection of a port that is off is left as it is, and new ones are made."""
    run, port_file = start_silent_server(directory, database, {"PORT": str(port := free_port()),
                                                               "LASTCALL_STOP_PORTS": f"{port}=off"})
    with run:
        at = ("127.0.0.1", read_port(run, port_file))
        with socket.create_connection(at, timeout=5) as before:
            assert ask(before, "one").startswith(b"HTTP/1.1 200")
            code, out, err = lastcall_verb(["drain", f"{socket.gethostname()}-{run.pid}"], directory)
            assert code == 0, out + err
            with socket.create_connection(at, timeout=5):
                pass
            lastcall_verb(["resume", f"{socket.gethostname()}-{run.pid}"], directory)
            assert ask(before, "two").startswith(b"HTTP/1.1 200")
        run.send(signal.SIGTERM)
        run.wait(10)


def test_agent_killed_while_draining(servers, directory, database):
    """Everything is undone at once, and the stop goes on."""
    run, port_file = start_silent_server(directory, database)
    with run:
        at = ("127.0.0.1", read_port(run, port_file))
        blocker = database.connect()
        blocker.cursor().execute("LOCK TABLE work")
        with socket.create_connection(at, timeout=8) as busy:
            busy.sendall(b"GET /busy HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_until(lambda: any("INSERT" in row["query"] for row in database.sessions()), 5, "it is asked")
            run.send(signal.SIGTERM)
            wait_until(lambda: "draining" in run.phases(), 5, "it drains")
            os.kill(run.agent_pid(), signal.SIGKILL)
            wait_until(lambda: "holding" in run.phases(), 5, lambda: f"the hold begins:\n{run.err()}")
            blocker.rollback()
            blocker.close()
            assert busy.recv(65536).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        run.wait(10)
        assert time.monotonic() - began < 9
    assert "busy" in database.committed()
