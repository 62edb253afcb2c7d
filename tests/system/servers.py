"""Private PostgreSQL, PgBouncer (transaction and session mode) and Redis, on free loopback ports, in one temporary
directory. Everything dies with the process that started it, also when that one is killed (PR_SET_PDEATHSIG).

Must never touch a server that it did not start, and never wait without a limit.

PostgreSQL and PgBouncer refuse to run as root: they then run as the user `postgres`. As an ordinary user
they run as that user.
"""
import atexit
import contextlib
import ctypes
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import psycopg2
import redis

ROLE, PASSWORD = "app", "s3cret-of-the-tests"
PREFIX = "lastcall-tests-"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class NotInTime(AssertionError):
    """Something that was waited for did not come within its limit."""


def wait_until(condition, limit, what, step=0.004):
    """The condition's first true value; NotInTime when it stays false for `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise NotInTime(f"not within {limit} s: {what() if callable(what) else what}")
        time.sleep(step)


def free_port():
    """A port that is free on 127.0.0.1 and on ::1."""
    while True:
        with socket.socket(socket.AF_INET) as four, socket.socket(socket.AF_INET6) as six:
            four.bind(("127.0.0.1", 0))
            port = four.getsockname()[1]
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                six.bind(("::1", port))
                return port
            except OSError:
                continue


def postgres_programs():
    """The directory of PostgreSQL's own programs, 15 before any other."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: (path.split("/")[4] != "15", path))
    if not found:
        raise RuntimeError("no PostgreSQL server under /usr/lib/postgresql: run `make setup`")
    return found[0]


def pgbouncer_program():
    """Debian puts it into /usr/sbin, which an ordinary user's PATH does not have."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if not found:
        raise RuntimeError("no pgbouncer: run `make setup`")
    return found


def sweep_old_directories():
    """Removes the directories of runs that were killed before they could do it themselves."""
    for path in glob.glob(os.path.join(tempfile.gettempdir(), PREFIX + "*")):
        with contextlib.suppress(OSError, ValueError):
            pid = int(open(os.path.join(path, "owner"), encoding="ascii").read())
            if os.stat(path).st_uid == os.geteuid() and not os.path.exists(f"/proc/{pid}"):
                shutil.rmtree(path, ignore_errors=True)


class Servers:
    """All of them. `with Servers() as servers:` starts and ends them."""
    listens_on = ("127.0.0.1", "::1")  # the poolers and Redis
    address = pooler_address = redis_address = "127.0.0.1"  # how apps reach them: PostgreSQL, the poolers, Redis

    def __init__(self):
        self.base = None
        self.running = {}
        self.logs = {}
        self.account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self.pg_port = self.redis_port = None
        self.pooler_ports = {}
        self.admin = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    # -- starting and stopping ------------------------------------------------------------------------------------

    def start(self):
        sweep_old_directories()
        self.base = tempfile.mkdtemp(prefix=PREFIX)
        with open(self.path("owner"), "w", encoding="ascii") as owner:
            owner.write(str(os.getpid()))
        os.chmod(self.base, 0o755)
        atexit.register(self.stop)
        for name in ("pg", "sock"):
            os.mkdir(self.path(name))
            self._give(self.path(name))
        os.chmod(self.path("sock"), 0o755)
        self.start_postgres()
        self.start_poolers()
        self.start_redis()

    def stop(self):
        """Ends what was started, in mirrored order, and removes the directory. May be called twice."""
        if self.base is None:
            return
        atexit.unregister(self.stop)
        if self.admin is not None:
            self.admin.close()
            self.admin = None
        for name in reversed(list(self.running)):
            self.end(name)
        shutil.rmtree(self.base, ignore_errors=True)
        self.base = None

    def end(self, name, limit=10):
        """Ends one server: fast first, then by SIGKILL."""
        process = self.running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
            os.kill(process.pid, signal.SIGINT if name == "postgres" else signal.SIGTERM)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
            process.wait(limit)

    def path(self, *names):
        return os.path.join(self.base, *names)

    def _give(self, path):
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def _become(self, drop, death_signal):
        """For preexec_fn: the server's user, and its death with ours."""
        account = self.account if drop else None

        def prepare():
            if account:
                os.setgroups([])
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
            LIBC.prctl(PR_SET_PDEATHSIG, death_signal)
        return prepare

    def launch(self, name, argv, drop=True, death_signal=signal.SIGKILL):
        self.logs[name] = self.path(name + ".log")
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": self.base}
        with open(self.logs[name], "ab") as log:
            os.chmod(self.logs[name], 0o644)
            self.running[name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.path("sock"), env=environment,
                preexec_fn=self._become(drop, death_signal), start_new_session=True)
        return self.running[name]

    def ready(self, name, attempt, limit=20):
        """Waits until the attempt raises nothing; says the log when the server ended instead."""
        def try_it():
            if self.running[name].poll() is not None:
                raise RuntimeError(f"{name} ended with {self.running[name].returncode}:\n{self.log_text(name)}")
            try:
                attempt()
                return True
            except (psycopg2.Error, redis.RedisError, OSError):
                return False
        wait_until(try_it, limit, lambda: f"{name} answers:\n{self.log_text(name)}", step=0.02)

    def log_text(self, name):
        with open(self.logs[name], encoding="utf-8", errors="replace") as log:
            return log.read()

    # -- the servers ----------------------------------------------------------------------------------------------

    def start_postgres(self):
        data = self.path("pg", "data")
        programs = postgres_programs()
        self.make_certificate()
        subprocess.run(
            [f"{programs}/initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8",
             "--locale=C.UTF-8", "--pwfile", self.password_file()],
            check=True, stdin=subprocess.DEVNULL, capture_output=True, cwd=self.path("pg"),
            preexec_fn=self._become(True, signal.SIGKILL))
        self.pg_port = free_port()
        with open(os.path.join(data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            conf.write(self.postgres_settings())
        self.launch("postgres", [f"{programs}/postgres", "-D", data], death_signal=signal.SIGQUIT)
        self.ready("postgres", lambda: self.connect_admin().close())
        self.admin = self.connect_admin()
        self.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        self.sql("CREATE DATABASE ground")
        with contextlib.closing(self.connect_admin("ground")) as ground, ground.cursor() as cursor:
            cursor.execute(f"CREATE TABLE work(id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now()); "
                           f"CREATE TABLE tally(n int PRIMARY KEY, hits bigint NOT NULL); "
                           f"INSERT INTO tally SELECT n, 0 FROM generate_series(0, 99) n; "
                           f"GRANT ALL ON work, tally TO {ROLE}")

    def password_file(self):
        path = self.path("pg", "password")
        with open(path, "w", encoding="ascii") as file:
            file.write(PASSWORD + "\n")
        os.chmod(path, 0o600)
        self._give(path)
        return path

    def make_certificate(self):
        key, certificate = self.path("pg", "server.key"), self.path("pg", "server.crt")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
            check=True, stdin=subprocess.DEVNULL, capture_output=True)
        os.chmod(key, 0o600)
        self._give(key)
        self._give(certificate)

    def postgres_settings(self):
        # fsync off: nothing here has to survive a crash of the machine, and a commit must not wait for a disk whose
        # speed would then be what the stop's seconds show.
        # debug1: the level at which PostgreSQL names the session whose client went away without a goodbye.
        return f"""
listen_addresses = '127.0.0.1, ::1'
port = {self.pg_port}
unix_socket_directories = '{self.path("sock")}'
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
ssl = on
ssl_cert_file = '{self.path("pg", "server.crt")}'
ssl_key_file = '{self.path("pg", "server.key")}'
logging_collector = off
log_destination = stderr
log_line_prefix = '%m [%p] db=%d app=%a '
log_connections = on
log_disconnections = on
log_statement = none
log_min_messages = debug1
"""

    def start_poolers(self):
        for mode in ("transaction", "session"):
            self.start_pooler(mode)

    def start_pooler(self, mode, name=None, stats_users=ROLE):
        """`name`: one more of a mode, which console() then knows by that name."""
        port = self.pooler_ports[name or mode] = free_port()
        key, name = name or mode, f"pgbouncer-{name or mode}"
        users = self.path(name + ".users")
        with open(users, "w", encoding="ascii") as file:
            file.write(f'"{ROLE}" "{PASSWORD}"\n"postgres" "{PASSWORD}"\n')
        ini = self.path(name + ".ini")
        with open(ini, "w", encoding="utf-8") as file:
            file.write(f"""[databases]
* = host=127.0.0.1 port={self.pg_port}
[pgbouncer]
listen_addr = {",".join(self.listens_on)}
listen_port = {port}
unix_socket_dir =
pool_mode = {mode}
auth_type = scram-sha-256
auth_file = {users}
admin_users = postgres
stats_users = {stats_users}
max_client_conn = 200
default_pool_size = 20
server_tls_sslmode = disable
ignore_startup_parameters = extra_float_digits
application_name_add_host = 1
log_connections = 1
log_disconnections = 1
server_login_retry = 1
""")
        os.chmod(ini, 0o644)
        os.chmod(users, 0o600)
        self._give(users)
        self.launch(name, [pgbouncer_program(), ini])
        self.ready(name, lambda: self.console(key).close())

    def start_redis(self):
        self.redis_port = self.redis_port or free_port()
        self.launch("redis", ["redis-server", "--port", str(self.redis_port), "--bind", *self.listens_on,
                              "--protected-mode", "no", "--save", "", "--appendonly", "no",
                              "--dir", self.path("sock"), "--databases", "64"])
        self.ready("redis", self.ping_redis)

    # -- asking them ----------------------------------------------------------------------------------------------

    def connect_admin(self, database="postgres"):
        connection = psycopg2.connect(host=self.path("sock"), port=self.pg_port, user="postgres", password=PASSWORD,
                                      dbname=database, application_name="tests")
        connection.autocommit = True
        return connection

    def sql(self, text, *arguments):
        with self.admin.cursor() as cursor:
            cursor.execute(text, arguments or None)
            return cursor.fetchall() if cursor.description else None

    def console(self, mode):
        connection = psycopg2.connect(host=self.pooler_address, port=self.pooler_ports[mode], user="postgres",
                                      password=PASSWORD, dbname="pgbouncer")
        connection.autocommit = True
        return connection

    def console_rows(self, mode, command):
        """SHOW … of the pooler as a list of dicts."""
        with contextlib.closing(self.console(mode)) as connection, connection.cursor() as cursor:
            cursor.execute(command)
            if not cursor.description:
                return []
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def ping_redis(self):
        client = self.redis()
        try:
            client.ping()
        finally:
            client.connection_pool.disconnect()

    def redis(self, db=0):
        return redis.Redis(host=self.redis_address, port=self.redis_port, db=db, socket_timeout=5,
                           decode_responses=True)
