"""lastcall as what a container's PID 1 must be: start, signals, reaping, exit codes, descriptors, a full pipe.

No server is needed for any of it: no target is set, so no agent may run.
"""
import array
import fcntl
import os
import signal
import subprocess
import termios
import time

import pytest

from runner import children, clean_environment, command_of, descendants, is_alive, marked, status
from servers import wait_until

GRACE, GRACE_S = "2s", 2.0


def timed_end(run, signo=signal.SIGTERM, limit=GRACE_S + 5):
    """Sends the signal and waits: (exit code, seconds)."""
    began = time.monotonic()
    run.send(signo)
    code = run.wait(limit)
    return code, time.monotonic() - began


def all_gone(pids):
    wait_until(lambda: not [pid for pid in pids if is_alive(pid)], 2,
               lambda: f"gone: {[(pid, command_of(pid)) for pid in pids if is_alive(pid)]}")


@pytest.mark.parametrize("script, code", [("exit 0", 0), ("exit 37", 37), ("kill -KILL $$", 137),
                                          ("kill -ABRT $$", 134)])
def test_exit_code(place, script, code):
    with place.lastcall(["sh", "-c", script]) as run:
        assert run.wait(5) == code


def test_output_and_input_are_the_apps_own(place):
    """stdin, stdout, stderr go through untouched."""
    with open(os.path.join(place.directory, "input"), "w+", encoding="ascii") as file:
        file.write("one line\n")
        file.seek(0)
        with place.lastcall(["sh", "-c", "cat; echo to-stderr >&2"], stdin=file) as run:
            assert run.wait(5) == 0
            assert run.out() == "one line\n"
            assert "to-stderr\n" in run.err()


def test_shell_around_the_app_gets_the_signal_to_the_app(place):
    """`sh -c app`: sh waits for its child and would keep the signal to itself."""
    app = " ".join(place.behave("good"))
    with place.lastcall(["sh", "-c", f"{app}; exit 9"], grace=GRACE) as run:
        run.ready()
        tree = descendants(run.pid)
        code, seconds = timed_end(run)
        # The app ended in order; whether the shell saw the signal first or its child's end, it is not
        # the grace that ended it.
        assert code in (9, 143), run.err()
        assert seconds < 1.0, run.err()
        all_gone(tree)


def test_app_without_handler_ends_at_once(place):
    with place.lastcall(place.behave("sleep"), grace=GRACE) as run:
        run.ready()
        code, seconds = timed_end(run)
        assert (code, seconds < 0.5) == (143, True), (code, seconds, run.err())


def test_good_handler(place):
    with place.lastcall(place.behave("good"), grace=GRACE) as run:
        run.ready()
        code, seconds = timed_end(run)
        assert (code, seconds < 0.5) == (0, True), (code, seconds, run.err())


def test_handler_with_its_own_exit_code(place):
    with place.lastcall(place.behave("exit", "41"), grace=GRACE) as run:
        run.ready()
        assert timed_end(run)[0] == 41


def test_slow_handler_is_waited_for(place):
    with place.lastcall(place.behave("slow", "700"), grace=GRACE) as run:
        run.ready()
        code, seconds = timed_end(run)
        assert code == 0 and 0.7 <= seconds < 1.2, (code, seconds, run.err())


def test_app_that_ignores_sigterm_is_killed_in_time(place):
    with place.lastcall(place.behave("ignore"), grace=GRACE) as run:
        run.ready()
        tree = descendants(run.pid)
        code, seconds = timed_end(run)
        assert code == 137, run.err()
        assert seconds <= GRACE_S - 0.2, run.err()
        all_gone(tree)


def test_app_that_dies_in_its_handler(place):
    with place.lastcall(place.behave("dies"), grace=GRACE) as run:
        run.ready()
        code, seconds = timed_end(run)
        assert (code, seconds < 0.5) == (139, True), (code, seconds, run.err())


@pytest.mark.parametrize("way", ["fork-twice", "fork-twice-ignore"])
def test_app_that_forks_twice(place, way):
    """The grandchild in a session of its own ends too, and lastcall reaps what the dead child left."""
    with place.lastcall(place.behave(way), grace=GRACE) as run:
        wait_until(lambda: run.out().count("ready ") == 2, 5, "both stand")
        tree = descendants(run.pid)
        assert len(tree) == 2, tree
        code, seconds = timed_end(run)
        assert code == 143, run.err()
        assert seconds <= GRACE_S - 0.2, run.err()
        all_gone(tree)


def test_crowd_that_is_left(place):
    """300 processes that ignore the signal are left when the main process ends: none is, a moment later."""
    with place.lastcall(place.behave("crowd", "300"), grace=GRACE) as run:
        run.ready()
        tree = descendants(run.pid)
        assert len(tree) == 301, len(tree)
        code, seconds = timed_end(run)
        assert code == 143, run.err()
        assert seconds <= GRACE_S / 2, (seconds, run.err())
        all_gone(tree)


def test_orphans_end_with_the_app(place):
    """The app ends by itself while an orphan of it still lives."""
    with place.lastcall(place.behave("wait-orphan", "60000"), grace=GRACE) as run:
        assert run.wait(GRACE_S + 2) == 3, run.err()
        wait_until(lambda: not [pid for pid in marked(run.mark) if is_alive(pid)], 2,
                   lambda: f"gone: {marked(run.mark)}")


def test_ten_thousand_orphans_are_reaped(place):
    with place.lastcall(place.behave("orphans", "10000"), grace=GRACE) as run:
        run.ready(30)
        assert "made 10000" in run.out()

        def zombies():
            return [pid for pid in children(run.pid) if (status(pid, "State") or "").startswith("Z")]
        wait_until(lambda: not zombies(), 5, lambda: f"no zombies: {len(zombies())}", step=0.02)
        code, seconds = timed_end(run)
        assert (code, seconds < 0.7) == (143, True), (code, seconds, run.err())


def recorder(place, name="record"):
    """signals_recorder's command and what it has written so far."""
    path = os.path.join(place.directory, name)

    def lines():
        try:
            with open(path, encoding="ascii") as file:
                return [line.split() for line in file]
        except FileNotFoundError:
            return []
    return [place.program("c/signals_recorder"), path], lines


def stands(lines):
    return wait_until(lambda: next((line for line in lines() if line[0] == "ready"), None), 5, "the recorder stands")


def test_every_signal_reaches_the_app(place):
    """All 64 but those that cannot be caught (KILL, STOP), lastcall's own child signal, and the stop
    signals, which come last."""
    command, lines = recorder(place)
    withheld = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
    with place.lastcall(command, grace=GRACE) as run:
        stands(lines)
        for signo in range(1, 65):
            if signo in withheld:
                continue
            run.send(signo)
            wait_until(lambda: ["signal", str(signo)] in lines(), 2, f"signal {signo} forwarded\n{run.err()}",
                       step=0.001)
        got = [int(line[1]) for line in lines() if line[0] == "signal"]
        assert got == [signo for signo in range(1, 65) if signo not in withheld]
        assert timed_end(run)[0] == 7
        assert lines()[-1] == ["signal", "15"]


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_the_app_gets_the_stop_signal_that_came(place, signo):
    command, lines = recorder(place)
    with place.lastcall(command, grace=GRACE) as run:
        stands(lines)
        run.send(signo)
        wait_until(lambda: ["signal", str(int(signo))] in lines(), 2, run.err)


def test_the_same_signal_again_is_no_escalation(place):
    with place.lastcall(place.behave("slow", "700"), grace=GRACE) as run:
        run.ready()
        run.send(signal.SIGTERM)
        wait_until(lambda: "stopping" in run.out(), 2, run.err)
        code, _ = timed_end(run)
        assert code == 0, run.err()


def test_descriptors_are_those_of_a_bare_run(place):
    """Nothing of lastcall's leaks into the app, and what was handed in stays."""
    found = {}
    with open("/dev/null", "rb") as extra:
        for how in ("bare", "lastcall"):
            command, lines = recorder(place, how)
            with getattr(place, how)(command, pass_fds=(extra.fileno(),)):
                stands(lines)
                found[how] = next(line for line in lines() if line[0] == "fds")
                own = str(extra.fileno())
        assert own in found["bare"]
    assert found["lastcall"] == found["bare"]


def signals_of(lines, key):
    return int(next(line for line in lines() if line[0] == key + ":")[1], 16)


def start_badly():
    """What a careless parent leaves behind: signals blocked and ignored."""
    signal.pthread_sigmask(signal.SIG_BLOCK, set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP})
    for signo in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE, signal.SIGTTOU):
        signal.signal(signo, signal.SIG_IGN)


def test_the_app_starts_with_a_clean_slate(place):
    """Whatever lastcall was started with, the app has no signal blocked and none ignored; and the stop works."""
    command, lines = recorder(place)
    with place.lastcall(command, grace=GRACE, preexec_fn=start_badly, restore_signals=False) as run:
        stands(lines)
        assert signals_of(lines, "SigBlk") == 0
        assert signals_of(lines, "SigIgn") == 0, run.err()
        assert timed_end(run)[0] == 7


def test_nohup_stays_nohup(place):
    """SIGHUP ignored from outside is nohup(1): that one stays ignored."""
    command, lines = recorder(place)
    with place.lastcall(command, grace=GRACE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as run:
        stands(lines)
        assert signals_of(lines, "SigIgn") == 1 << (signal.SIGHUP - 1), run.err()


def test_no_agent_without_a_target(place):
    with place.lastcall(place.behave("sleep"), grace=GRACE) as run:
        run.ready()
        assert len(children(run.pid)) == 1
        assert timed_end(run)[0] == 143


def test_full_pipes_do_not_stop_the_stop(place):
    """stdout and stderr are a pipe that nobody reads, full: SIGTERM still works, in time."""
    reading, writing = os.pipe()
    try:
        with place.lastcall(place.behave("fill"), grace=GRACE, stdout=writing, stderr=writing) as run:
            os.close(writing)
            writing = -1
            wait_until(lambda: len(descendants(run.pid)) == 3 and pipe_is_full(reading), 5, "the pipe is full")
            tree = descendants(run.pid)
            code, seconds = timed_end(run)
            assert code == 143
            assert seconds <= GRACE_S - 0.2
            all_gone(tree)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def pipe_is_full(fd):
    """Less than a page is free in it."""
    waiting = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, waiting)
    return waiting[0] > fcntl.fcntl(fd, 1032) - 4096  # F_GETPIPE_SZ


def test_stderr_closed(place):
    """A closed stdout and stderr end nothing."""
    def close_both():
        os.close(1)
        os.close(2)
    with place.lastcall(["sh", "-c", "exit 5"], grace=GRACE, preexec_fn=close_both) as run:
        assert run.wait(5) == 5


def test_user_option_as_root(place):
    """`--user`: lastcall itself becomes that user, and so the app is."""
    if place.ordinary or os.geteuid() != 0:
        with place.lastcall(place.behave("sleep"), options=["--user", "0"]) as run:
            assert run.wait(5) == 125
            assert "user" in run.err()
        return
    command, lines = recorder(place)
    with place.lastcall(command, grace=GRACE, options=["--user", "nobody"]) as run:
        stands(lines)
        ids = next(line for line in lines() if line[0] == "ids")
        assert ids[ids.index("uid") + 1] == "65534"
        assert status(run.pid, "Uid").split()[0] == "65534"
        assert status(run.pid, "Groups") in ("65534", "")
        assert timed_end(run)[0] == 7


def test_version_and_help(stage):
    for option in ("--version", "--help"):
        done = subprocess.run([os.path.join(stage, "lastcall"), option], capture_output=True, text=True, timeout=5,
                              env=clean_environment(), check=False)
        assert done.returncode == 0 and done.stderr == ""
        lines = done.stdout.splitlines()
        assert len(lines) == 1 if option == "--version" else 1 < len(lines) <= 24
