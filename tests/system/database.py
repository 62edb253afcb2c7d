"""A database for one test or one stop: its URLs by each route, and what the servers counted for it alone.

Must never reset a counter: whoever reads them twice takes the difference.
"""
import contextlib
import dataclasses
import itertools
import re
import threading
import urllib.parse

import psycopg2

from servers import PASSWORD, ROLE, wait_until

ROUTES = ("direct", "tls", "ipv6", "unix", "pgbouncer-transaction", "pgbouncer-session")
NUMBERS = itertools.count(1)
CREATING = threading.Lock()


@dataclasses.dataclass
class Counters:
    """pg_stat_database of this database."""
    xact_commit: int
    xact_rollback: int
    sessions_abandoned: int
    sessions_killed: int
    sessions_fatal: int

    def __sub__(self, other):
        return Counters(*(a - b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other))))


class Database:
    def __init__(self, servers, redis_db=None):
        self.servers = servers
        number = next(NUMBERS)
        self.name = f"test_{number}"
        self.redis_db = redis_db if redis_db is not None else number % 63 + 1
        with CREATING:
            servers.sql(f"CREATE DATABASE {self.name} TEMPLATE ground STRATEGY wal_log")
        self.redis = servers.redis(self.redis_db)
        self.redis.flushdb()

    def drop(self):
        """Ends what is left in it, poolers included, and removes it."""
        for mode in self.servers.pooler_ports:
            self.end_pooler_sessions(mode)
        self.servers.sql(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        self.redis.connection_pool.disconnect()  # close() leaves the pool's connection open

    # -- URLs -----------------------------------------------------------------------------------------------------

    def url(self, route):
        """DATABASE_URL for the route, as an app of that route would be given it."""
        login = f"postgresql://{ROLE}:{urllib.parse.quote(PASSWORD)}@"
        port = self.servers.pg_port
        if route.startswith("pgbouncer-"):
            pooler = self.servers.pooler_ports[route.split("-", 1)[1]]
            return f"{login}{self.servers.pooler_address}:{pooler}/{self.name}?pgbouncer=true"
        return login + {
            "direct": f"{self.servers.address}:{port}/{self.name}?sslmode=disable",
            "tls": f"{self.servers.address}:{port}/{self.name}?sslmode=require",
            "ipv6": f"[::1]:{port}/{self.name}?sslmode=disable",
            "unix": f"/{self.name}?host={urllib.parse.quote(self.servers.path('sock'), safe='')}&port={port}",
        }[route]

    def environment(self, route, with_redis):
        """What the app and lastcall find in their environment."""
        found = {"DATABASE_URL": self.url(route)}
        if route.startswith("pgbouncer-"):
            found["DATABASE_URL_DIRECT"] = self.url("direct")
        if with_redis:
            found["REDIS_URL"] = f"redis://{self.servers.redis_address}:{self.servers.redis_port}/{self.redis_db}"
        return found

    def connect(self, route="direct", **more):
        """A connection as the app's role, for a test that plays the app itself."""
        url = re.sub(r"[?&]pgbouncer=true", "", self.url(route))
        return psycopg2.connect(url, **more)

    # -- what the servers say -------------------------------------------------------------------------------------

    def sessions(self):
        """pg_stat_activity: the client sessions in this database, as dicts."""
        rows = self.servers.sql(
            "SELECT pid, application_name, host(client_addr), client_port, state, query FROM pg_stat_activity "
            "WHERE datname = %s AND backend_type = 'client backend'", self.name)
        return [dict(zip(("pid", "application_name", "addr", "port", "state", "query"), row)) for row in rows]

    def in_transaction(self):
        """How many of the app's transactions the server has open at this moment."""
        return self.servers.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend' "
            "AND state <> 'idle' AND xact_start IS NOT NULL", self.name)[0][0]

    def counters(self):
        """The counters at this moment: those of sessions that still live may not be in them yet."""
        row = self.servers.sql(
            "SELECT xact_commit, xact_rollback, sessions_abandoned, sessions_killed, sessions_fatal "
            "FROM pg_stat_database WHERE datname = %s", self.name)[0]
        return Counters(*row)

    def settled_counters(self, limit=10):
        """The counters once nobody is connected any more: a session hands its counts in before it goes, and only then
        for certain. Pooled server connections are ended first, by the pooler, politely."""
        for mode in self.servers.pooler_ports:
            self.wait_for_pooler_clients(mode, limit)
            self.end_pooler_sessions(mode)
        wait_until(self.are_sessions_gone, limit, lambda: f"all sessions gone: {self.sessions()}", step=0.02)
        return self.counters()

    def are_sessions_gone(self):
        """The pooler's KILL misses a server connection that is in its reset query: it is said again."""
        left = self.sessions()
        for mode in self.servers.pooler_ports:
            if left:
                self.end_pooler_sessions(mode)
        return not left

    def pooler_clients(self, mode):
        """SHOW CLIENTS, this database's."""
        return [row for row in self.servers.console_rows(mode, "SHOW CLIENTS") if row["database"] == self.name]

    def wait_for_pooler_clients(self, mode, limit):
        wait_until(lambda: not self.pooler_clients(mode), limit, lambda: f"clients gone: {self.pooler_clients(mode)}")

    def end_pooler_sessions(self, mode):
        """By SHOW POOLS: SHOW DATABASES does not list a database that had no client for a while, though
        its servers are there."""
        with contextlib.suppress(psycopg2.Error):
            if any(row["database"] == self.name for row in self.servers.console_rows(mode, "SHOW POOLS")):
                self.servers.console_rows(mode, f"KILL {self.name}")

    def pooler_endings(self, mode):
        """How PgBouncer's clients of this database ended: reason → number, from its log."""
        found = {}
        pattern = rf"C-0x[0-9a-f]+: {self.name}/\S+ closing because: (.*?)(?: \(age=\d+s?\))?$"
        for reason in re.findall(pattern, self.servers.log_text(f"pgbouncer-{mode}"), re.M):
            found[reason] = found.get(reason, 0) + 1
        return found

    def pooler_abandoned(self):
        """Clients that went away without the protocol's goodbye."""
        return sum(count for mode in self.servers.pooler_ports for reason, count in self.pooler_endings(mode).items()
                   if "unexpected eof" in reason or "reset" in reason)

    def redis_clients(self):
        """CLIENT LIST: those of this database's number, the tests' own connection left out."""
        own = self.redis.client_id()
        return [row for row in self.redis.client_list() if row["db"] == str(self.redis_db) and int(row["id"]) != own]

    def log_lines(self, pattern):
        """Lines of PostgreSQL's log about this database that match."""
        return [line for line in self.servers.log_text("postgres").splitlines()
                if f"db={self.name} " in line and re.search(pattern, line)]

    def abandoned_by(self):
        """Who went away without a goodbye: lines of PostgreSQL's log, with pid and application name, and
        PgBouncer's reasons."""
        return self.log_lines("unexpected EOF on client connection|could not receive data from client") + \
            [f"{mode} pooler: {self.pooler_endings(mode)}" for mode in self.servers.pooler_ports
             if self.pooler_endings(mode)]

    def committed(self):
        """The ids the server has: what was committed, whether the app learnt of it or not."""
        with contextlib.closing(self.servers.connect_admin(self.name)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM work")
            return {row[0] for row in cursor.fetchall()}

    def redis_committed(self):
        return set(self.redis.lrange("work", 0, -1))
