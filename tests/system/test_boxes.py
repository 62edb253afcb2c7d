"""Real containers: apps under full load in each kind of box, stopped without a loss; judged as the hold rows are.

Pairwise: each kind of box with an app or two, each app under each profile (the one with two connections a flow under
Docker's, which allows least), the routes in turn. The apps are those of the hold table, their stops counted as there;
how long they may take is test_hold.py's affair, here it is the grace. What runs bare beside them runs outside of a box,
where nothing is in its way."""
import dataclasses
import json
import os
import shutil

import pytest

import hold_stop
from boxes import BOXES, USER, Box, BoxRun, run_in
from hold_rows import APPS, Row, faults
from hold_stage import Stage
from reports import valid
from runner import children, status
from servers import wait_until

NO_HANDS = Box("no hands", refused=("ptrace",), **USER, read_only=True)
PYTHON, C, PGBENCH, FLOWS = "threads, Python", "threads, C", "pgbench", "two connections a flow"
TWICE, BARE_TRIES = 2, 5
CHANCE = 2  # both hit a moment: how many second connections of a flow have one open then, differs
TABLE = (  # box, app, route, stops
    ("docker, root", PGBENCH, "direct", 1),
    ("docker, root", FLOWS, "direct", 1),
    ("docker, user", C, "tls", 1),
    ("docker, user", FLOWS, "pgbouncer-transaction", 1),
    ("docker, user, read-only", PYTHON, "direct", 1),
    ("docker, user, read-only", PGBENCH, "tls", 1),
    ("docker, app drops", PYTHON, "tls", TWICE),
    ("docker, app drops", FLOWS, "direct", 1),
    ("docker, app drops", PGBENCH, "pgbouncer-transaction", 1),
    ("docker, few capabilities, app drops", PYTHON, "direct", 1),
    ("docker, few capabilities, app drops", PGBENCH, "tls", 1),
    ("docker, SYS_PTRACE, app drops", C, "direct", 1),
    ("our profile, user", PYTHON, "direct", 1),
    ("podman, root", C, "pgbouncer-session", 1),
    ("podman, user, read-only", PGBENCH, "direct", 1),
    ("podman, app drops", PYTHON, "direct", 1),
    ("unconfined, root", PYTHON, "pgbouncer-transaction", 1),
    ("unconfined, user", C, "direct", 1),
    ("unconfined, app drops", PGBENCH, "direct", 1),
)
BY_NAME = {app.name: dataclasses.replace(app, longest=None) for app in APPS}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    apps = [BY_NAME[name] for name in (PYTHON, C, PGBENCH, FLOWS)]
    return Stage(str(tmp_path_factory.mktemp("box-stage")), apps)


@pytest.fixture
def put_into(monkeypatch, stage):
    """Every lastcall that hold_stop starts from here on runs in the box."""
    assert shutil.which("crun"), "crun is not there: run `make setup`"

    return lambda box, app_prefix=None: monkeypatch.setattr(hold_stop, "Run", run_in(box, stage, app_prefix))


def log_of(directory):
    logs = [os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".err")]
    with open(max(logs, key=os.path.getmtime), encoding="utf-8", errors="replace") as file:
        return file.read()[-4000:]


def explain(stop, directory):
    report = stop.report or {}
    figures = {name: value for name, value in vars(stop).items() if name != "report" and value not in (0, None)}
    return f"{figures}\n{report.get('hands')}, {report.get('stop')}\n{report.get('unknown')}\n{log_of(directory)}"


@pytest.mark.limit(60)
@pytest.mark.parametrize("box, app, route, stops", TABLE, ids=[f"{row[0]} | {row[1]}, {row[2]}" for row in TABLE])
def test_nothing_is_lost_in(servers, directory, stage, put_into, box, app, route, stops):
    put_into(BOXES[box])
    for _ in range(stops):
        row = Row(BY_NAME[app], route, "root")
        stop = hold_stop.measure(servers, row, "lastcall", directory, stage)
        assert not faults(row.app, stop), f"{faults(row.app, stop)}\n{explain(stop, directory)}"
        report = valid(stop.report)
        assert stop.aborted == stop.abandoned == stop.lost == report["stop"]["aborted"] == 0, explain(stop, directory)
        assert report["hands"] == BOXES[box].hands and report["unknown"] == [], explain(stop, directory)


@pytest.mark.limit(60)
@pytest.mark.parametrize("app, route", [(PYTHON, "direct"), (PGBENCH, "tls"), (FLOWS, "direct")])
def test_without_hands(servers, directory, stage, put_into, app, route):
    """A profile that refuses pidfd_getfd(2) and ptrace(2): no session is abandoned, and what is aborted is no more than
    what a plain SIGTERM aborts."""
    put_into(NO_HANDS)
    row = Row(BY_NAME[app], route, "root")
    stop = hold_stop.measure(servers, row, "lastcall", directory, stage)
    report = valid(stop.report)
    assert report["hands"] == "none" and "could not be held" in str(report["unknown"]), explain(stop, directory)
    assert stop.abandoned == 0, explain(stop, directory)
    said = report["targets"][0]["aborted"]
    assert said == stop.aborted or (said is None and "transactions" in str(report["unknown"])), explain(stop, directory)
    assert stop.code == 143 and stop.seconds < row.app.limit_s(), explain(stop, directory)
    bare = []
    while not any(stop.aborted <= aborted + CHANCE for aborted in bare):
        assert len(bare) < BARE_TRIES, f"{stop.aborted} aborted; bare {bare}\n{explain(stop, directory)}"
        bare.append(hold_stop.measure(servers, row, "bare", directory, stage).aborted)


def dropping_by_itself(stage):
    """The threads in Python, in a process that was root when it was executed: nobody may look at it since."""
    python = stage.path("python", "hold")
    text = (f"import os, runpy, sys; os.setgroups([]); os.setgid(1000); os.setuid(1000); "
            f"sys.path.insert(0, {python!r}); runpy.run_path({python + '/threads.py'!r}, run_name='__main__')")
    return dataclasses.replace(BY_NAME[PYTHON], command=("/usr/bin/python3", "-c", text))


@pytest.mark.limit(60)
def test_an_app_that_executes_nothing_after_its_change_is_said(servers, directory, stage, put_into):
    """Nobody may look at it, its own user neither. Its stop ends in time; no number is made up, the cure is named."""
    put_into(BOXES["docker, root"])
    stop = hold_stop.measure(servers, Row(dropping_by_itself(stage), "direct", "root"), "lastcall", directory, stage)
    report = valid(stop.report)
    cure = "became uid 1000 and has executed nothing since, lastcall runs as 0; cure: user: 1000"
    assert cure in str(report["unknown"]) and cure in log_of(directory), explain(stop, directory)
    figures = [report["stop"][key] for key in ("in_flight", "finished", "aborted")]
    figures += [target[key] for target in report["targets"] for key in ("handles", "leaked", "aborted")]
    assert figures == [None] * len(figures), explain(stop, directory)
    assert stop.code == 143 and stop.seconds < BY_NAME[PYTHON].grace - 0.2, explain(stop, directory)


@pytest.mark.limit(60)
def test_the_cure_for_it(servers, directory, stage, put_into):
    put_into(dataclasses.replace(BOXES["docker, SYS_PTRACE, app drops"], drops_to=None))
    app = dropping_by_itself(stage)
    stop = hold_stop.measure(servers, Row(app, "direct", "root"), "lastcall", directory, stage)
    assert not faults(app, stop) and valid(stop.report)["unknown"] == [], explain(stop, directory)


# -- what the profiles refuse -----------------------------------------------------------------------------------------

# By x86-64's number, so that no library stands between; with arguments that do no harm where the call is allowed.
CALLS = {"kcmp": (312, 1, 1, 0, 0, 0), "clone3": (435, 0, 0), "io_uring_setup": (425, 0, 0), "unshare": (272, 0),
         "mount": (165, 0, 0, 0, 0, 0), "bpf": (321, 99, 0, 0), "AF_VSOCK": (41, 40, 1, 0),
         "pidfd_getfd": (438, -1, 0, 0), "ptrace": (101, 99, 0, 0, 0), "new namespace": (56, 0x20000011, 0, 0, 0, 0)}
ASK = """import ctypes, os
call = ctypes.CDLL(None, use_errno=True).syscall
for name, words in CALLS.items():
    result = call(*(ctypes.c_long(word) for word in words))
    if result == 0 and name.startswith("new"):
        os._exit(0)
    print(name, ctypes.get_errno() if result < 0 else 0, sep=":", flush=True)
"""
EPERM, ENOSYS = 1, 38
AS_DOCKER = {name: EPERM for name in CALLS if name not in ("clone3", "ptrace")} | {"clone3": ENOSYS}


@pytest.mark.parametrize("box, refused", [
    (BOXES["docker, user"], AS_DOCKER),
    (BOXES["our profile, user"], {name: AS_DOCKER[name] for name in AS_DOCKER if name != "pidfd_getfd"}),
    (BOXES["podman, user, read-only"], {"kcmp": EPERM, "io_uring_setup": ENOSYS, "bpf": EPERM})],
    ids=["docker", "lastcall", "podman"])
def test_the_profile_refuses(directory, box, refused):
    """config/seccomp/lastcall.json is Docker's meaning and pidfd_getfd(2)."""
    with BoxRun(box, [], ["/usr/bin/python3", "-c", ASK.replace("CALLS", repr(CALLS))], directory) as run:
        assert run.wait(10) == 0, run.err()
        answers = {name: int(number) for name, number in (line.split(":") for line in run.out().splitlines())}
    assert run.err() == "" and set(answers) == set(CALLS), (run.err(), answers)
    assert {name: answers[name] for name in refused} == refused, answers
    assert not [name for name in set(CALLS) - set(refused) - {"mount", "new namespace"}
                if answers[name] in (EPERM, ENOSYS)], answers


# -- what the doctor says, run in the same box as `docker exec` does it -----------------------------------------------


def doctor_in(box, app, directory, stage):
    """(exit code, rows by name) beside a lastcall whose app runs as uid 1000."""
    lastcall = stage.path("lastcall")
    with BoxRun(box, [stage.directory], [lastcall, "--", *app], directory) as run:
        wait_until(lambda: "1000" in {(status(pid, "Uid") or "-").split()[0] for pid in children(run.pid)}, 5,
                   "the app has become uid 1000")
        code, out, err = run.exec([lastcall, "doctor", "-o", "json"])
        assert err == "", err
        return code, {row["what"]: row for row in json.loads(out)["rows"]}


def test_the_doctor_tells_of_an_app_that_dropped(directory, stage):
    box = BOXES["docker, app drops"]
    code, rows = doctor_in(box, [*box.app_prefix(), "sleep", "60"], directory, stage)
    assert rows["app"]["answer"] == "yes", rows["app"]
    assert rows["app"]["detail"] == "it runs as uid 1000 and lastcall (pid 1) as 0: seen as that user"
    assert rows["other user"]["detail"].endswith("is seen: as that user, for a moment"), rows["other user"]
    assert rows["hands"]["detail"] == "ptrace (pidfd_getfd is refused)" and rows["sockets"]["detail"] == "sock_diag"
    assert code == 0, rows


def test_the_doctor_tells_of_an_app_that_cannot_be_looked_at(directory, stage):
    hides = "import os, time; os.setgroups([]); os.setgid(1000); os.setuid(1000); time.sleep(60)"
    code, rows = doctor_in(BOXES["docker, root"], ["/usr/bin/python3", "-c", hides], directory, stage)
    assert code == 1 and rows["app"]["answer"] == "no" and rows["app"]["needed"], rows["app"]
    assert "became uid 1000 and has executed nothing since, lastcall runs as 0" in rows["app"]["detail"]
    assert {"where": "environment", "line": "LASTCALL_USER=1000:1000"} in rows["app"]["cures"], rows["app"]
    code, rows = doctor_in(BOXES["docker, SYS_PTRACE, app drops"], ["/usr/bin/python3", "-c", hides], directory, stage)
    assert code == 0 and rows["app"]["answer"] == "yes" and "SYS_PTRACE" in rows["other user"]["detail"], rows
