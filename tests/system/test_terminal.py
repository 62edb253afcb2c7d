"""A terminal app under an interactive shell: input, ^Z and fg, ^C; the bare run beside it shows what is expected."""
import contextlib
import os
import pty
import signal

import pytest

from runner import C_APPS, clean_environment, descendants, lastcall_program, read_for, status
from servers import wait_until


class Shell:
    """bash with job control on a terminal of its own."""

    def __init__(self, directory):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            env = clean_environment({"PS1": "$ ", "TERM": "dumb"})
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"], env)
        self.text = ""
        self.expect("$ ")

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, text, limit=5):
        """Waits for the text after what was expected before."""
        def found(data):
            return text in self.text + data.decode(errors="replace")
        self.text += read_for(self.fd, limit, found).decode(errors="replace") if not found(b"") else ""
        before, mark, after = self.text.partition(text)
        assert mark, f"{text!r} did not come within {limit} s; the terminal shows:\n{before}"
        self.text = after
        return before

    def answer(self, command):
        """What a command prints."""
        self.type(command + "; echo answered-$((6*7))\n")
        return self.expect("answered-42")

    def close(self):
        for pid in [*descendants(self.pid), self.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def shell(directory):
    made = Shell(directory)
    yield made
    made.close()


@pytest.fixture(params=["bare", "lastcall"])
def command(request):
    app = f"{C_APPS}/behave terminal"
    return app if request.param == "bare" else f"{lastcall_program()} --grace 2s -- {app}"


def app_under(shell):
    return next(pid for pid in descendants(shell.pid) if status(pid, "Name") == "behave")


def test_stop_and_continue(shell, command):
    shell.type(command + "\n")
    shell.expect("ready ")
    shell.type("before\n")
    shell.expect("read before")
    app = app_under(shell)
    shell.type("\x1a")
    shell.expect("Stopped")
    wait_until(lambda: status(app, "State").startswith("T"), 2, "the app is stopped")
    shell.type("echo shell-$((6*7))\n")
    shell.expect("shell-42")
    shell.type("fg\n")
    wait_until(lambda: not status(app, "State").startswith("T"), 2, "the app goes on")
    shell.type("after\n")
    shell.expect("read after")
    shell.type("\x04")
    shell.expect("$ ")
    shell.type("echo code=$?\n")
    shell.expect("code=4")


def test_twice_and_in_the_background(shell, command):
    shell.type(command + "\n")
    shell.expect("ready ")
    app = app_under(shell)
    for turn in ("one", "two"):
        shell.type("\x1a")
        shell.expect("Stopped")
        shell.type("bg\n")
        # In the background it reads from the terminal and is stopped for that (SIGTTIN). A shell that has not seen this
        # yet takes the job for running, and its fg would continue nothing.
        shell.expect(" &")
        wait_until(lambda: "Stopped" in shell.answer("jobs"), 2, "stopped by the terminal")
        assert status(app, "State").startswith("T")
        shell.type("fg\n")
        wait_until(lambda: not status(app, "State").startswith("T"), 2, "the app goes on")
        shell.type(turn + "\n")
        shell.expect("read " + turn)


def test_interrupt(shell, command):
    shell.type(command + "\n")
    shell.expect("ready ")
    shell.type("\x03")
    shell.expect("$ ")
    shell.type("echo code=$?\n")
    shell.expect("code=130")


def test_the_terminal_is_given_back_in_a_script(shell, command):
    """In `sh -c 'lastcall -- app; other'` the next command has the terminal again."""
    shell.type(f"sh -c '{command}; echo next; read line; echo got-$line'\n")
    shell.expect("ready ")
    shell.type("\x04")
    shell.expect("next")
    shell.type("typed\n")
    shell.expect("got-typed")
