"""Restarts: the policy, the waits, the limit; a stop meanwhile; what a dead app left is ended before the next one runs.
And what a predecessor has left on the servers."""
import contextlib
import json
import os
import pty
import re
import signal
import socket
import time

import pytest

from reports import target_of, valid
from runner import bare, is_alive, lastcall, lastcall_verb
from servers import wait_until
from stops import shell_code, start, warm_up

# Says when it was started, and ends as it is told for this life; after the last word it stays.
LIVES = """
import os, signal, sys, time
words = sys.argv[1:]
with open("lives", "a") as file:
    file.write(f"{time.monotonic()}\\n")
with open("lives") as file:
    life = len(file.readlines()) - 1
print("ready", os.getpid(), life, flush=True)
if life < len(words) and words[life] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if life < len(words):
    sys.exit(int(words[life]))
signal.pause()
"""


def settings(policy, backoff="100ms", longest="400ms", **more):
    return {"LASTCALL_RESTART_POLICY": policy, "LASTCALL_RESTART_BACKOFF": backoff,
            "LASTCALL_RESTART_BACKOFF_MAX": longest, **more}


def lives(directory, ends, env, **more):
    return lastcall(["/usr/bin/python3", "-c", LIVES, *ends], directory, env=env, **more)


def started(directory):
    """When each life began, by the app's own clock."""
    with contextlib.suppress(FileNotFoundError), open(os.path.join(directory, "lives"), encoding="ascii") as file:
        return [float(line) for line in file]
    return []


def life_stands(run, number, limit=10):
    """The pid of the app's life of this number, when it stands."""
    def look():
        found = re.findall(rf"^ready (\d+) {number}(?: |$)", run.out(), re.M)
        return int(found[0]) if found else None
    return wait_until(look, limit, lambda: f"life {number}\n{run.out()}\n{run.err()}", step=0.005)


def test_crash_loop_ends_at_the_limit(directory):
    """Three restarts, each wait twice as long up to the longest; then it ends with the app's code and says why."""
    with lives(directory, ["3"] * 9, settings("on-failure", "200ms", "500ms", LASTCALL_RESTART_LIMIT="3")) as run:
        assert run.wait(10) == 3, run.err()
        report = valid(run.report())
    begun = started(directory)
    assert len(begun) == 4, begun
    assert report["app"]["restarts"] == 3 and report["exit_code"] == 3
    earlier = report["app"]["earlier"]
    assert [each["exit_code"] for each in earlier] == [3, 3, 3]
    assert report["app"]["pid"] not in [each["pid"] for each in earlier]
    for wait, begin, end, life in zip((0.2, 0.4, 0.5), begun, begun[1:], earlier):
        assert wait <= end - begin <= wait + life["seconds"] + 0.3, (wait, begun, earlier)
    assert len(re.findall(r"the app exited with 3; restart \d in ", run.err())) == 3, run.err()
    assert re.search(r"the app exited with 3; not started again: restart.limit, 3 within 10m", run.err()), run.err()
    assert run.err().count("exited with 3 without a stop") == 4, "each life has its report for people"


@pytest.mark.parametrize("policy, ends, code, restarts", [
    ("never", ["3"], 3, 0), ("on-failure", ["0"], 0, 0), ("on-failure", ["1", "kill", "0"], 0, 2),
    ("always", ["0", "kill", "5"], 5, 2), ("never", ["kill"], 137, 0)])
def test_policies(directory, policy, ends, code, restarts):
    """on-failure starts again after a code or a signal, and not after 0; always after any end."""
    with lives(directory, ends, settings(policy, "20ms", "20ms", LASTCALL_RESTART_LIMIT="2")) as run:
        assert shell_code(run.wait(10)) == code, run.err()
        report = valid(run.report())
    assert report["app"]["restarts"] == restarts and len(started(directory)) == restarts + 1
    words = [each["signal"] or str(each["exit_code"]) for each in report["app"]["earlier"]]
    assert words == ["SIGKILL" if end == "kill" else end for end in ends[:restarts]]


def test_a_code_that_is_no_failure(directory):
    """What exit_codes makes of it counts."""
    with lives(directory, ["3"], settings("on-failure"), options=["-e", "3"]) as run:
        assert run.wait(5) == 0, run.err()
        assert valid(run.report())["app"]["restarts"] == 0


def test_always_until_it_is_stopped(directory):
    """Ended with 0 twice; the third life gets the stop signal, and is the last one."""
    with lives(directory, ["0", "0"], settings("always", "50ms", "50ms")) as run:
        life_stands(run, 2)
        run.send()
        assert shell_code(run.wait(5)) == 143, run.err()
        report = valid(run.report())
    assert len(started(directory)) == 3
    assert report["stop"]["reason"] == "SIGTERM" and report["app"]["restarts"] == 2


@pytest.mark.parametrize("how", ["signal", "drain"])
def test_stop_while_it_waits(directory, how):
    """Nothing runs: it ends at once, with what the app ended with."""
    control = {"LASTCALL_SOCKET": os.path.join(directory, "control.sock")}
    with lives(directory, ["7"], {**settings("on-failure", "30s", "30s"), **control}) as run:
        wait_until(lambda: "restart 1 in 30" in run.err(), 5, "it waits")
        code, out, err = lastcall_verb(["status", "-o", "json"], directory, control)
        status = json.loads(out)
        assert (code, status["phase"], status["app_pid"], status["restarts"]) == (0, "waiting", None, 0), (out, err)
        assert lastcall_verb(["status", "--ready"], directory, control)[0] == 1
        assert lastcall_verb(["resume"], directory, control)[0] == 0
        began = time.monotonic()
        if how == "signal":
            run.send()
        else:
            code, out, err = lastcall_verb(["drain"], directory, control)
            assert code == 0 and "not started again" in out + err, (out, err)
        assert run.wait(3) == 7, run.err()
        assert time.monotonic() - began < 1
        assert valid(run.report())["app"]["exit_code"] == 7
    assert len(started(directory)) == 1


def test_status_says_restarts(directory):
    control = {"LASTCALL_SOCKET": os.path.join(directory, "control.sock")}
    with lives(directory, ["1", "1"], {**settings("on-failure", "20ms", "20ms"), **control}) as run:
        pid = life_stands(run, 2)
        status = json.loads(lastcall_verb(["status", "-o", "json"], directory, control)[1])
        assert (status["phase"], status["app_pid"], status["restarts"]) == ("running", pid, 2)
        assert "restarts    2" in lastcall_verb(["status"], directory, control)[1]


def test_one_that_cannot_be_started_again(directory):
    """The program is gone when its next life is due: that counts as an end, too, until the limit."""
    path = os.path.join(directory, "app")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\nrm {path}\nexit 1\n")
    os.chmod(path, 0o755)
    with lastcall([path], directory, env=settings("on-failure", "20ms", "20ms", LASTCALL_RESTART_LIMIT="2")) as run:
        assert run.wait(5) == 127, run.err()
        report = valid(run.report())
    assert report["app"]["pid"] is None and report["exit_code"] == 127
    assert [each["exit_code"] for each in report["app"]["earlier"]] == [1, 127]
    assert report["app"]["earlier"][1]["pid"] is None
    assert run.err().count("cannot start") == 2 and "the app could not be started; restart 2 in" in run.err(), run.err()


def test_a_person_ends_it_at_the_terminal(directory):
    """^C comes to the app alone. It is no crash, though the code is not 0: lastcall ends, too."""
    master, slave = pty.openpty()
    more = {"prefix": ["setsid", "--ctty", "--wait"], "stdin": slave, "start_new_session": False}
    with lives(directory, [], settings("always", "20ms", "20ms"), **more) as run:
        os.close(slave)
        life_stands(run, 0)
        os.write(master, b"\x03")
        assert shell_code(run.wait(5)) == 130, run.err()
    os.close(master)
    assert len(started(directory)) == 1


LEAVES_A_CHILD = """
import os, signal, subprocess, sys
again = os.path.exists("again")
if not again:
    open("again", "w").close()
    child = subprocess.Popen(["/usr/bin/sleep", "1000"], start_new_session=True)
    print("ready", child.pid, "child", flush=True)
    os._exit(1)
print("ready", os.getpid(), "again", flush=True)
signal.pause()
"""


def test_what_a_life_left_is_ended_first(directory):
    env = settings("on-failure", "20ms", "20ms")
    with lastcall(["/usr/bin/python3", "-c", LEAVES_A_CHILD], directory, env=env) as run:
        def again():
            return re.search(r"^ready \d+ again$", run.out(), re.M)
        child = run.ready()
        wait_until(again, 10, lambda: run.err())
        assert not is_alive(child)
        run.send()
        assert shell_code(run.wait(5)) == 143, run.err()


def test_the_service_manager_is_told_once(directory):
    """READY=1 comes once; the status says that it waits, and how often it was started again."""
    path = os.path.join(directory, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(5)
        with lives(directory, ["4"], {**settings("on-failure", "50ms", "50ms"), "NOTIFY_SOCKET": path}) as run:
            life_stands(run, 1)
            said = []
            while not said or "restarted" not in said[-1]:
                said.append(manager.recv(4096).decode())
            run.send()
            run.wait(5)
            while "STOPPING=1" not in said[-1]:
                said.append(manager.recv(4096).decode())
    text = "\n".join(said)
    assert text.count("READY=1") == 1, text
    assert "STATUS=the app exited with 4; restart 1 in 50 ms" in text, text
    assert "STATUS=running (restarted 1 time)" in text, text


# -- with servers ------------------------------------------------------------------------------------------------------

# Four connections, one with a long query, one idle in a transaction; at its start it counts whom it finds there.
HOLDER = """
import os, psycopg2, signal, threading
url = os.environ["DATABASE_URL"]
with open("count", "a") as file:
    file.write("x")
life = os.path.getsize("count") - 1
first = psycopg2.connect(url)
cursor = first.cursor()
cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
               " AND application_name NOT LIKE 'lastcall-agent/%' AND backend_type = 'client backend'")
found = cursor.fetchone()[0]
first.commit()
kept = [psycopg2.connect(url) for _ in range(3)]
kept[0].cursor().execute("INSERT INTO work(id) VALUES ('never committed')")
busy = kept[1].cursor()
threading.Thread(target=lambda: busy.execute("SELECT pg_sleep(100)"), daemon=True).start()
print("ready", os.getpid(), life, f"found {found}", flush=True)
signal.pause()
"""


def test_sessions_of_a_dead_life_are_ended_before_the_next(database, directory):
    """SIGKILL to the app: a backend in a query would go on for 100 s. Each life finds nobody of the one before."""
    control = {"LASTCALL_SOCKET": os.path.join(directory, "control.sock")}
    env = {**settings("on-failure", "20ms", "20ms"), **control, **database.environment("direct", False)}
    with lastcall(["/usr/bin/python3", "-c", HOLDER], directory, env=env, grace="2s") as run:
        for life in range(3):
            pid = life_stands(run, life, 15)

            def is_busy():
                return [row for row in database.sessions() if "pg_sleep" in row["query"] and row["state"] == "active"]

            def is_seen():
                status = json.loads(lastcall_verb(["status", "-o", "json"], directory, control)[1])
                age = re.search(r"connections as of (\d+)(?:us| ms) ago", status["text"])
                return status["handles"] == 4 and age and time.monotonic() - int(age[1]) / 1000 > busy_since
            if life < 2:
                wait_until(is_busy, 5, "the long query runs")
                busy_since = time.monotonic()
                wait_until(is_seen, 10, lambda: f"a sample has all four\n{run.err()}", step=0.02)
                os.kill(pid, signal.SIGKILL)
        run.send()
        assert shell_code(run.wait(10)) == 143, run.err()
        report = valid(run.report())
    assert re.findall(r"found (\d+)", run.out()) == ["0", "0", "0"], (run.out(), run.err())
    assert report["app"]["restarts"] == 2 and [x["signal"] for x in report["app"]["earlier"]] == ["SIGKILL"] * 2
    assert target_of(report, "postgres")["handles"] == 4, "the last life's, and nobody else's"
    assert run.err().count("orphaned and ended on the server") == 2, run.err()
    wait_until(lambda: database.sessions() == [], 5, "all sessions ended")


def test_the_next_life_is_stopped_as_well_as_the_first(database, directory):
    """A crash under full load; what the next life does is held and stopped as ever: nothing of it is aborted."""
    run, journal = start("lastcall", "threads", database, "direct", directory,
                         environment=settings("on-failure", "20ms", "20ms"))
    with run:
        warm_up(run, journal)
        dead = {row["pid"] for row in database.sessions() if not row["application_name"].startswith("lastcall-agent/")}
        os.kill(run.app_pid(), signal.SIGKILL)
        wait_until(lambda: "restart 1: the app runs" in run.err(), 5, lambda: run.err())
        done = len(journal.of("C"))
        wait_until(lambda: len(journal.of("C")) >= done + 50, 10, lambda: f"the next life works\n{run.err()}")
        wait_until(lambda: not dead & backends(database), 10, "their counts are in")
        lost = database.committed() - journal.confirmed()  # by the crash, and what is under way now
        before = database.counters()
        run.send()
        assert shell_code(run.wait(10)) == 143, run.err()
        report = valid(run.report())
    counters = database.settled_counters() - before
    assert counters.xact_rollback == 0 and counters.sessions_abandoned == 0, (counters, run.err())
    assert database.committed() - journal.confirmed() <= lost
    assert journal.errors() == []
    assert report["stop"]["aborted"] == 0 and report["app"]["restarts"] == 1
    assert all(each["pid"] == report["app"]["pid"] for each in target_of(report, "postgres")["connections"])


# -- what one before has left ------------------------------------------------------------------------------------------

# Connects as it is told, begins a query that takes for ever, and stands.
LEFT = """
import os, psycopg2, signal, sys, threading
connection = psycopg2.connect(os.environ["DATABASE_URL"])
if "busy" in sys.argv:
    cursor = connection.cursor()
    threading.Thread(target=lambda: cursor.execute("SELECT pg_sleep(1000)"), daemon=True).start()
print("ready", os.getpid(), connection.get_backend_pid(), flush=True)
signal.pause()
"""
TCP_REPAIR = 19


def leave(database, directory, name, words=()):
    """A process with a session of this name: (run, backend). Not stopped by anybody but us."""
    run = bare(["/usr/bin/python3", "-c", LEFT, *words], directory, name=f"left.{name.replace('/', '.')}",
               env={**database.environment("direct", False), "PGAPPNAME": name})
    run.ready()
    return run, int(run.out().split()[2])


def backends(database):
    return {row["pid"] for row in database.sessions()}


def successor(database, directory, route="direct", with_redis=False, **more):
    """A lastcall that ends what was left, and its app, which says when it stands."""
    env = {**database.environment(route, with_redis), "LASTCALL_INSTANCE": "web", "LASTCALL_SWEEP_PREDECESSOR": "true",
           **more}
    return lastcall(["/usr/bin/python3", "-c", LEFT], directory, env=env)


def stopped(run):
    """Its report, after the stop signal."""
    run.send()
    assert shell_code(run.wait(10)) == 143, run.err()
    return valid(run.report())


def has_all_acknowledged(server, client):
    """What the server has sent to this client's port, by the send queue of its end (proc(5), /proc/net/tcp)."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return [row[4].startswith("00000000:") for row in rows
            if row[1].endswith(f":{server:04X}") and row[2].endswith(f":{client:04X}")] == [True]


def silently_closed(fd):
    """The socket goes away and the server is told nothing, as when a host loses its power (tcp(7), TCP_REPAIR)."""
    with socket.socket(fileno=fd) as taken:
        ports = taken.getpeername()[1], taken.getsockname()[1]
        wait_until(lambda: has_all_acknowledged(*ports), 5, "nothing is left that the server would send again")
        taken.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)


def test_a_predecessor_that_was_killed(database, directory):
    """lastcall and its app got SIGKILL, and a backend works on for nobody. One of a living process with the same name,
    and one of another name, are no predecessor's."""
    with contextlib.ExitStack() as stack:
        alive, alive_backend = leave(database, directory, "lastcall/web")
        other, other_backend = leave(database, directory, "lastcall/web-1", ["busy"])
        for run in (alive, other):
            stack.enter_context(run)
        env = {**database.environment("direct", False), "LASTCALL_INSTANCE": "web"}
        before = lastcall(["/usr/bin/python3", "-c", LEFT, "busy"], directory, env=env, name="before")
        stack.enter_context(before)
        before.ready()
        orphan = int(before.out().split()[2])
        wait_until(lambda: [row for row in database.sessions() if row["pid"] == orphan and row["state"] == "active"], 5,
                   "it works")
        before.kill()
        other.kill()
        assert {alive_backend, other_backend, orphan} <= backends(database), "nobody has noticed"
        run = stack.enter_context(successor(database, directory))
        run.ready()
        own = int(run.out().split()[2])
        wait_until(lambda: "predecessor: database: 1 session ended" in run.err(), 10, lambda: run.err())
        left = backends(database)
        assert orphan not in left and {alive_backend, other_backend, own} <= left
        report = stopped(run)
    assert report["predecessor"] == {"ended": 1, "still_there": 0, "unknown": []}
    assert "predecessor  1 session left: 1 ended" in run.err()
    assert target_of(report, "postgres")["handles"] == 1, "what was ended is not the app's"


def test_a_predecessor_on_a_host_that_lost_its_power(database, directory):
    """PostgreSQL and Redis hold the connection of a client that is gone without a word. Redis' one has a name."""
    gone = database.connect(application_name="lastcall/web - 127.0.0.1:1")
    backend = gone.get_backend_pid()
    named, nameless = (socket.create_connection(("127.0.0.1", database.servers.redis_port)) for _ in range(2))
    for client, words in ((named, ["CLIENT SETNAME lastcall/web", f"SELECT {database.redis_db}"]),
                          (nameless, [f"SELECT {database.redis_db}"])):
        client.sendall("".join(f"{word}\r\n" for word in words).encode())
        wait_until(lambda: client.recv(64).count(b"+OK") >= 1, 5, "Redis answers")
    wait_until(lambda: len(database.redis_clients()) == 2, 5, "both are there")
    silently_closed(named.detach())
    silently_closed(nameless.detach())
    silently_closed(os.dup(gone.fileno()))
    with open("/dev/null", "rb") as null:
        os.dup2(null.fileno(), gone.fileno())  # in its place: libpq closes what has this number
    assert backend in backends(database) and len(database.redis_clients()) == 2, "nobody has noticed"
    with successor(database, directory, with_redis=True) as run:
        run.ready()
        wait_until(lambda: run.err().count("predecessor: ") == 2, 10, lambda: run.err())
        assert backend not in backends(database), run.err()
        assert [row["name"] for row in database.redis_clients()] == [""], "one without a name is nobody's"
        report = stopped(run)
    assert report["predecessor"] == {"ended": 2, "still_there": 0, "unknown": []}


@pytest.mark.parametrize("route, why", [("pgbouncer-transaction", "a pooler's connections"), ("unix", "unix socket")])
def test_where_nobody_can_tell_nothing_is_ended(database, directory, route, why):
    before, backend = leave(database, directory, "lastcall/web", ["busy"])
    with before:
        wait_until(lambda: any("pg_sleep" in row["query"] for row in database.sessions()), 5, "it works")
        before.kill()
    url = database.url(route).replace("?pgbouncer=true", "")  # for libpq
    with successor(database, directory, route, DATABASE_URL=url) as run:
        run.ready()
        wait_until(lambda: re.search(rf"predecessor: \S+: not known what it left there: .*{why}", run.err()), 10,
                   lambda: run.err())
        report = stopped(run)
    assert backend in backends(database)
    unknown = report["predecessor"]["unknown"]
    assert [each for each in unknown if why in each["why"]], report["predecessor"]
    assert report["predecessor"]["ended"] == (None if route == "unix" else 0)


def test_each_life_ends_what_the_one_before_left(database, directory):
    """With a restart, too: also a session that no sample had seen."""
    env = {**database.environment("direct", False), **settings("on-failure", "20ms", "20ms"),
           "LASTCALL_INSTANCE": "web", "LASTCALL_SWEEP_PREDECESSOR": "true"}
    with lastcall(["/usr/bin/python3", "-c", LEFT, "busy"], directory, env=env, grace="2s") as run:
        pid = run.ready()
        orphan = int(run.out().split()[2])
        wait_until(lambda: any("pg_sleep" in row["query"] for row in database.sessions()), 5, "it works")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: run.out().count("ready") == 2, 10, lambda: run.err())
        wait_until(lambda: orphan not in backends(database), 10, lambda: f"ended\n{run.err()}")
        wait_until(lambda: run.err().count("predecessor: database: ") == 2, 10, lambda: run.err())
        report = stopped(run)
    assert report["app"]["restarts"] == 1 and report["predecessor"]["unknown"] == []


def test_a_lost_agent_is_asked_again(database, directory):
    before, orphan = leave(database, directory, "lastcall/web", ["busy"])
    with before:
        wait_until(lambda: any("pg_sleep" in row["query"] for row in database.sessions()), 5, "it works")
        before.kill()
    with successor(database, directory) as run:
        os.kill(run.agent_pid(), signal.SIGKILL)
        run.ready()
        wait_until(lambda: "predecessor: database: " in run.err(), 10, lambda: run.err())
        assert orphan not in backends(database)
        assert stopped(run)["predecessor"]["unknown"] == []
    assert "was lost" in run.err()


def test_a_default_name_is_refused(database, directory):
    env = {**database.environment("direct", False), "LASTCALL_SWEEP_PREDECESSOR": "true"}
    with lastcall(["/usr/bin/true"], directory, env=env) as run:
        assert run.wait(5) == 125
    assert re.search(r"LASTCALL_SWEEP_PREDECESSOR: sweep.predecessor: needs `instance`", run.err()), run.err()


def test_the_next_life_waits_for_post_stop(directory):
    """Each life's post_stop has its own report, and a late one does not write over the next life's."""
    config = os.path.join(directory, "lastcall.yaml")
    with open(config, "w", encoding="utf-8") as file:
        file.write("hooks: {post_stop: 'cp $LASTCALL_REPORT $LASTCALL_EXIT_CODE.json; sleep 0.5; echo sent'}\n")
    with lives(directory, ["3", "4"], settings("on-failure", "50ms"), options=["--config", config]) as run:
        life_stands(run, 2)
        assert run.err().count("sent\n") == 2, run.err()
        for code in (3, 4):
            with open(os.path.join(directory, f"{code}.json"), encoding="utf-8") as file:
                assert json.load(file)["app"]["exit_code"] == code
        assert valid(run.report())["app"]["exit_code"] == 4, "the report of a life that is over"
        begun = started(directory)
        assert all(end - begin >= 0.5 for begin, end in zip(begun, begun[1:])), begun
        run.send()
        assert run.wait(5) == 143, run.err()
        assert run.err().count("sent\n") == 3, run.err()


def test_a_stop_while_post_stop_delays_a_restart(directory):
    config = os.path.join(directory, "lastcall.yaml")
    with open(config, "w", encoding="utf-8") as file:
        file.write("hooks: {post_stop: 'echo began; sleep 0.6; echo sent', announce: 'echo announced'}\n")
    with lives(directory, ["3"], settings("on-failure", "20ms"), options=["--config", config]) as run:
        wait_until(lambda: "began\n" in run.err(), 5, "post_stop runs")
        run.send()
        assert run.wait(5) == 3, run.err()
        assert "sent\n" in run.err() and len(started(directory)) == 1, run.err()
        assert "announced" not in run.err(), "nobody is there to be announced"
