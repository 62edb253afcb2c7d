"""`lastcall doctor`: what works here, what does not, with its consequence and cure; its exit code; within 5 s whatever
the servers do; never a password."""
import contextlib
import json
import os
import signal
import socket
import time

import pytest

from runner import NOBODY, c_app, lastcall, lastcall_verb
from servers import PASSWORD, ROLE

FEWER, SECRET = "doctor_monitor", "another-s3cret"


class Found:
    """One run of the doctor, both forms of it, and what must be true of any."""

    def __init__(self, directory, env=None, options=(), prefix=(), limit=5.0):
        env = {"LASTCALL_INSTANCE": "doctor", **(env or {})}
        began = time.monotonic()
        self.code, out, err = lastcall_verb(["doctor", "-o", "json", *options], directory, env, prefix=prefix)
        self.seconds = time.monotonic() - began
        assert self.seconds < limit, self.seconds
        self.all = json.loads(out)
        assert self.all["schema"] == "lastcall.doctor/1"
        self.rows = self.all["rows"]
        missing = [row for row in self.rows if row["needed"] and row["answer"] in ("no", "unknown")]
        assert self.code == (1 if missing else 0) and self.all["ok"] == (not missing), (self.code, missing)
        for row in self.rows:
            assert row["answer"] in ("yes", "part", "no", "unknown") and row["detail"], row
            assert row["answer"] not in ("part", "no") or row["consequence"] or row["what"] in ("user", "agent"), row
        for text in (out, err):
            assert PASSWORD not in text and SECRET not in text, text

    def row(self, what, target=None):
        found = [row for row in self.rows if row["what"] == what and row["target"] == target]
        assert len(found) == 1, (what, target, self.rows)
        return found[0]

    def answer(self, what, target=None):
        return self.row(what, target)["answer"]

    def cures(self, what, target=None):
        return {cure["where"]: cure["line"] for cure in self.row(what, target)["cures"]}


def redis_url(servers, user=""):
    return f"redis://{user}127.0.0.1:{servers.redis_port}/0"


@contextlib.contextmanager
def stopped(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_all_is_well(servers, database, directory):
    found = Found(directory, {"DATABASE_URL": database.url("direct"), "REDIS_URL": redis_url(servers)})
    assert found.code == 0
    assert found.row("hands")["detail"] == "pidfd_getfd"
    assert found.row("sockets")["detail"] == "sock_diag"
    version = servers.sql("SHOW server_version")[0][0].split()[0]
    assert found.row("reach", "database")["detail"].startswith(f"PostgreSQL {version} answers in ")
    version = servers.redis().info()["redis_version"]
    assert found.row("reach", "redis")["detail"].startswith(f"Redis {version} answers in ")
    for what, target in (("freeze", None), ("control", None), ("addresses", "database"), ("see", "database"),
                         ("end", "database"), ("addresses", "redis"), ("see", "redis"), ("end", "redis")):
        assert found.answer(what, target) == "yes", found.row(what, target)
    assert found.row("see", "database")["detail"] == f"{ROLE} sees its own sessions; another role's not"


def test_for_people(servers, database, directory):
    """The same in short lines, the columns one below the other; nothing on standard error."""
    code, out, err = lastcall_verb(["doctor"], directory,
                                   {"DATABASE_URL": database.url("tls"), "LASTCALL_INSTANCE": "doctor"})
    lines = out.splitlines()
    assert code == 0 and err == "", (code, err)
    assert lines[0] == "yes      hands        pidfd_getfd", lines
    assert all(line[7:9] == "  " and line[20:22] == "  " and len(line) < 160 for line in lines), lines
    assert PASSWORD not in out


def test_it_leaves_nothing_behind(servers, database, directory):
    """No session, no client, no socket, and no session of the app's is touched."""
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        client = servers.redis(database.redis_db)
        client.ping()
        found = Found(directory, {"DATABASE_URL": database.url("direct"), "REDIS_URL": redis_url(servers)})
        assert not os.path.exists(found.row("control")["detail"])
        cursor.execute("SELECT 1")
        assert [row["name"] for row in client.client_list() if row["name"].startswith("lastcall")] == []
    client.connection_pool.disconnect()
    assert database.counters().sessions_abandoned == database.counters().sessions_killed == 0


def test_hands_by_ptrace(directory):
    found = Found(directory, prefix=[c_app("without_getfd")])
    assert found.code == 0 and found.row("hands")["detail"] == "ptrace (pidfd_getfd is refused)"


def test_no_hands(directory):
    """In a container of Kubernetes: the line that cures it there, and no other platform's."""
    found = Found(directory, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, prefix=[c_app("no_hands")])
    assert found.code == 1 and found.answer("hands") == "no"
    assert "seccomp filter" in found.row("hands")["detail"]
    assert "nothing can be held" in found.row("hands")["consequence"]
    assert found.cures("hands") == {"container spec": "securityContext: {capabilities: {add: [SYS_PTRACE]}}"}
    assert found.all["platform"] == {"name": "kubernetes", "why": "KUBERNETES_SERVICE_HOST is set", "grace_seconds": 30}


def test_it_becomes_the_user(servers, database, directory, stage):
    """All is tried as the user that lastcall would become (who is no root can only be who he is)."""
    uid = os.geteuid() or NOBODY
    code, out, _ = lastcall_verb(["doctor", "-o", "json", "--user", str(uid)], directory,
                                 {"DATABASE_URL": database.url("direct")}, program=os.path.join(stage, "lastcall"))
    rows = {(row["what"], row["target"]): row for row in json.loads(out)["rows"]}
    assert code == 0 and rows["hands", None]["detail"] == "pidfd_getfd", rows
    assert f"lastcall-{uid}-" in rows["control", None]["detail"], rows["control", None]


def test_no_place_for_the_socket(directory):
    found = Found(directory, {"LASTCALL_SOCKET": os.path.join(directory, "none", "x.sock")})
    assert found.code == 1 and found.answer("control") == "no" and "No such file" in found.row("control")["detail"]


def test_beside_a_running_one(database, directory):
    env = {"DATABASE_URL": database.url("direct"), "LASTCALL_INSTANCE": "doctor"}
    with lastcall(["sleep", "60"], directory, env=env) as run:
        run.agent_pid()
        found = Found(directory, env)
        assert found.code == 0 and "a running lastcall has it" in found.row("control")["detail"]
        assert run.process.poll() is None


def test_grace_longer_than_the_platforms(directory):
    found = Found(directory, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, options=["--grace", "45s"])
    assert found.code == 0 and found.answer("grace") == "part"
    assert found.cures("grace") == {"pod spec": "terminationGracePeriodSeconds: 45",
                                    "environment": "LASTCALL_GRACE_PERIOD=30s"}


# -- servers ----------------------------------------------------------------------------------------------------------


def test_pooler_behind_a_plain_url(servers, database, directory):
    url = database.url("pgbouncer-session").replace("?pgbouncer=true", "")
    found = Found(directory, {"DATABASE_URL": url})
    assert found.row("reach", "database")["detail"].startswith("PgBouncer 1."), found.rows
    assert found.answer("pooler", "database") == "part"
    assert "behind a plain URL" in found.row("pooler", "database")["detail"]
    assert found.cures("pooler", "database")["environment"].startswith(f"DATABASE_URL_DIRECT=postgresql://{ROLE}:")
    assert found.answer("end", "database") == "part"
    assert found.cures("end", "database")["pgbouncer.ini"] == f"admin_users = {ROLE}"
    found = Found(directory, {"DATABASE_URL": url, "DATABASE_URL_DIRECT": database.url("direct")})
    assert found.code == 0 and found.answer("pooler", "database") == "yes" and found.answer("see", "direct") == "yes"


def test_an_admin_of_the_pooler(servers, database, directory):
    """Asking whether it is one changes nothing there."""
    before = servers.console_rows("transaction", "SHOW CONFIG")
    url = database.url("pgbouncer-transaction").replace(f"//{ROLE}:", "//postgres:")
    found = Found(directory, {"DATABASE_URL": url})
    assert "not an admin" not in found.row("end", "database")["detail"]
    assert "pgbouncer.ini" not in found.cures("end", "database")
    assert servers.console_rows("transaction", "SHOW CONFIG") == before


@pytest.fixture
def monitor(servers):
    """A role that is not the app's; and it is no user of PgBouncer's."""
    servers.sql(f"CREATE ROLE {FEWER} LOGIN PASSWORD '{SECRET}'")
    yield f"{FEWER}:{SECRET}"
    servers.sql(f"DROP ROLE {FEWER}")


def test_rights_behind_a_pooler(servers, database, directory, monitor):
    """The direct URL's role is not the app's: it must be allowed to see and end what the pooler opened."""
    direct = database.url("direct").replace(f"{ROLE}:{PASSWORD}", monitor)
    env = {"DATABASE_URL": database.url("pgbouncer-transaction"), "DATABASE_URL_DIRECT": direct}
    found = Found(directory, env)
    assert found.code == 1
    assert found.answer("see", "direct") == found.answer("end", "direct") == "no"
    servers.sql(found.cures("see", "direct")["SQL"])
    half = Found(directory, env)
    assert half.code == 1 and (half.answer("see", "direct"), half.answer("end", "direct")) == ("yes", "no")
    servers.sql(found.cures("end", "direct")["SQL"])
    found = Found(directory, env)
    assert found.code == 0 and found.row("see", "direct")["detail"] == f"{FEWER} sees every role's sessions"


def test_track_activities_off(servers, database, directory):
    servers.sql(f"ALTER ROLE {ROLE} IN DATABASE {database.name} SET track_activities = off")
    found = Found(directory, {"DATABASE_URL": database.url("direct")})
    assert found.code == 0 and found.answer("tracking", "database") == "part"
    assert found.cures("tracking", "database")["SQL"] == f"ALTER ROLE {ROLE} SET track_activities = on;"


def test_redis_user_with_few_rights(servers, directory):
    client = servers.redis()
    client.execute_command("ACL", "SETUSER", "few", "on", f">{SECRET}", "+ping", "+client|list", "+client|id", "+info")
    env = {"REDIS_URL": redis_url(servers, f"few:{SECRET}@")}
    try:
        found = Found(directory, env)
        assert found.code == 0 and found.answer("see", "redis") == "yes" and found.answer("end", "redis") == "part"
        client.execute_command(*found.cures("end", "redis")["redis-cli"].split())
        assert Found(directory, env).answer("end", "redis") == "yes"
        client.execute_command("ACL", "SETUSER", "few", "-client|list")
        found = Found(directory, env)
        assert found.code == 1 and found.answer("reach", "redis") == "no"
        assert found.answer("rights", "redis") == "unknown"
        client.execute_command(*found.cures("reach", "redis")["redis-cli"].split())
        assert Found(directory, env).code == 0
    finally:
        client.execute_command("ACL", "DELUSER", "few")
        client.connection_pool.disconnect()


def test_nobody_listens_and_wrong_password(servers, database, directory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = database.url("direct").replace(f":{servers.pg_port}/", f":{free.getsockname()[1]}/")
        found = Found(directory, {"DATABASE_URL": url})
    assert found.code == 1 and "Connection refused" in found.row("reach", "database")["detail"]
    assert found.answer("rights", "database") == "unknown" and "DATABASE_URL" in found.cures("reach", "database")
    found = Found(directory, {"DATABASE_URL": database.url("direct").replace(PASSWORD, SECRET)})
    assert found.code == 1 and "password authentication failed" in found.row("reach", "database")["detail"]


@pytest.mark.parametrize("name", ["postgres", "pgbouncer-transaction", "redis"])
def test_a_server_that_stands_still(servers, database, directory, name):
    """It takes connections and answers nothing: unknown, and the doctor ends in time."""
    server = servers.running[name].pid
    env = {"DATABASE_URL": database.url("pgbouncer-transaction"), "DATABASE_URL_DIRECT": database.url("direct"),
           "REDIS_URL": redis_url(servers)}
    with stopped([server]):
        found = Found(directory, env)
    target = {"postgres": "direct", "redis": "redis"}.get(name, "database")
    assert found.code == 1 and found.answer("reach", target) == "no", found.rows
    assert found.answer("reach", "redis" if target != "redis" else "direct") == "yes"


def test_an_agent_that_stands_still(database, directory):
    """What it does not say is unknown."""
    agent = os.path.join(directory, "agent")
    with open(agent, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\nexec sleep 60\n")
    os.chmod(agent, 0o755)
    found = Found(directory, {"DATABASE_URL": database.url("direct"), "LASTCALL_AGENT": agent})
    assert found.code == 1 and found.answer("sockets") == found.answer("reach", "database") == "unknown"
    assert found.seconds > 3


def test_no_agent(database, directory):
    found = Found(directory, {"DATABASE_URL": database.url("direct"),
                              "LASTCALL_AGENT": os.path.join(directory, "none")})
    assert found.code == 1 and found.answer("reach", "database") == "unknown"


# -- bad input --------------------------------------------------------------------------------------------------------


def test_wrong_usage(directory):
    code, out, err = lastcall_verb(["doctor", "--no-such"], directory)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert lastcall_verb(["doctor", "word"], directory)[0] == 2


def test_wrong_configuration(directory):
    env = {"DATABASE_URL": f"postgresql://app:{SECRET}@h:99999/x"}
    code, out, err = lastcall_verb(["doctor"], directory, env)
    assert code == 1 and out == "" and "column" in err and SECRET not in err
    code, out, err = lastcall_verb(["doctor", "-o", "json"], directory, env)
    told = json.loads(out)
    assert code == 1 and told["rows"] == [] and told["platform"] is None and "column" in told["errors"][0]
