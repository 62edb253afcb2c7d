"""`lastcall drain`, `resume` and `status` over the control socket: idempotent, the app goes on running."""
import json
import os
import subprocess
import time

import pytest

from runner import NOBODY, as_user, clean_environment, in_pid_namespace, is_alive, lastcall_program, lastcall_verb
from servers import wait_until
from stops import start, warm_up

GRACE_S = 5.0


@pytest.fixture
def running(database, directory):
    """An app with quiet times under lastcall, and the environment that names its control socket."""
    socket = {"LASTCALL_SOCKET": os.path.join(directory, "control.sock")}
    run, journal = start("lastcall", "threads", database, "direct", directory, True, f"{GRACE_S:g}s",
                         environment=socket)
    with run:
        warm_up(run, journal)
        yield run, journal, socket, directory


def goes_on(journal):
    done = len(journal.of("C"))
    wait_until(lambda: len(journal.of("C")) > done + 5, 5, "the app goes on")


def test_drain_leaves_the_app_running(running):
    run, journal, socket, directory = running
    code, out, err = lastcall_verb(["drain"], directory, socket)
    assert code == 0, (out, err, run.err())
    assert is_alive(run.app_pid()) and run.process.poll() is None
    assert "drain" in run.err(), "the progress is said in PID 1's log"


def test_drain_twice_then_the_signal(running, database):
    run, journal, socket, directory = running
    assert lastcall_verb(["drain"], directory, socket)[0] == 0
    assert lastcall_verb(["drain"], directory, socket)[0] == 0
    began = time.monotonic()
    run.send()
    assert run.wait(GRACE_S) == 143, run.err()
    assert time.monotonic() - began <= GRACE_S - 0.2
    assert database.settled_counters().xact_rollback == 0
    assert journal.errors() == []


def test_resume_calls_it_off(running):
    run, journal, socket, directory = running
    assert lastcall_verb(["drain"], directory, socket)[0] == 0
    for _ in range(2):
        code, out, err = lastcall_verb(["resume"], directory, socket)
        assert code == 0, (out, err, run.err())
    goes_on(journal)
    assert journal.errors() == []
    run.send()
    assert run.wait(GRACE_S) == 143, run.err()


def test_resume_without_a_drain(running):
    run, journal, socket, directory = running
    assert lastcall_verb(["resume"], directory, socket)[0] == 0
    goes_on(journal)


def test_two_drains_at_the_same_time(running):
    _, _, socket, directory = running
    both = [subprocess.Popen([lastcall_program(), "drain"], env=clean_environment(socket), cwd=directory,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [each.wait(GRACE_S) for each in both] == [0, 0]


def test_a_drain_that_was_interrupted_ends_nothing(running):
    """The hook's process is killed half-way: the app and lastcall go on."""
    run, journal, socket, directory = running
    hook = subprocess.Popen([lastcall_program(), "drain"], env=clean_environment(socket), cwd=directory,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    hook.kill()
    hook.wait(5)
    assert lastcall_verb(["resume"], directory, socket)[0] == 0
    goes_on(journal)


def test_status(running):
    run, _, socket, directory = running
    code, out, err = lastcall_verb(["status", "-o", "json"], directory, socket)
    assert code == 0, err
    assert json.loads(out)["phase"] == "running"


def test_verbs_without_a_running_lastcall(directory):
    for verb in ("drain", "resume", "status"):
        code, _, err = lastcall_verb([verb], directory, {"LASTCALL_SOCKET": os.path.join(directory, "none.sock")})
        assert code in (1, 2) and len(err.strip().splitlines()) == 1 and "none.sock" in err, (verb, code, err)


def test_unknown_verb_and_option(directory):
    code, _, err = lastcall_verb(["--no-such-option"], directory)
    assert code == 125 and "--no-such-option" in err and len(err.strip().splitlines()) <= 2, (code, err)


def test_stranger_is_refused(running):
    """Another user gets no answer from the control socket."""
    if os.geteuid() != 0:
        assert os.stat(running[2]["LASTCALL_SOCKET"]).st_mode & 0o077 == 0
        return
    run, journal, socket, directory = running
    assert os.stat(socket["LASTCALL_SOCKET"]).st_mode & 0o077 == 0
    code, _, _ = lastcall_verb(["drain"], directory, socket, prefix=as_user(NOBODY))
    assert code != 0
    goes_on(journal)


def test_default_socket_in_a_namespace(database, directory):
    """Without LASTCALL_SOCKET the verbs find the one lastcall of this mount namespace, as a preStop hook does."""
    run, journal = start("lastcall", "threads", database, "direct", directory, grace=f"{GRACE_S:g}s", pid1=True)
    with run:
        warm_up(run, journal)
        enter = ["nsenter", "--mount", "--root", "--pid", "--target", str(run.pid)]
        if in_pid_namespace()[1] == "--user":
            enter = ["nsenter", "--user", "--preserve-credentials", "--mount", "--root", "--pid",
                     "--target", str(run.pid)]
        done = subprocess.run([*enter, lastcall_program(), "drain"], env=clean_environment(), capture_output=True,
                              text=True, timeout=20, check=False)
        assert done.returncode == 0, (done.stdout, done.stderr, run.err())
        assert is_alive(run.app_pid())
