"""Hooks and wait_for: done at their moment, bounded when they hang, fail or are missing, and never part of the app.

Must never leave a hook behind: Run ends whatever it started, and the tests look that lastcall did so before.
"""
import contextlib
import http.server
import os
import re
import shlex
import signal
import socket
import subprocess
import threading
import time

import pytest

from reports import phases, target_of, valid
from runner import AGENT, c_app, is_alive, lastcall, lastcall_verb, marked
from servers import free_port, wait_until
from stops import start, warm_up

GRACE_S = 3.0


def configured(directory, text):
    path = os.path.join(directory, "lastcall.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return ["--config", path]


def run(directory, config, argv=None, grace=f"{GRACE_S:g}s", **more):
    return lastcall(argv or [c_app("behave"), "sleep"], directory, options=configured(directory, config), grace=grace,
                    **more)


def lines(running, *words):
    return [line for line in running.err().splitlines() if all(word in line for word in words)]


def one_line(running, *words):
    found = lines(running, *words)
    assert len(found) == 1, f"{words}: {found}\n{running.err()}"
    return found[0]


def hooks_of(running):
    return {hook["name"]: hook for hook in valid(running.report())["hooks"]}


def nothing_is_left(running):
    """What got SIGKILL is gone a moment later."""
    wait_until(lambda: not [pid for pid in marked(running.mark) if is_alive(pid)], 2, "nothing is left running")


def stop(running, limit=GRACE_S):
    """SIGTERM; (exit code, seconds). Nothing of it is left."""
    began = time.monotonic()
    running.send()
    code = running.wait(limit + 5)
    seconds = time.monotonic() - began
    assert seconds < limit, (seconds, running.err())
    nothing_is_left(running)
    return code, seconds


@contextlib.contextmanager
def web(answer):
    """A server of one thread; what was asked is in `asked`. `answer`: a status, or bytes to send and close, or None for
    silence."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def reply(self):
            asked.append((self.command, self.path, self.headers["Host"]))
            if isinstance(answer, bytes):
                self.wfile.write(answer)
            elif answer is None:
                silent.wait(20)
            else:
                self.send_response(answer)
                self.end_headers()
            self.close_connection = True

        do_GET = do_POST = reply

        def log_message(self, *_):
            pass

    silent = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        silent.set()
        server.shutdown()
        thread.join()
        server.server_close()


# ---- pre_start ----

def test_pre_start_comes_before_the_app(directory):
    config = "instance: web-1\nhooks: {pre_start: 'echo hook=$LASTCALL_HOOK of=$LASTCALL_INSTANCE; cat; echo > made'}\n"
    with run(directory, config, ["/bin/sh", "-c", "test -e made && exec " + c_app("behave") + " sleep"]) as running:
        running.ready()
        # On standard error: the app's output is the app's.
        assert one_line(running, "hook=") == "hook=pre_start of=web-1"
        one_line(running, "hook pre_start: done after")
        assert stop(running)[0] == 143
        assert hooks_of(running)["pre_start"]["outcome"] == "ok"


BROKEN = {
    "fails": ("[sh, -c, 'exit 3']", "failed", "code 3"),
    "is killed": ("'kill -SEGV $$'", "failed", "SIGSEGV"),
    "hangs": ("'sleep 60 & sleep 60'", "timed out", "killed"),
    "ignores SIGTERM": ("'trap \"\" TERM INT; while :; do sleep 60; done'", "timed out", "killed"),
    "is missing": ("[/nonexistent/hook]", "not started", "No such file"),
    "may not be executed": ("[/etc/passwd]", "not started", "Permission denied"),
    "shell lacks it": ("no-such-command-here", "failed", "no such command"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_pre_start_that_does_not_work(directory, how):
    command, outcome, why = BROKEN[how]
    with run(directory, f"hooks: {{pre_start: {command}, pre_start_timeout: 400ms}}\n",
             ["/bin/sh", "-c", "echo app-was-started"]) as running:
        assert running.wait(5) == 125
        line = one_line(running, "hook pre_start", outcome, why)
        assert "not started" in line and "pre_start_required: false" in line
        assert "app-was-started" not in running.out() and not os.path.exists(running.report_path)
        nothing_is_left(running)


def test_pre_start_that_is_not_required(directory):
    with run(directory, "hooks: {pre_start: 'exit 3', pre_start_required: false}\n") as running:
        running.ready()
        assert "started all the same" in one_line(running, "hook pre_start: failed")
        assert stop(running)[0] == 143
        assert hooks_of(running)["pre_start"]["outcome"] == "failed"


@pytest.mark.parametrize("ignores", (False, True))
def test_stop_signal_while_pre_start_runs(directory, ignores):
    trap = 'trap "" TERM; ' if ignores else ""
    loops = f"{trap}echo began; while :; do sleep 0.05; done"
    with run(directory, f"hooks: {{pre_start: '{loops}', pre_start_timeout: 1m}}\n",
             ["/bin/sh", "-c", "echo app-was-started"]) as running:
        wait_until(lambda: lines(running, "began"), 5, "the hook runs")
        code, seconds = stop(running)
        assert code == 143 and (ignores or seconds < 1), seconds
        assert "app-was-started" not in running.out()


# ---- announce ----

def test_drain_waits_for_announce(directory):
    with run(directory, "hooks: {announce: 'echo because $LASTCALL_REASON; sleep 0.6'}\n") as running:
        running.ready()
        code, seconds = stop(running)
        assert code == 143 and seconds >= 0.6, seconds
        one_line(running, "because SIGTERM")
        hook = hooks_of(running)["announce"]
        assert hook["outcome"] == "ok" and hook["seconds"] >= 0.6


@pytest.mark.parametrize("how", BROKEN)
def test_announce_that_does_not_work(directory, how):
    command, outcome, why = BROKEN[how]
    with run(directory, f"hooks: {{announce: {command}, announce_timeout: 400ms}}\n") as running:
        running.ready()
        code, seconds = stop(running)
        assert code == 143 and seconds < 1.5, seconds
        assert why in one_line(running, "hook announce", outcome)
        hook = hooks_of(running)["announce"]
        assert hook["outcome"] == outcome and why in hook["why"]


def test_announce_that_hangs_is_waited_for_no_longer_than_half(directory):
    with run(directory, "hooks: {announce: [sleep, '60'], announce_timeout: 1h}\n") as running:
        running.ready()
        assert stop(running)[0] == 143
        hook = hooks_of(running)["announce"]
        assert hook["outcome"] == "cut short" and hook["seconds"] < GRACE_S / 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop its uid")
def test_a_hook_that_dropped_its_uid_is_ended_too(directory):
    """By a root without CAP_KILL, as in a container with few capabilities."""
    config = ("hooks: {announce: 'echo $$; exec setpriv --reuid 12345 --regid 12345 --clear-groups sleep 60', "
              "announce_timeout: 400ms}\n")
    prefix = ["setpriv", "--bounding-set=-kill,-sys_ptrace", "--inh-caps=-kill,-sys_ptrace"]
    with run(directory, config, prefix=prefix) as running:
        running.ready()
        running.send()
        assert running.wait(5) == 143, running.err()
        one_line(running, "hook announce", "timed out")
        hook = int(re.search(r"^\d+$", running.err(), re.M)[0])
        wait_until(lambda: not is_alive(hook), 2, "the hook is gone")


def test_announce_is_not_the_apps(database, directory):
    """It runs beside the hold with a transaction open on the same server: not held, not waited for, in no report."""
    holds = (f"import psycopg2,sys,time; c=psycopg2.connect({database.url('direct')!r}); "
             "c.cursor().execute('select 1'); print('has-begun', file=sys.stderr, flush=True); time.sleep(60)")
    config = f"hooks:\n  announce: [/usr/bin/python3, -c, \"{holds}\"]\n  announce_timeout: 2s\n"
    running, journal = start("lastcall", "threads", database, "direct", directory, grace="6s",
                             options=configured(directory, config))
    with running:
        warm_up(running, journal)
        stop(running, 6)
        report = valid(running.report())
        one_line(running, "has-begun")
        assert report["stop"]["aborted"] == 0 and report["unknown"] == [], running.err()
        target = target_of(report, "postgres")
        assert target["handles"] == target["leaked"] == 8, target
        assert hooks_of(running)["announce"]["outcome"] in ("timed out", "cut short")


def test_announce_outlives_an_app_that_ends(directory):
    """The app's end is seen although the hook is still there; the hook is not the app's left-over."""
    with run(directory, "hooks: {announce: [sleep, '60']}\nstop: {order: signal-first}\n") as running:
        running.ready()
        code, seconds = stop(running)
        assert code == 143 and seconds < 1, (seconds, running.err())
        assert "killing" not in phases(running.report())
        assert hooks_of(running)["announce"]["outcome"] == "cut short"


def test_announce_comes_with_a_drain(directory):
    config = "instance: drained\nhooks: {announce: 'echo because $LASTCALL_REASON'}\ndrain: {hold: 30s}\n"
    socket_path = os.path.join(directory, "control.sock")
    with run(directory, config, env={"LASTCALL_SOCKET": socket_path}) as running:
        running.ready()
        wait_until(lambda: os.path.exists(socket_path), 5, "the control socket")
        code, _, err = lastcall_verb(["drain"], directory, env={"LASTCALL_SOCKET": socket_path})
        assert code == 0, err
        one_line(running, "because lastcall drain")
        assert stop(running)[0] == 143
        one_line(running, "because")  # once for both


def test_announce_of_a_drain_that_is_called_off(directory):
    """It is over with the drain: the next stop has an announcement of its own, and waits for that."""
    config = ("instance: recalled\n"
              "hooks: {announce: 'echo because $LASTCALL_REASON; sleep 1', announce_timeout: 2s}\n")
    control = {"LASTCALL_SOCKET": os.path.join(directory, "control.sock")}
    with run(directory, config, env=control, grace="6s") as running:
        running.ready()
        wait_until(lambda: os.path.exists(control["LASTCALL_SOCKET"]), 5, "the control socket")
        drain = threading.Thread(target=lastcall_verb, args=(["drain"], directory, control))
        drain.start()
        wait_until(lambda: lines(running, "because lastcall drain"), 5, "the hook runs")
        assert lastcall_verb(["resume"], directory, env=control)[0] == 0
        drain.join(5)
        one_line(running, "hook announce", "cut short", "the app goes on")
        code, seconds = stop(running, 6)
        assert code == 143 and seconds >= 1, seconds
        one_line(running, "because SIGTERM")
        assert hooks_of(running)["announce"]["outcome"] == "ok"


def test_announce_of_an_earlier_drain_is_in_no_later_report(directory):
    config = "instance: recalled\nhooks: {announce: 'echo announced'}\ndrain: {hold: 30s}\n"
    control = {"LASTCALL_SOCKET": os.path.join(directory, "control.sock")}
    with run(directory, config, env=control) as running:
        pid = running.ready()
        wait_until(lambda: os.path.exists(control["LASTCALL_SOCKET"]), 5, "the control socket")
        assert lastcall_verb(["drain"], directory, env=control)[0] == 0
        assert lastcall_verb(["resume"], directory, env=control)[0] == 0
        os.kill(pid, signal.SIGKILL)
        assert running.wait(5) == 137
        assert hooks_of(running) == {}


# ---- post_stop ----

def test_post_stop_has_the_outcome(directory):
    config = ("hooks: {post_stop: 'echo code=$LASTCALL_EXIT_CODE aborted=$LASTCALL_ABORTED leaked=$LASTCALL_LEAKED; "
              "cp $LASTCALL_REPORT copy.json'}\n")
    with run(directory, config, [c_app("behave"), "exit", "7"]) as running:
        running.ready()
        assert stop(running)[0] == 7
        one_line(running, "code=7 aborted=unknown leaked=unknown")  # nothing was watched: not known, and not 0
        assert hooks_of(running)["post_stop"]["outcome"] == "ok"
        running.report_path = os.path.join(directory, "copy.json")
        assert hooks_of(running)["post_stop"] == {"name": "post_stop", "outcome": "running", "seconds": None,
                                                  "why": None}


def test_post_stop_knows_what_leaked(database, directory):
    config = "hooks: {post_stop: 'echo aborted=$LASTCALL_ABORTED leaked=$LASTCALL_LEAKED'}\n"
    running, journal = start("lastcall", "threads", database, "direct", directory,
                             options=configured(directory, config))
    with running:
        warm_up(running, journal)
        stop(running, 5)
        one_line(running, "aborted=0 leaked=8")


@pytest.mark.parametrize("how", BROKEN)
def test_post_stop_that_does_not_work(directory, how):
    command, outcome, why = BROKEN[how]
    with run(directory, f"hooks: {{post_stop: {command}, post_stop_timeout: 400ms}}\n") as running:
        running.ready()
        code, seconds = stop(running)
        assert code == 143 and seconds < 1.5, seconds
        assert why in one_line(running, "hook post_stop", outcome)
        hook = hooks_of(running)["post_stop"]
        assert hook["outcome"] == outcome and why in hook["why"]


def test_all_hang_and_the_app_too(directory):
    """The worst: the whole is over within the grace, and each is said."""
    config = ("hooks: {announce: [sleep, '60'], announce_timeout: 1h, "
              "post_stop: [sleep, '60'], post_stop_timeout: 1h}\n")
    with run(directory, config, [c_app("behave"), "ignore"]) as running:
        running.ready()
        code, seconds = stop(running, GRACE_S)
        assert code == 137
        assert hooks_of(running)["post_stop"]["outcome"] == "timed out"
        assert hooks_of(running)["post_stop"]["seconds"] >= 0.2


def test_post_stop_after_an_end_without_a_stop(directory):
    config = "hooks: {post_stop: 'echo code=$LASTCALL_EXIT_CODE'}\n"
    with run(directory, config, ["/bin/sh", "-c", "exit 5"]) as running:
        assert running.wait(5) == 5
        one_line(running, "code=5")


def test_what_a_hook_leaves_running_ends_with_it(directory):
    with run(directory, "hooks: {pre_start: 'sleep 60 & echo left $!'}\n") as running:
        running.ready()
        left = int(one_line(running, "left ").split()[1])
        wait_until(lambda: not is_alive(left), 2, "what the hook left is gone")
        assert stop(running)[0] == 143


# ---- URLs ----

ANSWERS = {
    "200": (200, "ok", None), "204": (204, "ok", None), "302": (302, "failed", "a redirect"),
    "404": (404, "failed", "it answered 404"), "503": (503, "failed", "it answered 503"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "failed", "not HTTP"),
    "nothing": (b"", "failed", "without an answer"),
    "half a line": (b"HTTP/1.", "failed", "without an answer"),
    "an endless line": (b"HTTP/1.1 200 " + b"x" * 1000000, "ok", None),
    "silence": (None, "timed out", "killed"),
}


@pytest.mark.parametrize("how", ANSWERS)
def test_url_is_called(directory, how):
    answer, outcome, why = ANSWERS[how]
    with web(answer) as (port, asked):
        url = f"http://localhost:{port}/gone?a=1"
        with run(directory, f"hooks: {{post_stop: '{url}', post_stop_timeout: 500ms}}\n") as running:
            running.ready()
            code, seconds = stop(running)
            assert code == 143 and seconds < 1.5, seconds
            hook = hooks_of(running)["post_stop"]
            assert hook["outcome"] == outcome and (why is None or why in hook["why"]), hook
        assert asked == [("GET", "/gone?a=1", f"localhost:{port}")]


def test_url_is_posted(directory):
    with web(200) as (port, asked):
        with run(directory, f"hooks: {{pre_start: 'POST http://127.0.0.1:{port}'}}\n") as running:
            running.ready()
            assert stop(running)[0] == 143
        assert asked == [("POST", "/", f"127.0.0.1:{port}")]


def test_url_where_nobody_listens(directory):
    with run(directory, f"hooks: {{announce: 'http://127.0.0.1:{free_port()}/'}}\n") as running:
        running.ready()
        assert stop(running, 1)[0] == 143
        assert "Connection refused" in one_line(running, "hook announce: failed")


def test_url_whose_host_accepts_nothing(directory):
    """A listener whose queue is full: the SYN is not answered, as when a host is gone."""
    with socket.socket() as full, contextlib.ExitStack() as queue:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with run(directory, f"hooks: {{post_stop: 'http://127.0.0.1:{full.getsockname()[1]}/'}}\n") as running:
            running.ready()
            assert stop(running)[0] == 143
            assert hooks_of(running)["post_stop"]["outcome"] == "timed out"


def test_url_without_an_agent(directory):
    env = {"LASTCALL_AGENT": "/nonexistent/agent"}
    with run(directory, "hooks: {pre_start: 'http://127.0.0.1:1/'}\n", env=env) as running:
        assert running.wait(5) == 125
        one_line(running, "hook pre_start: not started", "No such file")


@pytest.mark.parametrize("line, column, says", [
    ("announce: https://a/", 13, "https"), ("announce: [no-such-program-here]", 13, "No such file"),
    ("post_stop: [/etc/passwd]", 14, "Permission denied"), ("pre_start: http://a:99999/", 14, "port")])
def test_check_judges_hooks(directory, line, column, says):
    path = configured(directory, f"hooks:\n  {line}\n")[1]
    code, _, err = lastcall_verb(["check", "--config", path], directory)
    assert code == 1 and f"lastcall.yaml:2:{column}: " in err and says in err, err


# ---- wait_for ----

@contextlib.contextmanager
def redis_on(port, directory):
    process = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir",
                                directory], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_app_waits_for_its_servers(directory, servers, database):
    """One is there, one comes later."""
    port = free_port()
    env = {"DATABASE_URL": database.url("direct"), "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    with run(directory, "wait_for: all\n", env=env) as running:
        one = wait_until(lambda: lines(running, "waiting for"), 5, "it waits")[0]
        assert "database" in one and "redis" in one, one
        assert running.out() == ""
        with redis_on(port, directory):
            running.ready()
            one_line(running, "answered after")
            assert stop(running)[0] == 143


def test_wait_that_never_ends(directory):
    port = free_port()
    began = time.monotonic()
    with run(directory, "wait_for: [cache]\nwait_for_timeout: 6s\ntargets:\n  cache: {url: 'redis://:hush@127.0.0.1:"
             f"{port}/0'}}\n", ["/bin/sh", "-c", "echo app-was-started"]) as running:
        assert running.wait(10) == 125 and 6 <= time.monotonic() - began < 7
        line = one_line(running, "wait_for: cache", "did not answer")
        assert "lastcall.yaml:4:" in line and "Connection refused" in line
        assert "refused" in one_line(running, "waiting for cache", "since")  # after 5 s
        assert len(lines(running)) == 3, running.err()
        assert running.out() == "" and "hush" not in running.err()


def test_tries_come_with_pauses(directory):
    """0, 0.1, 0.3, 0.7 and 1.5 s: a server that comes up is not flooded."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        came, began = [], time.monotonic()

        def refuse():
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()
                    came.append(time.monotonic() - began)
        thread = threading.Thread(target=refuse)
        thread.start()
        try:
            with run(directory, "wait_for: all\nwait_for_timeout: 1s\n",
                     env={"REDIS_URL": f"redis://127.0.0.1:{listener.getsockname()[1]}/0"}) as running:
                assert running.wait(5) == 125
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert 3 <= len(came) <= 4, came


def test_wait_for_one_that_lets_nobody_in(directory, database):
    wrong = database.url("direct").replace("://", "://nobody-", 1)
    with run(directory, "wait_for: all\nwait_for_timeout: 500ms\n", env={"DATABASE_URL": wrong}) as running:
        assert running.wait(5) == 125
        assert "authentication failed" in one_line(running, "wait_for: database (DATABASE_URL)")


@pytest.mark.parametrize("signo", (signal.SIGTERM, signal.SIGINT))
def test_stop_signal_while_waiting(directory, signo):
    env = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    with run(directory, "wait_for: all\n", ["/bin/sh", "-c", "echo app-was-started"], env=env) as running:
        wait_until(lambda: lines(running, "waiting for"), 5, "it waits")
        began = time.monotonic()
        running.send(signo)
        assert running.wait(5) == 128 + signo and time.monotonic() - began < 0.5
        assert running.out() == ""
        nothing_is_left(running)


def test_wait_without_an_agent(directory):
    env = {"REDIS_URL": "redis://127.0.0.1:1/0", "LASTCALL_AGENT": "/nonexistent/agent"}
    with run(directory, "wait_for: all\n", env=env) as running:
        assert running.wait(5) == 125
        assert "/nonexistent/agent" in one_line(running, "wait_for:", "No such file")


def test_agent_that_dies_while_waiting(directory):
    broken = os.path.join(directory, "agent")
    with open(broken, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\ntest \"$1\" = --wait && kill -SEGV $$\nexec {shlex.quote(AGENT)} \"$@\"\n")
    os.chmod(broken, 0o755)
    env = {"REDIS_URL": "redis://127.0.0.1:1/0", "LASTCALL_AGENT": broken}
    with run(directory, "wait_for: all\n", env=env) as running:
        assert running.wait(5) == 125
        one_line(running, "wait_for:", "SIGSEGV")
