"""Letting go, always: whatever ends a hold, no socket of a living app stays corked, braked or muted, and TCP_NODELAY
and SO_RCVLOWAT are what the app gave them. The app says it itself: tests/apps/own_marks.c reads its own sockets back.

The limit is 50 ms. Each case is measured several times and the median counts: a machine with other things to
do may be late once.
"""
import contextlib
import os
import resource
import signal
import socket
import statistics
import subprocess
import time

import pytest

from runner import Journal, c_app, clean_environment, is_alive, lastcall, lastcall_program, lastcall_verb
from reports import valid
from servers import wait_until

LIMIT_MS = 50
TIMES = 3
SIGNALLED_MS = 100   # an app that lives on after its signal is let go then


def now_us():
    return time.monotonic_ns() // 1000


class Marks:
    """What the app saw of its own sockets."""

    def __init__(self, journal):
        self.journal = journal

    def changes(self):
        """[(microseconds, (corked, braked, muted, nodelay))]"""
        return [(int(words[0]), tuple(map(int, words[1:])))
                for words in (rest.split() for rest in self.journal.of("M"))]

    def are_on(self, which=0):
        changes = self.changes()
        return bool(changes) and changes[-1][1][which] > 0

    def wait_on(self, run, which=0):
        wait_until(lambda: self.are_on(which), 10, lambda: f"marks on: {self.changes()[-3:]}\n{run.err()}")

    def clean_after(self, began_us, run):
        """How many milliseconds after `began_us` the last mark went off."""
        wait_until(lambda: not any(self.changes()[-1][1]), 10, lambda: f"clean: {self.changes()[-3:]}\n{run.err()}",
                   step=0.001)
        return max(0, self.changes()[-1][0] - began_us) / 1000

    def stay_off(self, since_us, until_us=None):
        """No mark was seen since; the changes that say otherwise."""
        return [change for change in self.changes()
                if change[0] > since_us and (until_us is None or change[0] < until_us) and any(change[1][:3])]


class App:
    """own_marks under lastcall."""

    def __init__(self, database, directory, environment=None, prefix=(), grace="5s", name="app", warm=40,
                 route="direct"):
        self.socket = {"LASTCALL_SOCKET": os.path.join(directory, f"{name}.sock")}
        self.directory, self.warm = directory, warm
        self.journal = Journal(os.path.join(directory, f"{name}.journal"))
        self.marks = Marks(self.journal)
        env = {**database.environment(route, False), **self.socket, "JOURNAL": self.journal.path, **(environment or {})}
        self.run = lastcall([c_app("own_marks")], directory, name=name, env=env, grace=grace,
                            prefix=prefix)

    def __enter__(self):
        self.run.__enter__()
        self.goes_on(self.warm)
        self.run.agent_pid()
        return self

    def __exit__(self, *how):
        self.run.__exit__(*how)

    def goes_on(self, transactions=40):
        done = len(self.journal.of("C"))
        wait_until(lambda: len(self.journal.of("C")) >= done + transactions, 10,
                   lambda: f"the app goes on\n{self.run.err()}")
        assert self.journal.errors() == []

    def verb(self, *words):
        return lastcall_verb(list(words), self.directory, self.socket)

    def drain(self):
        code, out, err = self.verb("drain")
        assert code == 0, (out, err, self.run.err())
        assert self.marks.are_on(), "it rests, and is held"

    def send_drain(self):
        """A drain that does not come to its end: something is in flight for long."""
        return subprocess.Popen([lastcall_program(), "drain"], env=clean_environment(self.socket), cwd=self.directory,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def agent_is_up(self):
        """There is an agent, and it has answered."""
        wait_until(lambda: '"handles":8' in self.verb("status", "-o", "json")[1].replace(" ", ""), 10,
                   lambda: f"an agent that sees: {self.verb('status', '-o', 'json')}\n{self.run.err()}", step=0.02)


def took(measured):
    print("clean after", ", ".join(f"{ms:.1f}" for ms in measured), "ms")  # shown when the test fails, or by pytest -s
    assert statistics.median(measured) <= LIMIT_MS, measured


# -- the agent is lost -------------------------------------------------------------------------------------------------

@pytest.mark.limit(90)
@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("when", ["resting", "holding"])
def test_agent_lost(database, directory, signo, when):
    measured = []
    for turn in range(TIMES):
        environment = {"LONG_QUERY": "30"} if when == "holding" else {"LASTCALL_DRAIN_HOLD": "30s"}
        with App(database, directory, environment, name=f"app{turn}", grace="30s") as app:
            if when == "resting":
                app.drain()
            else:
                app.send_drain()
                app.marks.wait_on(app.run, 1)
            agent = app.run.agent_pid()
            began_us = now_us()
            os.kill(agent, signo)
            try:
                # a new agent begins a hold anew: the first clean moment counts
                clean = wait_until(lambda: [at for at, seen in app.marks.changes() if at > began_us and not any(seen)],
                                   10, lambda: f"clean\n{app.run.err()}", step=0.001)
                measured.append((clean[0] - began_us) / 1000)
            finally:
                if is_alive(agent):
                    os.kill(agent, signal.SIGKILL)
            assert app.journal.errors() == []
    took(measured)


# -- called off, over, given up ----------------------------------------------------------------------------------------

def test_resume_while_resting(database, directory):
    measured = []
    with App(database, directory) as app:
        for _ in range(TIMES):
            app.drain()
            began_us = now_us()
            assert app.verb("resume")[0] == 0
            measured.append(app.marks.clean_after(began_us, app.run))
            clean_us = now_us()
            app.goes_on()
            assert app.marks.stay_off(clean_us) == []
    took(measured)


def test_resume_while_holding(database, directory):
    measured = []
    with App(database, directory, {"LONG_QUERY": "30"}, grace="30s") as app:
        for _ in range(TIMES):
            hook = app.send_drain()
            app.marks.wait_on(app.run, 1)
            began_us = now_us()
            assert app.verb("resume")[0] == 0
            measured.append(app.marks.clean_after(began_us, app.run))
            assert hook.wait(5) == 1
            clean_us = now_us()
            app.goes_on()
            assert app.marks.stay_off(clean_us) == []
    took(measured)


def test_blocking_socket_under_a_brake(database, directory):
    """A recv(2) that took its reply while it was braked does not return by itself, nor when the brake is off:
    the app must go on all the same. The long query keeps the hold from its end; the one lane comes to its
    boundary, and stands there."""
    slow = {"THREADS": "1", "BLOCKING": "1", "SHORTEST_MS": "300", "LONGEST_MS": "400", "LONG_QUERY": "30"}
    with App(database, directory, slow, grace="30s", warm=3) as app:
        for _ in range(TIMES):
            hook = app.send_drain()
            app.marks.wait_on(app.run, 1)
            wait_until(lambda: stands_still(app.journal, 0.6), 10,
                       lambda: f"the lane stands still\n{app.run.err()}", step=0.02)
            assert len(app.journal.intended()) == len(app.journal.of("C")) + 1, \
                "its COMMIT is not answered, as it sees it"
            assert app.verb("resume")[0] == 0
            assert hook.wait(5) == 1
            app.goes_on(2)


def stands_still(journal, seconds):
    """Nothing was written into it for so long."""
    return time.time() - os.stat(journal.path).st_mtime > seconds


@pytest.mark.parametrize("by", ["environment", "file"])
def test_drain_hold_is_over(database, directory, by):
    measured, hold_ms = [], 400
    environment = {"LASTCALL_DRAIN_HOLD": f"{hold_ms}ms"}
    if by == "file":
        path = os.path.join(directory, "lastcall.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"drain:\n  hold: {hold_ms}ms\n")
        environment = {"LASTCALL_CONFIG": path}
    with App(database, directory, environment) as app:
        for _ in range(TIMES):
            app.drain()
            began_us = now_us()
            measured.append(app.marks.clean_after(began_us, app.run) - hold_ms)
            clean_us = now_us()
            app.goes_on()
            assert app.marks.stay_off(clean_us) == []
        assert "drain.hold" in app.run.err(), app.run.err()
    took(measured)


def test_drain_that_comes_to_no_end(database, directory):
    """Its hold deadline passes, as one query never ends: the app is let go, and goes on."""
    with App(database, directory, {"LONG_QUERY": "30"}, grace="3s") as app:
        began_us = now_us()
        code, _, err = app.verb("drain")
        assert code == 1, err
        clean_ms = app.marks.clean_after(began_us, app.run)
        ended_ms = (now_us() - began_us) / 1000
        assert clean_ms <= ended_ms + LIMIT_MS
        clean_us = now_us()
        app.goes_on()
        assert app.marks.stay_off(clean_us) == []


# -- after the signal --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("long_query", [False, True])
def test_app_lives_on_after_its_signal(database, directory, long_query):
    """It is held across the signal, and let go 100 ms later. With a query that does not end, the hold
    deadline comes first."""
    measured = []
    environment = {"HANDLER": "good", "LINGER_MS": "700", **({"LONG_QUERY": "30"} if long_query else {})}
    for turn in range(TIMES):
        with App(database, directory, environment, grace="5s", name=f"app{turn}") as app:
            app.run.send()
            app.run.wait(8)
            told_us, finished_us, end_us = (int(app.journal.notes(word)[0][1])
                                            for word in ("SIGTERM", "finished", "end"))
            seen = [change for change in app.marks.changes() if change[0] < end_us]
            assert any(change[1][0] for change in seen), "it was held"
            assert not any(seen[-1][1]), (seen[-3:], app.run.err())
            measured.append((seen[-1][0] - told_us) / 1000 - SIGNALLED_MS)
            assert app.marks.stay_off(told_us + 2 * SIGNALLED_MS * 1000, end_us) == []
            assert finished_us < end_us and app.journal.errors() == []
            valid(app.run.report())
    took(measured)


@pytest.mark.parametrize("route", ["direct", "pgbouncer-transaction"])
def test_goodbye_that_is_held(database, directory, route):
    """The handler closes every connection, and the app ends within a millisecond: its goodbyes are held then, and must
    be let out. They are the app's: no session is ended by command, none counts as leaked."""
    with App(database, directory, {"HANDLER": "good", "IDLE": "1"}, warm=8, route=route) as app:
        app.run.send()
        assert app.run.wait(5) == 0, app.run.err()
        target = valid(app.run.report())["targets"][0]
        assert (target["handles"], target["closed_by_app"], target["leaked"]) == (8, 8, 0), target
    counters = database.settled_counters()
    assert (counters.sessions_killed, counters.sessions_abandoned) == (0, 0), counters
    assert database.pooler_abandoned() == 0


# -- errors ------------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def no_descriptor_left(app):
    """lastcall's own limit is put right above its highest number, and clients that say nothing take
    what is free below."""
    pid, clients = app.run.pid, []

    def numbers():
        return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}

    def samples():
        """Looked at for as long as a round takes: a mark needs a descriptor for a moment."""
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            yield numbers()
    kept = set.intersection(*samples())
    highest = max(kept)
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        while len(kept) + len(clients) <= highest:
            clients.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            clients[-1].connect(app.socket["LASTCALL_SOCKET"])
            wait_until(lambda: len(numbers()) >= len(kept) + len(clients), 2, "lastcall takes its client", step=0.001)
        yield
    finally:
        for client in clients:
            client.close()


def test_no_descriptor_left_while_held(database, directory):
    """lastcall cannot open anything any more, and then loses its agent: the marks go off all the same."""
    measured = []
    for turn in range(TIMES):
        with App(database, directory, {"LASTCALL_DRAIN_HOLD": "30s"}, name=f"app{turn}", grace="30s") as app:
            app.drain()
            agent = app.run.agent_pid()
            with no_descriptor_left(app):
                began_us = now_us()
                os.kill(agent, signal.SIGKILL)
                measured.append(app.marks.clean_after(began_us, app.run))
            app.goes_on()
    took(measured)


def test_no_descriptor_left_from_the_start(database, directory):
    """Nothing can be marked. The stop still ends in time, and says that it could not hold."""
    with App(database, directory, {"HANDLER": "good"}, grace="3s") as app:
        pid = app.run.pid
        free = next(number for number in range(1000) if not os.path.lexists(f"/proc/{pid}/fd/{number}"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
        began = time.monotonic()
        app.run.send()
        assert app.run.wait(5) == 0, app.run.err()
        assert time.monotonic() - began <= 2.8
        assert app.marks.stay_off(0) == [] and app.journal.errors() == []
        said = app.run.report()["unknown"] if os.path.exists(app.run.report_path) else app.run.err()
        assert "descriptor" in str(said).lower() or "open files" in str(said).lower(), (said, app.run.err())


def test_hands_refused(database, directory):
    """There is no way to a duplicate here: nothing is ever marked, the app is not disturbed, and lastcall says so."""
    with App(database, directory, {"HANDLER": "good"}, prefix=[c_app("no_hands")], grace="3s") as app:
        app.send_drain()
        wait_until(lambda: "cannot be held" in app.run.err(), 5, "it is said")
        app.goes_on()
        began = time.monotonic()
        app.run.send()
        assert app.run.wait(5) == 0, app.run.err()
        assert time.monotonic() - began <= 2.8
        assert app.marks.stay_off(0) == [] and app.journal.errors() == []
        assert app.run.report()["hands"] == "none"


def test_by_the_second_way(database, directory):
    """pidfd_getfd(2) is not allowed here, ptrace(2) is: the marks go on by it, and off as quickly."""
    measured = []
    with App(database, directory, prefix=[c_app("without_getfd")]) as app:
        for _ in range(TIMES):
            app.drain()
            began_us = now_us()
            assert app.verb("resume")[0] == 0
            measured.append(app.marks.clean_after(began_us, app.run))
            app.goes_on()
            assert app.marks.stay_off(began_us + LIMIT_MS * 1000) == []
    took(measured)


# -- again and again ---------------------------------------------------------------------------------------------------

def throughput(app, transactions=200):
    """Transactions a second."""
    began = time.monotonic()
    app.goes_on(transactions)
    return transactions / (time.monotonic() - began)


@pytest.mark.limit(120)
def test_drain_and_resume_again_and_again(database, directory):
    """Fifty times in a row under load: the app goes on each time, sees no error, no mark is left, and it is as quick as
    before (a machine with other things to do makes it slower for a while, never quicker)."""
    with App(database, directory) as app:
        before = statistics.median(throughput(app) for _ in range(3))
        for _ in range(50):
            app.drain()
            assert app.verb("resume")[0] == 0
            app.goes_on(10)
        wait_until(lambda: throughput(app) >= 0.95 * before, 30, f"{before:.0f} transactions a second again")
        began_us = now_us()
        assert app.marks.clean_after(began_us, app.run) <= LIMIT_MS
        app.goes_on()
        assert app.marks.stay_off(began_us + LIMIT_MS * 1000) == []
    assert database.settled_counters().xact_rollback <= 8  # those that the end of the test itself cut
