"""The rows of the hold table: apps under full load (no pause between two transactions), by which route and as whom, and one
stop of a row, measured. `test_hold.py` and `tests/check_stops.py` both take them from here; what is counted is stops.py's.

Full load means that the app is never idle by itself: the bare run beside it must lose something, and each row says what it may
cost under lastcall. Must never measure with programs that a build may replace meanwhile: a Stage holds copies."""
import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import threading
import time

from database import Database
from runner import C_APPS, NOBODY, PYTHON_APPS, ROOT, Journal, Run, as_user, children, stage_for_everyone
from servers import NotInTime, postgres_programs, wait_until
from stops import Stop, count, end_by_signal, warm_up

ROUTES = ("direct", "tls", "pgbouncer-transaction", "pgbouncer-session")
USERS = ("root", "user")
GRACE_S = 5.0
HOLD_APPS = os.path.join(PYTHON_APPS, "hold")
BUILT = os.path.join(C_APPS, "hold")
NODE_HOME = os.path.join(ROOT, "build", "npm")
JDBC_JAR = "/usr/share/java/postgresql.jar"


@dataclasses.dataclass(frozen=True)
class App:
    """A command line of the table. In its words {python}, {c} and {hold} stand for the stage's directories."""
    name: str
    command: tuple
    environment: dict = dataclasses.field(default_factory=dict)
    redis: bool = False
    routes: tuple = ROUTES
    # what the stop may take, in seconds: each of them, and the median of a row's stops
    longest: float = 0.5
    median: float = 0.1
    after: float = None          # instead: seconds after the end of the longest transaction that was open at the signal
    slack: float = 0.0           # an app that may be late by itself: its own time after SIGTERM
    code: int = 143
    needs: str = ""              # "node", "java" or "go": a stack that has to be installed or built
    quick: bool = True           # cheap enough for `make check`
    transactions: int = 20       # seen through before the stop
    blind: bool = False          # the server does not tell when a transaction is open
    grace: float = GRACE_S
    bare_grace: float = GRACE_S
    bare_loses: bool = True      # the bare run must lose something; False: the app does it right by itself
    aborted: tuple = (0, 0)      # how many may be aborted, from and to
    killed_by_app: int = 0       # sessions that the app itself ends by command
    ignored_errors: tuple = ()   # journal's E lines of these ids are the app's own affair
    figures_only: bool = False   # "as few as you can": the figures are reported, not judged
    unknown_allowed: bool = False  # losses are all right when the report says what was not known
    prepare: object = None       # (servers, database) → None, before the app starts
    beside: object = None        # (stage, directory, run) → context manager, once the app stands
    injure: object = None        # (servers, database) → None, right before the signal


@dataclasses.dataclass
class HoldStop(Stop):
    user: str = ""
    half_done: int = 0           # committed, and the Redis part that follows each COMMIT never came
    jobs_lost: int = 0           # taken out of Redis, and the app never saw it
    after: float = None          # seconds from the end of the longest transaction open at the signal to the end of all


# -- what the apps need ----------------------------------------------------------------------------------------------


def is_newer(made, *sources):
    return os.path.exists(made) and all(os.path.getmtime(made) >= os.path.getmtime(source) for source in sources)


def say_why(done, what):
    assert done.returncode == 0, f"{what}:\n{done.stdout}{done.stderr}"


def run_tool(argv, what, **more):
    say_why(subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False, **more), what)


def install_node_modules():
    """pg and ioredis, the versions that package.json names, under build/."""
    wanted, there = os.path.join(HOLD_APPS, "package.json"), os.path.join(NODE_HOME, "package.json")
    if is_newer(there, wanted) and os.path.exists(os.path.join(NODE_HOME, "node_modules", "pg", "package.json")):
        return
    os.makedirs(NODE_HOME, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(there)
    shutil.copyfile(wanted, there + ".new")
    shutil.copyfile(there + ".new", there)
    try:
        run_tool(["npm", "install", "--prefix", NODE_HOME, "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"],
                 "npm install of what tests/apps/hold/package.json names")
    except BaseException:
        os.unlink(there)  # the next call tries again
        raise


def compile_java():
    source, made = os.path.join(HOLD_APPS, "JdbcPool.java"), os.path.join(BUILT, "JdbcPool.class")
    if not is_newer(made, source):
        run_tool(["javac", "-d", BUILT, source], "javac JdbcPool.java")


def compile_go():
    source, made = os.path.join(HOLD_APPS, "pgx_pool.go"), os.path.join(BUILT, "pgx_pool")
    if not is_newer(made, source):
        run_tool(["go", "build", "-o", made, source], "go build pgx_pool.go",
                 env={**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""})


PREPARED = {"node": install_node_modules, "java": compile_java, "go": compile_go, "": lambda: None}


class Stage:
    """Copies of lastcall and the apps, in a directory where every user may read them."""

    def __init__(self, directory, apps):
        for needed in sorted({app.needs for app in apps}):
            PREPARED[needed]()
        self.directory = stage_for_everyone(directory)
        if any(app.needs == "node" for app in apps):
            shutil.copytree(os.path.join(NODE_HOME, "node_modules"), self.path("node_modules"), dirs_exist_ok=True)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def words(self, app):
        places = {"python": self.path("python"), "hold": self.path("python", "hold"), "c": self.path("c", "hold"),
                  "postgres": postgres_programs()}
        return [word.format(**places) for word in app.command]


# -- what happens beside an app ----------------------------------------------------------------------------------------


def make_bench_tables(servers, database):
    """pgbench's own, owned by the app's role."""
    run_tool([os.path.join(postgres_programs(), "pgbench"), "-i", "-q", "-s", "4", "-I", "dtgp", database.url("direct")],
             "pgbench -i", env={"PATH": os.environ["PATH"]})


def allow_bench_tables(servers, database):
    servers.sql(f"ALTER DATABASE {database.name} OWNER TO app")
    make_bench_tables(servers, database)


def hide_activity(servers, database):
    servers.sql(f"ALTER DATABASE {database.name} SET track_activities = off")


def app_backends(servers, database):
    """The backends that work for the app: not those of lastcall's own agent."""
    return [row["pid"] for row in database.sessions() if row["state"] != "idle" or row["application_name"] != "lastcall"]


def stop_backends(seconds):
    """SIGSTOP to all of the app's backends for so long."""
    def injure(servers, database):
        pids = app_backends(servers, database)

        def let_go():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        timer = threading.Timer(seconds, let_go)
        timer.daemon = True
        timer.start()
    return injure


@contextlib.contextmanager
def http_clients(stage, directory, run):
    """12 keep-alive clients without think time."""
    port_file = os.path.join(directory, f"{run.name}.port")
    wait_until(lambda: os.path.exists(port_file), 10, lambda: f"the server listens:\n{run.err()}")
    with open(port_file, encoding="ascii") as file:
        port = file.read()
    with subprocess.Popen(["/usr/bin/python3", stage.path("python", "hold", "clients.py"), port, "12"],
                          stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as clients:
        try:
            yield
        finally:
            clients.kill()


# -- the table ---------------------------------------------------------------------------------------------------------

PY, C = ("/usr/bin/python3", "{hold}/threads.py"), ("{c}/threads_libpq",)
NODE, PGBENCH = ("node", "{hold}/pool.js"), ("{postgres}/pgbench", "-n", "-j", "2", "-c", "8", "-T", "60")
JAVA = ("java", "-XX:TieredStopAtLevel=1", "-cp", "{c}:" + JDBC_JAR, "JdbcPool")
ASYNCPG = ("/usr/bin/python3", "{hold}/loop_asyncpg.py")
SECOND = {"SHORTEST_MS": "900", "LONGEST_MS": "1000", "STATEMENTS": "5"}
ONE_S = {"environment": SECOND, "transactions": 8, "after": 0.1}
KILL = {"LASTCALL_STOP_END": "kill"}
GOOD = {"code": 0, "bare_loses": False, "slack": 0.2}
DIRECT = ("direct", "tls", "pgbouncer-session")

APPS = (
    App("pgbench", PGBENCH, prepare=allow_bench_tables, transactions=200),
    App("pgbench -C", (*PGBENCH, "-C"), prepare=allow_bench_tables, transactions=50),
    App("threads, Python", PY),
    App("threads, Python, Redis", PY, redis=True),
    App("threads, C", C),
    App("threads, C, hiredis", C, redis=True),
    App("hiredis alone", C, {"ONLY_REDIS": "1", "SHORTEST_MS": "2", "LONGEST_MS": "10"}, redis=True, routes=("direct",), blind=True),
    App("node, pg, ioredis", NODE, redis=True, needs="node"),
    App("asyncpg", ASYNCPG),
    App("pipelines 4 deep", ("{c}/pipeline_libpq",)),
    App("pgx", ("{c}/pgx_pool",), needs="go", quick=False),
    App("JDBC, a hook that finishes", JAVA, {"HOOK": "1"}, needs="java", quick=False, slack=0.2, bare_loses=False),
    App("JDBC, 1 s, stop.end kill", JAVA, {**SECOND, **KILL}, needs="java", quick=False, code=137, transactions=8, after=0.1),
    App("writes of 20 kB", PY, {"SIZE": "20000"}),
    App("writes of 20 kB, C", C, {"SIZE": "20000"}),
    App("COPY in", C, {"COPY": "20"}, after=0.1),
    App("1 s of 5 statements", PY, **ONE_S),
    App("0.01-1 s", PY, {"SHORTEST_MS": "10", "LONGEST_MS": "1000", "STATEMENTS": "5"}, longest=2.0, median=2.0),
    App("beside a 2 s query", PY, {"LONG_QUERY": "2"}, after=0.05),
    App("a query beyond the grace", PY, {"LONG_QUERY": "60"}, longest=GRACE_S - 0.2, median=GRACE_S - 0.2, aborted=(1, 1),
        ignored_errors=("long",)),
    App("handler: finishes well", PY, {"HANDLER": "good"}, **GOOD),
    App("handler: dies at once", C, {"HANDLER": "exit"}, code=0, slack=0.2),
    App("handler: sigwait", C, {"HANDLER": "sigwait"}, **GOOD),
    App("handler: signalfd", C, {"HANDLER": "signalfd"}, **GOOD),
    App("handler: ignores it", C, {"HANDLER": "ignore"}, code=137, longest=GRACE_S - 0.2, median=GRACE_S - 0.2, bare_grace=1.0),
    App("sh -c", ("sh", "-c", "/usr/bin/python3 {hold}/threads.py; exit $?"), slack=0.2),
    App("npm start", ("npm", "--prefix", "{hold}", "start"), redis=True, needs="node", slack=0.2, quick=False),
    App("JVM, stop.end kill", JAVA, KILL, needs="java", quick=False, code=137),
    App("JVM, by signal", JAVA, needs="java", quick=False, longest=GRACE_S - 0.2, median=GRACE_S - 0.2, figures_only=True),
    App("never done by itself", NODE, {"HANDLER": "good"}, needs="node", longest=GRACE_S - 0.2, median=GRACE_S - 0.2,
        beside=http_clients, code=None, bare_grace=2.0),
    App("prefork", ("/usr/bin/python3", "{python}/prefork.py"), {"QUIET_MS": "0"}, redis=True, median=0.2),
    App("two connections a flow", PY, {"FLOW": "2"}, median=0.3, longest=1.0),
    App("two connections a flow, node", NODE, {"FLOW": "2"}, needs="node", median=0.3, longest=GRACE_S - 0.2, figures_only=True),
    App("two connections a flow, asyncpg", ASYNCPG, {"FLOW": "2"}, median=0.3, longest=GRACE_S - 0.2, figures_only=True,
        quick=False),
    App("odd handles", ("/usr/bin/python3", "{hold}/odd_handles.py"), redis=True, median=0.2, killed_by_app=1, routes=DIRECT),
    App("backends stopped for 0.1 s", PY, injure=stop_backends(0.1), after=0.2, routes=("direct", "tls")),
    App("backends stopped for 1 s", PY, injure=stop_backends(1.0), after=0.3, routes=("direct", "tls"), unknown_allowed=True),
    App("track_activities off", PY, prepare=hide_activity, blind=True, routes=("direct", "tls"), longest=GRACE_S - 0.2,
        median=GRACE_S - 0.2, unknown_allowed=True),
)


@dataclasses.dataclass(frozen=True)
class Row:
    app: App
    route: str
    user: str

    @property
    def name(self):
        return f"hold: {self.app.name} | {self.route}, {self.user}"


def pairwise():
    """Each app by each of its routes, and with both users; each route with both users."""
    return [Row(app, route, USERS[(at + by) % 2]) for at, app in enumerate(APPS) for by, route in enumerate(app.routes)]


def one_each(quick=True):
    """Each app once, the routes and users taken in turn."""
    chosen = [app for app in APPS if app.quick or not quick]
    return [Row(app, app.routes[at % len(app.routes)], USERS[at // 2 % 2]) for at, app in enumerate(chosen)]


# -- a stop ------------------------------------------------------------------------------------------------------------


def start(row, how, database, directory, stage):
    """(run, journal). The files belong to whoever runs it."""
    app, name = row.app, f"{how}.{database.name}"
    journal = Journal(os.path.join(directory, f"{name}.journal"))
    env = {**database.environment(row.route, app.redis), "JOURNAL": journal.path, "NODE_PATH": stage.path("node_modules"),
           **app.environment}
    if app.beside is http_clients:
        env["PORT_FILE"] = os.path.join(directory, f"{name}.port")
    words, prefix = stage.words(app), []
    if app.name.startswith("pgbench"):
        words.append(env["DATABASE_URL"].replace("?pgbouncer=true", ""))
    if row.user == "user" and os.geteuid() == 0:
        prefix = as_user(NOBODY)
    if how == "lastcall":
        words = [stage.path("lastcall"), "--grace", f"{app.grace:g}s", "--report", os.path.join(directory, f"{name}.report.json"),
                 "--", *words]
    return Run(words, directory, env=env, name=name, prefix=prefix), journal


def wait_for_load(app, run, journal, database):
    if app.prepare is not allow_bench_tables:
        warm_up(run, journal, app.transactions)
        return
    before = database.counters().xact_commit
    wait_until(lambda: database.counters().xact_commit - before >= app.transactions and len(database.sessions()) >= 4, 20,
               lambda: f"pgbench works:\n{run.err()}")


def longest_open(journal, signalled):
    """When the last of the transactions that were open at the signal ended, by the app's own clock."""
    marks = [(float(began), float(ended)) for _, began, ended in (line.split() for line in journal.of("T"))]
    ends = [ended / 1e3 for began, ended in marks if began / 1e3 <= signalled < ended / 1e3]
    return max(ends) if ends else None


def multi_cut(journal):
    """MULTI answered, EXEC never: what Redis calls a discarded transaction. One whose EXEC was done is a lost reply instead."""
    return set(journal.of("M")) - journal.confirmed_by_redis()


def half_done(app, database):
    if not app.redis or app.environment.get("ONLY_REDIS"):
        return 0
    return len(database.committed() - database.redis_committed())


def jobs_lost(database, journal):
    pushed, taken = database.redis_committed(), set(journal.of("P"))
    waiting = set(database.redis.lrange("jobs", 0, -1))
    return len(pushed - taken - waiting) if taken else 0


def measure(servers, row, how, directory, stage):
    """One stop of a row, counted."""
    app, database = row.app, Database(servers)
    try:
        if app.prepare:
            app.prepare(servers, database)
        run, journal = start(row, how, database, directory, stage)
        with run, (app.beside(stage, directory, run) if app.beside else contextlib.nullcontext()):
            wait_for_load(app, run, journal, database)
            in_flight = 0 if app.blind else \
                wait_until(database.in_transaction, 5, "a transaction is open on the server", step=0.001)
            if app.injure:
                app.injure(servers, database)
            signalled = time.monotonic()
            seconds, code = end_by_signal(run, how, app.grace if how == "lastcall" else app.bare_grace)
        last = longest_open(journal, signalled)
        stop = count(app.name, row.route, how, database, journal, run, seconds, code, in_flight)
        return complete(stop, row, database, journal, None if last is None else signalled + seconds - last)
    finally:
        database.drop()


def complete(stop, row, database, journal, after):
    errors = [line for line in journal.errors() if line.split()[0] not in row.app.ignored_errors]
    found = HoldStop(**vars(stop), user=row.user, half_done=half_done(row.app, database), jobs_lost=jobs_lost(database, journal),
                     after=None if after is None else round(after, 3))
    found.errors, found.killed = len(errors), stop.killed - row.app.killed_by_app
    found.aborted += len(multi_cut(journal) - database.redis_committed())
    return found


def too_late(app, stop):
    """Why this stop took too long, or nothing."""
    if app.after is not None and stop.after is not None:
        return stop.after > app.after + app.slack and f"{stop.after:.3f} s after the longest transaction open at the signal"
    longest = GRACE_S - 0.2 if app.after is not None else app.longest + app.slack
    return stop.seconds > longest and f"{stop.seconds:.3f} s"


def faults(app, stop):
    """What of a stop under lastcall is not as the table promises: a list of words, empty when all is well."""
    found = [f"{name} {value}" for name in ("lost", "redis_lost", "half_done", "jobs_lost", "errors")
             for value in [getattr(stop, name)] if value]
    if not app.aborted[0] <= stop.aborted <= app.aborted[1]:
        found.append(f"aborted {stop.aborted}")
    if stop.abandoned > app.aborted[1]:  # a pooler's client that is cut in its transaction has no goodbye to say
        found.append(f"abandoned {stop.abandoned}")
    if app.figures_only or (app.unknown_allowed and stop.report and (stop.report["unknown"] or stop.report["stop"]["aborted"] is None)):
        found = []
    if app.code is not None and stop.code != app.code:
        found.append(f"exit code {stop.code}")
    late = too_late(app, stop)
    return found + ([late] if late else [])


def lost_something(stop):
    """The bare run beside it: anything at all."""
    return bool(stop.aborted or stop.abandoned or stop.lost or stop.redis_lost or stop.half_done)
