"""Signals and exit codes: what the app gets of which signal, and what lastcall exits with. And that an ENTRYPOINT of tini or
dumb-init goes on to work when the word is replaced: the same options, signals and codes, by those programs themselves.

No server is needed but for the last two tests."""
import os
import signal
import subprocess
import time

import pytest

from reports import valid
from runner import C_APPS, Run, bare, c_app, clean_environment, lastcall, lastcall_program, lastcall_verb, python_app
from servers import wait_until
from stops import APPS, measure
from test_drain import nothing_was_lost

GRACE, GRACE_S = "4s", 4.0
RECORDER = os.path.join(C_APPS, "signals_recorder")
BEHAVE = os.path.join(C_APPS, "behave")


class Recorder:
    """A process that writes down every signal it gets; SIGTERM ends it with 7."""

    def __init__(self, directory, name="record"):
        self.path = os.path.join(directory, name)
        self.command = [c_app("signals_recorder"), self.path]

    def lines(self):
        try:
            with open(self.path, encoding="ascii") as file:
                return [line.split() for line in file]
        except FileNotFoundError:
            return []

    def got(self):
        return [int(line[1]) for line in self.lines() if line[0] == "signal"]

    def pid(self):
        return wait_until(lambda: next((int(line[1]) for line in self.lines() if line[0] == "ready"), None), 5,
                          "the recorder stands")

    def gets(self, signals, run, limit=2):
        wait_until(lambda: self.got() == signals, limit, lambda: f"{signals}; it has {self.got()}\n{run.err()}",
                   step=0.002)


def under(tool, words, argv, directory, env=None, grace=GRACE, pid1=False):
    """The command under tini, dumb-init or lastcall, each with the same words."""
    if tool == "lastcall":
        return lastcall(argv, directory, options=words, grace=grace, env=env, pid1=pid1)
    return bare([f"/usr/bin/{tool}", *words, *(["--", *argv] if argv else [])], directory, name=tool, env=env, pid1=pid1)


# ---- an ENTRYPOINT of tini or dumb-init ----

ENDS = [
    # who, options, environment, the app, the signal it is sent, the code
    ("tini", [], {}, ["sh", "-c", "exit 37"], None, 37),
    ("tini", ["-s", "-g", "-v"], {}, ["sh", "-c", "kill -ABRT $$"], None, 134),
    ("tini", ["-e", "37"], {}, ["sh", "-c", "exit 37"], None, 0),
    ("tini", ["-e", "37"], {}, ["sh", "-c", "exit 36"], None, 36),
    ("tini", ["-e37", "-e", "36"], {}, ["sh", "-c", "exit 36"], None, 0),
    ("tini", ["-s", "-e", "143"], {}, [BEHAVE, "sleep"], signal.SIGTERM, 0),
    ("tini", ["-s", "-w"], {"TINI_SUBREAPER": "", "TINI_VERBOSITY": "3"}, [BEHAVE, "sleep"], signal.SIGTERM, 143),
    ("tini", ["-s"], {}, [BEHAVE, "good"], signal.SIGTERM, 0),
    ("tini", ["-s", "-e", "130"], {}, [BEHAVE, "sleep"], signal.SIGINT, 0),
    ("tini", ["-s"], {}, [BEHAVE, "sleep"], signal.SIGHUP, 129),
    ("tini", [], {}, ["/no/such/command"], None, 127),
    ("tini", ["-e", "127"], {}, ["/no/such/command"], None, 0),
    ("tini", [], {}, ["/etc/passwd"], None, 126),
    ("tini", ["-h"], {}, ["true"], None, 0),
    ("tini", ["-l"], {}, ["true"], None, 0),
    ("tini", ["--version"], {}, [], None, 0),
    ("dumb-init", [], {}, ["sh", "-c", "exit 37"], None, 37),
    ("dumb-init", ["-v", "-c"], {"DUMB_INIT_DEBUG": "1"}, [BEHAVE, "sleep"], signal.SIGTERM, 143),
    ("dumb-init", ["--single-child", "--verbose"], {}, [BEHAVE, "exit", "41"], signal.SIGTERM, 41),
    ("dumb-init", ["-r", "15:3"], {}, [BEHAVE, "sleep"], signal.SIGTERM, 131),
    ("dumb-init", ["--rewrite", "15:2", "--rewrite=1:3"], {}, [BEHAVE, "sleep"], signal.SIGHUP, 131),
    ("dumb-init", ["-r1:15"], {}, [BEHAVE, "good"], signal.SIGHUP, 0),
    ("dumb-init", ["-V"], {}, ["true"], None, 0),
    ("dumb-init", ["--version"], {}, ["true"], None, 0),
    ("dumb-init", ["--help"], {}, ["true"], None, 0),
]


@pytest.mark.parametrize("pid1", [False, True])
@pytest.mark.parametrize("tool, words, env, argv, signo, code", ENDS)
def test_exit_codes_are_those_of(directory, tool, words, env, argv, signo, code, pid1):
    """As PID 1, as in a container, and as any process."""
    for one in (tool, "lastcall"):
        with under(one, words, argv, directory, env, pid1=pid1) as run:
            if signo:
                run.ready()
                run.send(signo)
            assert run.wait(GRACE_S + 2) == code, (one, run.err())


DELIVERED = [
    # who, options, what it is sent, what the app gets of each (0: nothing)
    ("tini", ["-s"], [1, 3, 10, 12, 14, 28, 34, 15], [1, 3, 10, 12, 14, 28, 34, 15]),
    ("tini", ["-s", "-g"], [1, 10, 2], [1, 10, 2]),
    ("dumb-init", ["-c"], [1, 3, 10, 12, 28, 15], [1, 3, 10, 12, 28, 15]),
    ("dumb-init", ["-c", "-r", "15:3"], [1, 15], [1, 3]),
    ("dumb-init", ["-r", "1:10", "-r", "10:12", "-r", "12:0"], [12, 1, 10, 15], [0, 10, 12, 15]),
    ("dumb-init", ["-r", "15:0"], [15, 10, 2], [0, 10, 2]),
    ("dumb-init", ["--rewrite", "2:0"], [2, 10, 15], [0, 10, 15]),
]


@pytest.mark.parametrize("pid1", [False, True])
@pytest.mark.parametrize("tool, words, sent, expected", DELIVERED)
def test_the_app_gets_the_same_signals_as_under(directory, tool, words, sent, expected, pid1):
    """One after the other, each when the one before it has come. (A second stop signal means more to lastcall.)"""
    for one in (tool, "lastcall"):
        recorder, so_far = Recorder(directory, one), []
        with under(one, words, recorder.command, directory, pid1=pid1) as run:
            recorder.pid()
            for signo, got in zip(sent, expected):
                run.send(signo)
                so_far += [got] if got else []
                recorder.gets(so_far, run)


GROUPS = [
    # who, options, environment, whether the process group gets it
    ("tini", ["-s"], {}, False),
    ("tini", ["-s", "-g"], {}, True),
    ("tini", ["-s"], {"TINI_KILL_PROCESS_GROUP": ""}, True),
    ("dumb-init", ["-c"], {}, False),
    ("dumb-init", ["-v"], {"DUMB_INIT_SETSID": "0"}, False),
    ("dumb-init", [], {"DUMB_INIT_SETSID": "1"}, True),
]


@pytest.mark.parametrize("tool, words, env, whole", GROUPS)
def test_the_group_gets_it_as_under(directory, tool, words, env, whole):
    """Two recorders in one process group: a forwarded signal and the stop signal."""
    for one in (tool, "lastcall"):
        child, main = Recorder(directory, one + "-child"), Recorder(directory, one + "-main")
        script = f"{' '.join(child.command)} & exec {' '.join(main.command)}"
        with under(one, words, ["sh", "-c", script], directory, env) as run:
            child.pid(), main.pid()
            run.send(signal.SIGUSR1)
            main.gets([10], run)
            if whole:
                child.gets([10], run)
            run.send(signal.SIGQUIT)
            main.gets([10, 3], run)
            if whole:
                child.gets([10, 3], run)
            run.send(signal.SIGTERM)
            assert run.wait(GRACE_S + 2) == 7, run.err()
            assert main.got() == [10, 3, 15], one
            if whole:
                child.gets([10, 3, 15], run)
            else:  # what is left gets the stop signal after the main process: no more than that
                assert child.got() in ([], [15]), one


@pytest.mark.parametrize("tool", ["tini", "lastcall"])
def test_the_signal_of_the_parents_death(directory, tool):
    """-p: what it gets when the process that started it ends. Its parent here is a shell."""
    recorder = Recorder(directory)
    program = lastcall_program() if tool == "lastcall" else "/usr/bin/tini"
    command = " ".join([program, "-s", "-p", "SIGTERM", "--", *recorder.command])
    with Run(["sh", "-c", f"{command} & wait"], directory, name=tool) as run:
        recorder.pid()
        os.kill(run.pid, signal.SIGKILL)
        run.wait(5)
        recorder.gets([15], run)


def test_without_p_the_parents_death_is_nothing(directory):
    recorder = Recorder(directory)
    command = " ".join([lastcall_program(), "--", *recorder.command])
    with Run(["sh", "-c", f"{command} & echo $!; wait"], directory) as run:
        pid = recorder.pid()
        under_it = int(wait_until(run.out, 2, "the shell has said its pid"))
        os.kill(run.pid, signal.SIGKILL)
        run.wait(5)
        os.kill(under_it, signal.SIGUSR1)
        recorder.gets([10], run)
        assert os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("tool, words", [("tini", ["-s", "-w"]), ("lastcall", ["-s", "-w"]), ("lastcall", ["-s"])])
def test_a_warning_of_what_was_reaped(directory, tool, words):
    with under(tool, words, [BEHAVE, "orphans", "100"], directory) as run:
        run.ready()
        if "-w" in words:
            wait_until(lambda: run.err().count("eaped ") == 100, 5, lambda: f"100 warnings:\n{run.err()[:500]}")
        run.send()
        assert run.wait(GRACE_S + 2) == 143
        assert "-w" in words or "eaped" not in run.err(), run.err()


@pytest.mark.parametrize("level, seen", [("1", False), ("2", False), ("3", True)])
def test_verbosity_of_the_environment(directory, level, seen):
    with lastcall([BEHAVE, "sleep"], directory, grace=GRACE, env={"TINI_VERBOSITY": level}) as run:
        run.ready()
        run.send()
        assert run.wait(GRACE_S + 2) == 143
        assert ("debug" in run.err()) == seen, run.err()


# ---- stop.signal and stop.map ----

def write(directory, text, name="lastcall.yaml"):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


SIGNALS = [
    # the file, and one after the other: what comes, what the app has got by then
    ("stop: {signal: QUIT}", [(15, [3])]),
    ("stop: {signal: QUIT}", [(2, [3])]),
    ("stop: {signal: QUIT, map: {TERM: INT}}", [(15, [3])]),
    ("stop: {map: {TERM: QUIT, USR1: USR2}}", [(10, [12]), (15, [12, 3])]),
    ("stop: {map: {TERM: RTMIN+3}}", [(15, [37])]),
    ("stop: {map: {TERM: 0, HUP: 0}}", [(15, []), (1, []), (10, [10]), (2, [10, 2])]),
    ("stop: {signals: [USR1], map: {USR1: TERM}}", [(2, [2]), (10, [2, 15])]),
]


@pytest.mark.parametrize("text, steps", SIGNALS)
def test_what_the_app_gets(place, text, steps):
    recorder = Recorder(place.directory)
    recorder.command[0] = place.program("c/signals_recorder")
    config = write(place.directory, text + "\n")
    with place.lastcall(recorder.command, grace=GRACE, options=["--config", config]) as run:
        recorder.pid()
        for signo, expected in steps:
            run.send(signo)
            recorder.gets(expected, run)


@pytest.mark.parametrize("env", [{"LASTCALL_STOP_SIGNAL": "QUIT"}, {"LASTCALL_STOP_MAP": "TERM:3, HUP:0"}])
def test_what_the_app_gets_by_the_environment(directory, env):
    recorder = Recorder(directory)
    with lastcall(recorder.command, directory, grace=GRACE, env=env) as run:
        recorder.pid()
        run.send()
        recorder.gets([3], run)


def test_the_disposition_is_that_of_what_the_app_gets(directory):
    """A shell that handles SIGTERM and not SIGQUIT, and waits: SIGQUIT goes to its child, too, SIGTERM does not."""
    for words, expected in (([], []), (["-r", "TERM:QUIT"], [3])):
        recorder = Recorder(directory, f"record{len(words)}")
        script = f"trap : TERM; {' '.join(recorder.command)}; exit 9"
        with lastcall(["sh", "-c", script], directory, options=words, grace="1s", name=f"run{len(words)}") as run:
            recorder.pid()
            run.send()
            run.wait(3)
            assert recorder.got() == expected, run.err()


def test_a_signal_that_becomes_a_stop_signal_begins_a_stop(directory):
    with lastcall([BEHAVE, "sleep"], directory, options=["-r", "HUP:TERM"], grace=GRACE) as run:
        run.ready()
        run.send(signal.SIGHUP)
        assert run.wait(GRACE_S + 2) == 143
        assert run.report()["stop"]["reason"] == "SIGHUP"
        assert run.report()["app"]["signal"] == "SIGTERM"


# ---- stop.sequence ----

def sequence_of(run, recorder, expected, limit):
    """When each came, in seconds since the stop signal."""
    began, times = time.monotonic(), []
    run.send()
    for number in range(len(expected)):
        recorder.gets(expected[:number + 1], run, limit)
        times.append(time.monotonic() - began)
    return times


@pytest.mark.parametrize("words", [["--stop-signal", "HUP"], []])
def test_sequence(directory, words):
    """Each at its time after the first one; the last ends the app."""
    recorder = Recorder(directory)
    first = "" if words else "HUP 0s, "
    env = {"LASTCALL_STOP_SEQUENCE": f"[{first}INT 300ms, QUIT 700ms, TERM 1s]"}
    with lastcall(recorder.command, directory, options=words, grace=GRACE, env=env) as run:
        recorder.pid()
        times = sequence_of(run, recorder, [1, 2, 3, 15], 2)
        assert run.wait(2) == 7, run.err()
        for at, due in zip(times, (0, 0.3, 0.7, 1.0)):
            assert due - 0.005 <= at < due + 0.5, (times, run.err())
        assert run.report()["app"]["exit_code"] == 7


def test_sequence_is_over_when_the_app_ends(directory):
    """It ends after 0.3 s: no further signal, no waiting for one."""
    with lastcall([BEHAVE, "slow", "300"], directory, grace=GRACE, env={"LASTCALL_STOP_SEQUENCE": "QUIT 1s"}) as run:
        run.ready()
        began = time.monotonic()
        run.send()
        assert run.wait(2) == 0, run.err()
        assert time.monotonic() - began < 0.9


def test_sequence_reaches_who_got_the_first_one(directory):
    """`sh -c`: the stop signal ends the shell, not the app behind it, which gets the next one all the same."""
    recorder = Recorder(directory)
    env = {"LASTCALL_STOP_SEQUENCE": "[HUP 0s, TERM 500ms]"}
    with lastcall(["sh", "-c", f"{' '.join(recorder.command)}; exit 9"], directory, grace=GRACE, env=env) as run:
        recorder.pid()
        run.send()
        recorder.gets([1, 15], run)
        assert run.wait(2) == 129, run.err()


def test_sequence_ends_in_time_for_an_app_that_ignores_it(directory):
    with lastcall(["sh", "-c", "trap '' TERM INT QUIT; echo ready $$; while :; do sleep 1; done"], directory,
                  grace="2s", env={"LASTCALL_STOP_SEQUENCE": "INT 200ms, QUIT 400ms"}) as run:
        run.ready()
        began = time.monotonic()
        run.send()
        assert run.wait(4) == 137, run.err()
        assert time.monotonic() - began <= 1.8
        assert run.err().count(" sent to ") == 2, run.err()


# ---- exit codes ----

CODES = [
    # the file, the app, its own code, lastcall's
    ("exit_codes: {143: 0}", ["sleep"], None, 0),
    ("exit_codes: {143: 0}", ["exit", "143"], 143, 0),
    ("exit_codes: {41: 7, 7: 1}", ["exit", "41"], 41, 7),
    ("exit_codes: [41]", ["exit", "42"], 42, 42),
    ("exit_codes: {0: 3}", ["good"], 0, 3),
    ("exit_codes: {137: 0}", ["ignore"], None, 0),
]


@pytest.mark.parametrize("text, behave, own, code", CODES)
def test_exit_codes(directory, text, behave, own, code):
    """The report keeps the app's own, and says both."""
    with lastcall([BEHAVE, *behave], directory, options=["--config", write(directory, text + "\n")], grace="2s") as run:
        run.ready()
        run.send()
        assert run.wait(4) == code, run.err()
        report = valid(run.report())
        assert report["exit_code"] == code
        assert report["app"]["exit_code"] == own


def test_exit_codes_are_not_for_lastcalls_own_failure(directory):
    with lastcall(["true"], directory, options=["-e", "125", "--user", "no-such-user"]) as run:
        assert run.wait(5) == 125


# ---- what is refused ----

REFUSED = [
    # the file, where, words
    ("stop:\n  signal: KILL\n", "2:11", ["stop.signal", "stop.end: kill"]),
    ("stop:\n  signal: TREM\n", "2:11", ["'TREM' is not a signal"]),
    ("stop:\n  map:\n    TERM: QUIT\n    KILL: TERM\n", "4:11", ["'KILL' cannot be rewritten"]),
    ("stop:\n  map: {TERM: QIUT}\n", "2:15", ["'QIUT' is not a signal"]),
    ("stop:\n  sequence: [INT 1s, QUIT]\n", "2:22", ["'QUIT' is not a signal and a time"]),
    ("stop:\n  sequence: [INT 2s, QUIT 1s]\n", "2:22", ["later than INT 2s"]),
    ("stop:\n  sequence: [INT 1s, QUIT 8s]\n", "2:13", ["SIGQUIT after 8.0 s would never be sent", "grace_period"]),
    ("stop:\n  settle: 5s\n  sequence: [INT 3s]\n", "3:13", ["SIGINT after 3.0 s would never be sent"]),
    ("stop:\n  end: kill\n  sequence: [INT 1s]\n", "3:13", ["stop.end: kill"]),
    ("exit_codes:\n  143: zero\n", "2:8", ["'zero' is not an exit code"]),
    ("exit_codes: [1, 256]\n", "1:17", ["'256' is not an exit code"]),
    ("parent_death_signal: SIGFOO\n", "1:22", ["'SIGFOO' is not a signal"]),
]


@pytest.mark.parametrize("text, where, says", REFUSED)
def test_refused(directory, text, where, says):
    """The app is not started; one line with the place; `check` says the same."""
    path, started = write(directory, text), os.path.join(directory, "started")
    with lastcall(["touch", started], directory, options=["--config", path], grace=None) as run:
        assert run.wait(5) == 125, run.err()
        said = [run.err()]
    code, _, err = lastcall_verb(["check", "--config", path], directory)
    assert code == 1 and not os.path.exists(started)
    for text_of in [*said, err]:
        assert f"{path}:{where}: " in text_of and len(text_of.splitlines()) == 1, text_of
        for word in says:
            assert word in text_of, text_of


@pytest.mark.parametrize("words, says", [(["-e", "999"], "-e: '999'"), (["-r", "15"], "-r: '15' rewrites nothing"),
                                         (["-r", "15:99"], "-r: '99'"), (["-p", "SIGFOO"], "-p: 'SIGFOO'"),
                                         (["--stop-signal", "9"], "--stop-signal: '9'")])
def test_refused_options(directory, words, says):
    done = subprocess.run([lastcall_program(), *words, "--", "true"], cwd=directory, env=clean_environment(),
                          capture_output=True, text=True, timeout=5, check=False)
    assert done.returncode == 125 and done.stdout == ""
    assert says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_check_prints_them(directory):
    """And takes what it has printed."""
    text = "stop: {signal: QUIT, map: {HUP: 0}, sequence: [INT 1s]}\nexit_codes: {143: 0}\nparent_death_signal: TERM\n"
    code, out, err = lastcall_verb(["check", "--config", write(directory, text), "-e", "130", "-w"], directory)
    assert code == 0, err
    for line in ("  signal: QUIT", "  map: {HUP: 0}", "  sequence: [INT 1s]", "exit_codes: {130: 0}", "  reaped: true",
                 "parent_death_signal: TERM"):
        assert any(found.startswith(line) for found in out.splitlines()), (line, out)
    code, again, err = lastcall_verb(["check", "--config", write(directory, out, "again.yaml")], directory)
    assert code == 0, err

    def values(text):
        return [line.split("#")[0] for line in text.splitlines() if not line.startswith(("#", "instance:"))]
    assert values(again) == values(out)


# ---- with servers ----

def test_a_rewritten_signal_comes_at_rest(servers, directory):
    """The app would die of SIGUSR1 as of SIGTERM: it gets it between its transactions."""
    stop = measure(servers, "threads", "direct", "lastcall", directory, options=["-r", "TERM:USR1", "-e", "138"])
    nothing_was_lost(stop)
    assert stop.code == 0 and stop.report["app"]["signal"] == "SIGUSR1", stop


def test_a_sequence_abandons_no_session(servers, directory):
    """The app ignores SIGTERM and works on; the next signal ends it as it stands. What it had begun by then is lost, as
    without lastcall, but no session is abandoned."""
    APPS["threads, ignores"] = (python_app("threads_pool"), {"HANDLER": "ignore"})
    stop = measure(servers, "threads, ignores", "direct", "lastcall", directory,
                   environment={"LASTCALL_STOP_SEQUENCE": "USR1 300ms"})
    assert stop.code == 128 + signal.SIGUSR1 and stop.abandoned == 0, stop
    assert 0.3 <= stop.seconds < 1.5, stop.seconds
