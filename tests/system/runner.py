"""Running a command bare or under lastcall, as PID 1 of a pid namespace or not, as root or as an ordinary
user; and its journal.

Must never leave a process behind: each command is a session of its own, and whoever starts one ends it (`with`).
"""
import contextlib
import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time

from servers import wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LASTCALL = os.path.join(ROOT, "build", "lastcall")
AGENT = os.path.join(ROOT, "build", "lastcall-agent")
C_APPS = os.path.join(ROOT, "build", "apps")
PYTHON_APPS = os.path.join(ROOT, "tests", "apps")
NOBODY = 65534
RUNS = itertools.count(1)


def c_app(name):
    path = os.path.join(C_APPS, name)
    assert os.path.exists(path), f"{path} is not built: run `make apps`"
    return path


def python_app(name):
    return ["/usr/bin/python3", os.path.join(PYTHON_APPS, name + ".py")]


def lastcall_program():
    """build/lastcall; a test without it fails, it is not skipped."""
    assert os.path.exists(LASTCALL), "build/lastcall is not there: run `make`"
    return LASTCALL


def children(pid):
    """The direct children of a process, zombies included."""
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    return found


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child] + descendants(child)
    return found


def status(pid, key):
    """A line of /proc/PID/status, or None when the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(key + ":"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return None


def is_alive(pid):
    """False for a zombie too: it runs no more."""
    state = status(pid, "State")
    return state is not None and not state.startswith(("Z", "X"))


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [part.decode(errors="replace") for part in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def clean_environment(more=None):
    """Ours, without what would make lastcall or libpq find servers that are not the test's."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("PG", "LASTCALL", "DATABASE_URL", "DIRECT_", "REDIS_URL"))}
    kept.pop("NOTIFY_SOCKET", None)
    kept.update(more or {})
    return kept


def as_user(uid):
    """The words before a command that make it an ordinary user, with nothing left."""
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]


def in_pid_namespace():
    """The words before a command that make it PID 1 of a pid namespace of its own."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--pid", "--fork", "--mount-proc", "--kill-child"]


class Journal:
    """What an app wrote down: see tests/apps/journal.py."""

    def __init__(self, path):
        self.path = path

    def lines(self):
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except FileNotFoundError:
            return []
        return [line.split(" ", 1) for line in text.split("\n")[:-1]]

    def of(self, kind):
        return [rest for found, rest in (line for line in self.lines() if len(line) == 2) if found == kind]

    def intended(self):
        return set(self.of("I"))

    def confirmed(self):
        return set(self.of("C"))

    def confirmed_by_redis(self):
        return set(self.of("R"))

    def errors(self):
        return self.of("E")

    def notes(self, word):
        """O lines that begin with the word, split."""
        return [line.split() for line in self.of("O") if line.split()[0] == word]


MARK = "LASTCALLS_TEST_RUN"  # not LASTCALL_…: that would be a key of lastcall's


def marked(mark):
    """The processes that were started with this mark in their environment, whoever their parent is by now."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if wanted in file.read().split(b"\0"):
                found.append(int(pid))
    return found


class Run:
    """One command, running. What it prints goes to files, so that nothing ever blocks on us."""

    def __init__(self, argv, directory, env=None, prefix=(), name="run", pid1=False, **popen):
        self.name = name
        self.out_path, self.err_path = (os.path.join(directory, f"{name}.{end}") for end in ("out", "err"))
        self.report_path = os.path.join(directory, f"{name}.report.json")
        self.pid1 = pid1
        argv = [*(in_pid_namespace() if pid1 else ()), *prefix, *argv]
        self.mark = f"{os.getpid()}.{next(RUNS)}"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(
                argv, **{"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, "cwd": directory,
                         "env": clean_environment({"HOME": directory, MARK: self.mark, **(env or {})}),
                         "start_new_session": True, **popen})
        self.pidfd = os.pidfd_open(self.process.pid)
        self._main = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        os.close(self.pidfd)

    @property
    def pid(self):
        """The command's own pid, as we see it: not that of unshare around it."""
        if not self.pid1:
            return self.process.pid
        if self._main is None:
            self._main = wait_until(lambda: children(self.process.pid), 5, "unshare has a child")[0]
        return self._main

    def send(self, signo=signal.SIGTERM):
        try:
            os.kill(self.pid, signo)
        except ProcessLookupError:
            raise AssertionError(f"ended with {self.process.wait(5)} before {signo!r} was sent:\n"
                                 f"{self.err()}") from None

    def wait_softly(self, limit):
        """True when it has ended within the limit. By pidfd: Popen.wait() looks only every 50 ms."""
        if self.process.returncode is None:
            if not select.select([self.pidfd], [], [], limit)[0]:
                return False
            self.process.wait()
        return True

    def wait(self, limit, what="the end of the command"):
        """Its exit code; AssertionError when it has not ended within the limit."""
        assert self.wait_softly(limit), f"not within {limit} s: {what}\n{self.err()}"
        return self.process.returncode

    def kill(self):
        """Everything of it, also what left its process group or session, or outlived its parent."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        wait_until(self._kill_marked, 10, lambda: f"killed: {[(pid, command_of(pid)) for pid in marked(self.mark)]}")

    def _kill_marked(self):
        """True when there is none left; SIGKILL to those that are."""
        left = [pid for pid in marked(self.mark) if is_alive(pid)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    def out(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def err(self):
        with open(self.err_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def ready(self, limit=10, text="ready "):
        """Waits for the line that the app prints when it stands; its pid there (in its own pid namespace)."""
        def look():
            for line in self.out().splitlines():
                if line.startswith(text):
                    return int(line.split()[1])
            assert self.process.poll() is None, f"ended with {self.process.returncode} before it stood:\n{self.err()}"
            return None
        return wait_until(look, limit, lambda: f"{text!r} on its output; so far:\n{self.out()}\n{self.err()}")

    def report(self):
        with open(self.report_path, encoding="utf-8") as file:
            return json.load(file)

    def agent_pid(self, limit=5):
        """The agent's pid: the child of lastcall that runs lastcall-agent."""
        def look():
            return next((pid for pid in children(self.pid) if "lastcall-agent" in " ".join(command_of(pid)[:1])), None)
        return wait_until(look, limit, "lastcall has an agent")

    def app_pid(self, limit=5):
        """The main process's pid as we see it: the child of lastcall that is not the agent."""
        def look():
            return next((pid for pid in children(self.pid)
                         if command_of(pid) and "lastcall" not in os.path.basename(command_of(pid)[0])), None)
        return wait_until(look, limit, "lastcall has an app")

    def phases(self):
        """The phases that lastcall's log has begun so far: "lastcall: holding: why"."""
        return re.findall(r"^lastcall: (?:\w+: )?(announcing|draining|holding|stopping|killing|sweeping|done): ",
                          self.err(), re.M)


def bare(argv, directory, name="bare", **more):
    return Run(argv, directory, name=name, **more)


def lastcall(argv, directory, options=(), name="lastcall", grace="5s", program=None, **more):
    """`argv` under lastcall, with a report file. grace=None: say nothing about it."""
    report = os.path.join(directory, f"{name}.report.json")
    words = [program or lastcall_program(), *(["--grace", grace] if grace else []), "--report", report, *options]
    return Run([*words, "--", *argv], directory, name=name, **more)


def lastcall_verb(words, directory, env=None, limit=20, prefix=(), program=None):
    """A verb, to its end: (code, stdout, stderr)."""
    done = subprocess.run([*prefix, program or lastcall_program(), *words], cwd=directory, env=clean_environment(env),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit, check=False)
    return done.returncode, done.stdout, done.stderr


def stage_for_everyone(directory):
    """Copies of the programs and apps where any user may read and run them: the checkout may be in
    a private directory."""
    os.makedirs(directory, exist_ok=True)
    for name, source in (("lastcall", LASTCALL), ("lastcall-agent", AGENT)):
        if os.path.exists(source):
            shutil.copy(source, os.path.join(directory, name))
    shutil.copytree(C_APPS, os.path.join(directory, "c"), dirs_exist_ok=True)
    shutil.copytree(PYTHON_APPS, os.path.join(directory, "python"), dirs_exist_ok=True)
    for base, directories, files in os.walk(directory):
        for name in directories + files:
            os.chmod(os.path.join(base, name), 0o755)
    os.chmod(directory, 0o755)
    return directory


def read_for(fd, seconds, stop=lambda data: False):
    """What a descriptor gives within the time, or until `stop` says enough."""
    data, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and not stop(data):
        if not select.select([fd], [], [], min(0.1, max(0, end - time.monotonic())))[0]:
            continue
        try:
            more = os.read(fd, 65536)
        except OSError:
            break
        if not more:
            break
        data += more
    return data
