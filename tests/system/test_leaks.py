"""Apps that leak: each handle named with fd, age and last query, ended, and equal to what the servers say.
And a query longer than the grace: only that one is aborted."""
import os
import time

import pytest

from database import Database
from reports import target_of, valid
from runner import Journal, bare, c_app, lastcall, python_app
from servers import wait_until
from stops import discarded, measure, shell_code, start, warm_up

LEAK_OF = {"idle": "left open", "reading": "transaction open", "writing": "transaction open", "ended": "half closed",
           "redis": "left open"}


def start_leaker(how, database, route, directory, **more):
    journal = Journal(os.path.join(directory, f"{how}.journal"))
    env = {**database.environment(route, True), "JOURNAL": journal.path, "LASTCALL_LEAK_TRANSACTION": "1s"}
    run = (bare if how == "bare" else lastcall)(python_app("leaker"), directory, env=env, **more)
    wait_until(lambda: journal.notes("ready"), 10, lambda: f"the leaker stands\n{run.err()}\n{journal.lines()}")
    return run, journal


def leaked(journal):
    """name → (pid, fd, port, last query), as the app wrote them down."""
    found = {}
    for words in journal.notes("leaked"):
        found[words[1]] = (int(words[2]), int(words[3]), int(words[4]), " ".join(words[5:]))
    assert set(found) == set(LEAK_OF)
    return found


def old_enough(database, seconds):
    """Waits until the server itself says that its open transactions are older than the limit for waiting for them."""
    def ages():
        rows = database.servers.sql("SELECT extract(epoch FROM clock_timestamp() - state_change) FROM pg_stat_activity "
                                    "WHERE datname = %s AND state = 'idle in transaction'", database.name)
        return len(rows) == 2 and all(row[0] > seconds for row in rows)
    wait_until(ages, 10, "two old transactions", step=0.02)


def test_bare_leaker_is_abandoned(database, directory):
    run, journal = start_leaker("bare", database, "direct", directory)
    with run:
        assert len(database.sessions()) == 3 and len(leaked(journal)) == 5
        run.send()
        run.wait(5)
    counters = database.settled_counters()
    assert counters.sessions_abandoned == 3 and counters.xact_rollback == 2


@pytest.mark.parametrize("route", ["direct", "tls", "ipv6"])
def test_five_leaks_are_named_and_ended(database, directory, route):
    run, journal = start_leaker("lastcall", database, route, directory)
    with run:
        old_enough(database, 1.1)
        sessions = {row["port"]: row for row in database.sessions()}
        began = time.monotonic()
        run.send()
        code = run.wait(10)
        seconds = time.monotonic() - began
        report = valid(run.report())
    assert shell_code(code) == 143 and seconds <= 4.8, run.err()
    counters = database.settled_counters()
    assert counters.sessions_abandoned == 0, (counters, report)
    assert counters.xact_rollback == 2, (counters, report)
    assert database.redis_clients() == []
    connections = {connection["fd"]: (target, connection) for target in report["targets"]
                   for connection in target["connections"] if connection["leak"]}
    for name, (pid, fd, port, query) in leaked(journal).items():
        target, connection = connections[fd]
        assert connection["pid"] == pid and connection["local"].endswith(f":{port}"), connection
        assert connection["leak"] == LEAK_OF[name], (name, connection)
        if name != "redis" and name != "ended":
            assert connection["last_query"] == query == sessions[port]["query"], connection
            assert connection["age_seconds"] is not None and connection["age_seconds"] > 1, connection
        if name == "redis":
            assert target["kind"] == "redis"
    assert len(connections) == 5
    assert target_of(report, "postgres")["leaked"] == 4
    assert target_of(report, "redis")["leaked"] == 1
    by_command = [each for _, each in connections.values() if "command" in each["outcome"]]
    # one session more than the report's was killed: by the app itself, when it made its CLOSE_WAIT
    assert counters.sessions_killed == len(by_command) + 1, (by_command, counters)
    fatal = database.log_lines("FATAL:  terminating connection due to administrator command")
    assert len(fatal) == counters.sessions_killed, fatal
    for name, (_, fd, _, _) in leaked(journal).items():
        assert f"fd {fd}" in run.err(), f"{name} is not in the report for people:\n{run.err()}"


@pytest.mark.parametrize("route", ["direct", "tls", "pgbouncer-transaction"])
@pytest.mark.parametrize("app", ["threads", "threads, good handler"])
def test_query_longer_than_the_grace(database, directory, app, route):
    """Beside normal traffic: only that one is aborted, its backend is gone at the end, and the stop is in time."""
    grace_s = 3.0
    run, journal = start("lastcall", app, database, route, directory, grace=f"{grace_s:g}s",
                         environment={"LONG_QUERY": "30"})
    with run:
        warm_up(run, journal)
        backend = wait_until(lambda: [row["pid"] for row in database.sessions() if "pg_sleep" in row["query"]], 5,
                             "the long query runs")[0]
        began = time.monotonic()
        run.send()
        run.wait(grace_s + 5)
        seconds = time.monotonic() - began
        assert seconds <= grace_s - 0.2, (seconds, run.err())
        assert backend not in {row["pid"] for row in database.sessions()}, run.err()
        report = valid(run.report())
    counters = database.settled_counters()
    assert counters.xact_rollback == 1, (counters, report["stop"])
    assert counters.sessions_abandoned == 0 and database.pooler_abandoned() - discarded(run, "lastcall") <= 1, \
        (counters, report["stop"])
    assert database.committed() - journal.confirmed() == set()
    assert [error for error in journal.errors() if not error.startswith("long")] == []
    assert report["stop"]["aborted"] == 1, report["stop"]


def test_bare_stop_beside_a_long_query_leaves_a_backend(servers, directory):
    """Why it matters: without lastcall the backend goes on for nobody."""
    stop = measure(servers, "threads", "direct", "bare", directory)
    assert stop.aborted > 0


THREE = """
import os, psycopg2, signal
own, other = os.environ["DATABASE_URL"], os.environ["OTHER_URL"]
kept = [psycopg2.connect(url) for url in (own, other, own)]
for connection in kept:
    connection.cursor().execute("SELECT 1")
    connection.commit()
print("ready", os.getpid(), flush=True)
signal.pause()
"""


@pytest.mark.parametrize("hands", [True, False])
def test_one_that_may_not_be_ended_costs_no_other(servers, database, directory, hands):
    """Inside TLS all are ended by one statement. The agent may not end a superuser's: that one only is refused."""
    url = database.url("tls")
    servers.sql("GRANT pg_monitor TO app")  # else it does not even see that session
    try:
        env = {**database.environment("tls", False), "OTHER_URL": url.replace("//app:", "//postgres:")}
        prefix = [] if hands else [c_app("no_hands")]
        with lastcall(["/usr/bin/python3", "-c", THREE], directory, env=env, prefix=prefix) as run:
            run.ready()
            run.send()
            assert shell_code(run.wait(10)) == 143, run.err()
            report = valid(run.report())
    finally:
        servers.sql("REVOKE pg_monitor FROM app")
    found = [(each["outcome"], each["note"]) for each in target_of(report, "postgres")["connections"]]
    assert [outcome for outcome, _ in found].count("ended by command") == 2, found
    refused = [note for outcome, note in found if outcome != "ended by command"]
    assert len(refused) == 1 and "superuser" in refused[0], found
    assert database.settled_counters().sessions_killed == 2


CLOSES_AND_EXITS = """
import os, psycopg2, signal, time
kept = [psycopg2.connect(os.environ["DATABASE_URL"]) for _ in range(8)]
for connection in kept:
    connection.cursor().execute("SELECT 1")
    connection.commit()
def stop(*_):
    for connection in kept:
        connection.close()
    time.sleep(float(os.environ.get("LINGER_S", "0")))
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", os.getpid(), flush=True)
while True:
    signal.pause()
"""
TRIES = 3


def close_and_exit(servers, directory, route, name, linger_s=0):
    """One stop of it: how each connection ended, by the report; the server agrees."""
    database = Database(servers)
    env = {**database.environment(route, False), "LINGER_S": str(linger_s)}
    with lastcall(["/usr/bin/python3", "-c", CLOSES_AND_EXITS], directory, env=env, name=name) as run:
        run.ready()
        run.agent_pid()
        run.send()
        assert run.wait(10) == 0, run.err()
        connections = target_of(valid(run.report()), "postgres")["connections"]
    counters = database.settled_counters()
    assert counters.sessions_abandoned == 0
    assert counters.sessions_killed == sum("command" in each["outcome"] for each in connections), connections
    database.drop()
    return [(each["outcome"], each["note"]) for each in connections]


def test_closed_right_before_the_exit(servers, directory):
    """Its goodbyes are held, as any write is. In the clear they are known by their size."""
    assert close_and_exit(servers, directory, "direct", "run") == [("closed by the app", None)] * 8


@pytest.mark.limit(60)
def test_closed_inside_tls_right_before_the_exit(servers, directory):
    """Inside TLS they are known only when the app was seen closing, as it is when it lives on for a moment; else the report
    says so."""
    assert close_and_exit(servers, directory, "tls", "slow", 0.05) == [("closed by the app", None)] * 8
    for number in range(TRIES):
        found = close_and_exit(servers, directory, "tls", f"run{number}")
        assert {outcome for outcome, _ in found} <= {"closed by the app", "ended by command"}, found
        assert all("perhaps a goodbye" in note for outcome, note in found if outcome == "ended by command"), found
