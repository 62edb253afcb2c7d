"""Whose session is whose: one socket in several processes is one handle; behind translated addresses and behind poolers
a session is known by its name, exactly where the name tells, and what is not known is said to be."""
import dataclasses
import os

import psycopg2
import pytest

from database import Database
from hold_beside import allow_bench_tables
from nat_servers import NatServers
from reports import target_of, valid
from runner import Journal, lastcall, lastcall_verb, python_app
from servers import postgres_programs, wait_until
from stops import count, end_by_signal, warm_up
from tcp_relay import relay

GRACE_S, LATE_S = 5.0, 2.0


# -- one socket, several holders ---------------------------------------------------------------------------------------


SHARED = {
    "fork": {},
    "fork, the parent closes": {"PARENT": "closes"},
    "fork, a child ends": {"DIES": "1"},
    "message": {"SHARE": "message"},
    "message, the parent closes": {"SHARE": "message", "PARENT": "closes"},
    "dup": {"SHARE": "dup"},
}


def stop_shared(database, directory, environment):
    """One stop at full load: (stop, run, journal)."""
    journal = Journal(os.path.join(directory, "shared.journal"))
    env = {**database.environment("direct", False), "JOURNAL": journal.path, "QUIET_MS": "0", **environment}
    run = lastcall(python_app("shared_socket"), directory, env=env, grace=f"{GRACE_S:g}s")
    with run:
        warm_up(run, journal)
        if "DIES" in environment:
            wait_until(lambda: journal.notes("ended"), 5, "a child ends")
        in_flight = wait_until(database.in_transaction, 5, "a transaction is open", step=0.001)
        seconds, code = end_by_signal(run, "lastcall", GRACE_S)
    stop = count("shared", "direct", "lastcall", database, journal, run, seconds, code, in_flight)
    return stop, run, journal


def holders_of(connection):
    return {(holder["pid"], holder["fd"]) for holder in connection["holders"]}


def assert_nothing_lost(stop, run):
    assert (stop.aborted, stop.abandoned, stop.lost, stop.errors) == (0, 0, 0, 0), f"{stop}\n{run.err()}"


@pytest.mark.parametrize("how", SHARED)
def test_a_shared_socket_is_one_handle(database, directory, how):
    """At full load, with no handler: held once, handed back once, and all who held it are named."""
    stop, run, journal = stop_shared(database, directory, SHARED[how])
    assert_nothing_lost(stop, run)
    target = target_of(valid(stop.report), "postgres")
    assert (target["handles"], target["leaked"], len(target["connections"])) == (1, 1, 1), target
    assert (target["handed_back"], target["sessions_killed"]) == (1, stop.killed), (target, stop)
    connection = target["connections"][0]
    ended = {int(words[1]) for words in journal.notes("ended")}
    held = {(int(words[1]), int(words[2])) for words in journal.notes("holder") if int(words[1]) not in ended}
    assert holders_of(connection) == held and connection["descriptors"] == len(held), (connection, held, run.err())
    assert (connection["pid"], connection["fd"]) in held
    assert stop.seconds < 1.0, (stop, run.err())


@pytest.mark.parametrize("how", ["fork", "message", "dup"])
def test_a_holder_that_closes_is_not_the_end(database, directory, how):
    """On SIGTERM the main process closes its own; another holder goes on, and says goodbye: nothing leaked, and nobody
    has said anything on it in between."""
    stop, run, _ = stop_shared(database, directory, {**SHARED[how], "HANDLER": "late"})
    assert_nothing_lost(stop, run)
    target = target_of(valid(stop.report), "postgres")
    assert (target["handles"], target["closed_by_app"], target["leaked"]) == (1, 1, 0), (target, run.err())
    assert stop.killed == 0 and stop.code == 0, stop


# -- addresses that change on the way, poolers, proxies ----------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Load:
    """An app at full load, eight transactions at a time."""
    command: tuple
    environment: dict = dataclasses.field(default_factory=dict)
    redis: bool = False
    named: bool = True           # its driver reads PGAPPNAME


LOADS = {
    "libpq": Load((*python_app("hold/threads"),)),
    "asyncpg": Load((*python_app("hold/loop_asyncpg"),), named=False),
    "pgbench": Load(("pgbench", "-n", "-j", "2", "-c", "8", "-T", "60")),
    "Redis": Load((*python_app("hold/threads"),), redis=True),
    "Redis, named": Load((*python_app("hold/threads"),), {"REDIS_NAMED": "1"}, redis=True),
}


@pytest.fixture(scope="module")
def nat_servers():
    with NatServers() as started:
        yield started


@pytest.fixture
def nat_database(nat_servers):
    made = Database(nat_servers)
    yield made
    made.drop()


def full_load(run, journal, database, is_bench):
    if not is_bench:
        warm_up(run, journal)
        return
    wait_until(lambda: database.counters().xact_commit > 200 and len(database.sessions()) >= 4, 20,
               lambda: f"pgbench works:\n{run.err()}", step=0.01)


def has_connected(database):
    return any(row["application_name"].startswith("lastcall/") for row in database.sessions())


def stop_load(database, directory, load, environment, afterwards=lambda: None, warm=True):
    """One stop: what the servers and the app say of it, and lastcall. `afterwards` is called before they are asked.
    `warm` is False: while the app connects."""
    journal = Journal(os.path.join(directory, f"load.{database.name}.journal"))
    env = {**environment, "JOURNAL": journal.path, **load.environment}
    command, is_bench = list(load.command), load.command[0] == "pgbench"
    if is_bench:
        allow_bench_tables(database.servers, database)
        command = [f"{postgres_programs()}/pgbench", *command[1:], env["DATABASE_URL"].replace("?pgbouncer=true", "")]
    run = lastcall(command, directory, env=env, grace=f"{GRACE_S:g}s")
    with run:
        if warm:
            full_load(run, journal, database, is_bench)
            in_flight = wait_until(database.in_transaction, 5, "a transaction is open", step=0.001)
        else:
            wait_until(lambda: has_connected(database), 5, "it connects", step=0.001)
            in_flight = 0
        seconds, code = end_by_signal(run, "lastcall", GRACE_S)
    afterwards()
    stop = count("load", "", "lastcall", database, journal, run, seconds, code, in_flight)
    valid(stop.report)
    return stop, run


def assert_known(stop, run, known_by):
    """Nothing lost, and the report says so, and how it knew."""
    assert_nothing_lost(stop, run)
    assert stop.seconds < LATE_S, f"{stop}\n{run.err()}"
    assert stop.report["stop"]["aborted"] == 0, (stop.report["stop"], stop.report["unknown"], run.err())
    for target in stop.report["targets"]:
        if target["handles"]:
            assert target["known_by"] in known_by and target["aborted"] == 0, (target, run.err())


@pytest.mark.parametrize("what", ["libpq", "asyncpg", "pgbench"])
def test_translated_addresses(nat_database, directory, what):
    """Behind a router that changes address and port of every connection."""
    load = LOADS[what]
    for _ in range(2):
        stop, run = stop_load(nat_database, directory, load, nat_database.environment("direct", False))
        assert_known(stop, run, ["by name" if load.named else "socket only"])
        nat_database.drop()
        nat_database.__init__(nat_database.servers)


def test_translated_addresses_while_connecting(nat_database, directory):
    """The stop begins with the app's first connection: its start-ups go on, one after the other, and none is taken for
    another one's session. A first write that is held is discarded: whose session it is nobody could tell by then."""
    stop, run = stop_load(nat_database, directory, LOADS["libpq"], nat_database.environment("direct", False),
                          warm=False)
    assert (stop.aborted, stop.lost, stop.errors) == (0, 0, 0), f"{stop}\n{run.err()}"
    assert stop.report["stop"]["aborted"] == 0, (stop.report["stop"], stop.report["unknown"], run.err())
    assert stop.seconds < LATE_S and target_of(stop.report, "postgres")["handles"] > 0, f"{stop}\n{run.err()}"


@pytest.mark.parametrize("what", ["Redis", "Redis, named"])
def test_translated_addresses_of_redis(nat_database, directory, what):
    """A client of Redis has a name if the app gives it one."""
    stop, run = stop_load(nat_database, directory, LOADS[what], nat_database.environment("direct", True))
    assert_known(stop, run, ["by name", "socket only"])
    redis = target_of(stop.report, "redis")
    assert redis["known_by"] == ("by name" if "named" in what else "socket only"), redis
    assert stop.redis_lost == 0 and redis["leaked"] == redis["handed_back"] == redis["handles"] > 0, redis


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_translated_addresses_of_a_pooler(nat_database, directory, mode):
    stop, run = stop_load(nat_database, directory, LOADS["libpq"], nat_database.environment(f"pgbouncer-{mode}", False))
    assert_known(stop, run, ["by name"])


def test_a_proxy_that_nobody_knows(servers, database, directory):
    with relay("127.0.0.1", servers.pg_port) as port:
        environment = database.environment("direct", False)
        environment["DATABASE_URL"] = environment["DATABASE_URL"].replace(f":{servers.pg_port}/", f":{port}/")
        stop, run = stop_load(database, directory, LOADS["libpq"], environment)
    assert_known(stop, run, ["by name"])


def test_another_one_of_the_same_name(servers, database, directory):
    """A session that bears the app's name and is another one's: nobody ends it."""
    with relay("127.0.0.1", servers.pg_port) as port:
        environment = database.environment("direct", False)
        environment["DATABASE_URL"] = environment["DATABASE_URL"].replace(f":{servers.pg_port}/", f":{port}/")
        stranger = psycopg2.connect(environment["DATABASE_URL"], application_name="lastcall/twin")

        def still_there():
            with stranger.cursor() as cursor:
                cursor.execute("SELECT 1")
            stranger.commit()
            stranger.close()
        stop, run = stop_load(database, directory, LOADS["libpq"], {**environment, "LASTCALL_INSTANCE": "twin"},
                              still_there)
    assert_known(stop, run, ["by name"])


@pytest.fixture(scope="module", params=["transaction", "session"])
def quiet_pooler(request, servers):
    """A PgBouncer in whose stats_users the app is not: its console is closed to us."""
    name = f"quiet-{request.param}"
    servers.start_pooler(request.param, name, stats_users="")
    yield f"pgbouncer-{name}"
    servers.end(f"pgbouncer-{name}")
    del servers.pooler_ports[name]


def test_a_pooler_that_names_its_clients(quiet_pooler, database, directory):
    """application_name_add_host: PostgreSQL tells whose transaction is whose, exactly."""
    stop, run = stop_load(database, directory, LOADS["libpq"], database.environment(quiet_pooler, False))
    assert_known(stop, run, ["exact", "by name"])
    connections = target_of(stop.report, "pgbouncer")["connections"]
    assert {connection["known_by"] for connection in connections} >= {"exact"}, connections


def test_where_nobody_can_tell(quiet_pooler, database, directory):
    """The same without a URL that leads to PostgreSQL: then nothing is counted as known."""
    environment = database.environment(quiet_pooler, False)
    del environment["DATABASE_URL_DIRECT"]
    stop, run = stop_load(database, directory, LOADS["libpq"], environment)
    assert stop.report["stop"]["aborted"] is None and stop.report["unknown"], (stop.report["stop"], run.err())
    target = target_of(stop.report, "pgbouncer")
    assert target["known_by"] == "socket only" and target["aborted"] is None, target
    assert stop.seconds < GRACE_S and (stop.lost, stop.abandoned) == (0, 0), stop


def test_doctor_says_that_addresses_are_translated(nat_database, directory):
    _, out, _ = lastcall_verb(["doctor", "-o", "json"], directory, nat_database.environment("pgbouncer-session", True))
    assert out.count('"changed on the way"') == 3 and "PGAPPNAME" in out, out
