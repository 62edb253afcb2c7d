"""The rows of the hold table: apps under full load (no pause between two transactions), by which route and as whom, and
what each may cost. `test_hold.py` and `tests/check_stops.py` both take them from here; `hold_stop.py` measures a stop.

Full load means that the app is never idle by itself: the bare run beside it must lose something."""
import dataclasses
import os

from hold_beside import allow_bench_tables, hide_activity, http_clients, stop_backends

ROUTES = ("direct", "tls", "pgbouncer-transaction", "pgbouncer-session")
USERS = ("root", "user")
GRACE_S = 5.0
JDBC_JAR = "/usr/share/java/postgresql.jar"


@dataclasses.dataclass(frozen=True)
class App:
    """A command line of the table. In its words {python}, {c} and {hold} stand for the stage's directories."""
    name: str
    command: tuple
    environment: dict = dataclasses.field(default_factory=dict)
    redis: bool = False
    routes: tuple = ROUTES
    # what the stop may take, in seconds: each of them (None: what the grace allows), and the median of a row's stops
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
    far: bool = False            # the server is in a network namespace of its own: far_servers.py

    def limit_s(self):
        """What each stop may take, in seconds."""
        return self.grace - 0.2 if self.longest is None or self.after is not None else self.longest + self.slack


PY, C = ("/usr/bin/python3", "{hold}/threads.py"), ("{c}/threads_libpq",)
NODE, PGBENCH = ("node", "{hold}/pool.js"), ("{postgres}/pgbench", "-n", "-j", "2", "-c", "8", "-T", "60")
JAVA = ("java", "-XX:TieredStopAtLevel=1", "-cp", "{c}:" + JDBC_JAR, "JdbcPool")
ASYNCPG = ("/usr/bin/python3", "{hold}/loop_asyncpg.py")
SECOND = {"SHORTEST_MS": "900", "LONGEST_MS": "1000", "STATEMENTS": "5"}
ONE_S = {"environment": SECOND, "transactions": 8, "after": 0.1}
IN_GRACE = {"longest": None, "median": None}
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
    App("hiredis alone", C, {"ONLY_REDIS": "1", "SHORTEST_MS": "2", "LONGEST_MS": "10"}, redis=True, routes=("direct",),
        blind=True),
    App("node, pg, ioredis", NODE, redis=True, needs="node"),
    App("asyncpg", ASYNCPG),
    App("pipelines 4 deep", ("{c}/pipeline_libpq",)),
    App("pgx", ("{c}/pgx_pool",), needs="go", quick=False),
    App("JDBC, a hook that finishes", JAVA, {"HOOK": "1"}, needs="java", quick=False, slack=0.2, bare_loses=False),
    App("JDBC, 1 s, stop.end kill", JAVA, {**SECOND, **KILL}, needs="java", quick=False, code=137, transactions=8,
        after=0.1),
    App("writes of 20 kB", PY, {"SIZE": "20000"}),
    App("writes of 20 kB, C", C, {"SIZE": "20000"}),
    App("COPY in", C, {"COPY": "20"}, after=0.1),
    App("1 s of 5 statements", PY, **ONE_S),
    App("0.01-1 s", PY, {"SHORTEST_MS": "10", "LONGEST_MS": "1000", "STATEMENTS": "5"}, longest=2.0, median=2.0),
    App("beside a 2 s query", PY, {"LONG_QUERY": "2"}, after=0.05),
    App("a query beyond the grace", PY, {"LONG_QUERY": "60"}, **IN_GRACE, grace=3.0, aborted=(1, 1),
        ignored_errors=("long",)),
    App("handler: finishes well", PY, {"HANDLER": "good"}, **GOOD),
    App("handler: dies at once", C, {"HANDLER": "exit"}, code=0, slack=0.2),
    App("handler: sigwait", C, {"HANDLER": "sigwait"}, **GOOD),
    App("handler: signalfd", C, {"HANDLER": "signalfd"}, **GOOD),
    App("handler: ignores it", C, {"HANDLER": "ignore"}, code=137, **IN_GRACE, grace=3.0, bare_grace=1.0),
    App("sh -c", ("sh", "-c", "/usr/bin/python3 {hold}/threads.py; exit $?"), slack=0.2),
    App("npm start", ("npm", "--prefix", "{hold}", "start"), redis=True, needs="node", slack=0.2, quick=False),
    App("JVM, stop.end kill", JAVA, KILL, needs="java", quick=False, code=137),
    App("JVM, by signal", JAVA, needs="java", quick=False, **IN_GRACE, figures_only=True),
    App("never done by itself", NODE, {"HANDLER": "good"}, needs="node", **IN_GRACE, grace=3.0,
        beside=http_clients, code=None, bare_grace=1.0),
    App("prefork", ("/usr/bin/python3", "{python}/prefork.py"), {"QUIET_MS": "0"}, redis=True, median=0.2),
    App("two connections a flow", PY, {"FLOW": "2"}, median=0.3, longest=1.0),
    App("two connections a flow, node", NODE, {"FLOW": "2"}, needs="node", median=0.3, longest=None, figures_only=True),
    App("two connections a flow, asyncpg", ASYNCPG, {"FLOW": "2"}, median=0.3, longest=None, figures_only=True,
        quick=False),
    App("odd handles", ("/usr/bin/python3", "{hold}/odd_handles.py"), redis=True, transactions=600, median=0.2,
        killed_by_app=1, routes=DIRECT),
    App("backends stopped for 0.1 s", PY, injure=stop_backends(0.1), after=0.2, routes=("direct", "tls")),
    App("backends stopped for 1 s", PY, injure=stop_backends(1.0), after=0.3, routes=("direct", "tls"),
        unknown_allowed=True),
    App("behind a veth pair", PY, far=True, routes=("direct", "tls")),
    App("behind a veth pair, 20 kB", C, {"SIZE": "20000"}, far=True, routes=("direct", "tls")),
    App("track_activities off", PY, prepare=hide_activity, blind=True, routes=("direct", "tls")),
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
    return [Row(app, route, USERS[(at + by) % 2]) for at, app in enumerate(APPS) if possible(app)
            for by, route in enumerate(app.routes)]


def possible(app):
    """A server of its own network namespace takes root; an ordinary user's run has those rows not."""
    return not app.far or os.geteuid() == 0


def one_each():
    """Each app that `make check` has time for once, the routes and users taken in turn."""
    chosen = [app for app in APPS if app.quick and possible(app)]
    return [Row(app, app.routes[at % len(app.routes)], USERS[at // 2 % 2]) for at, app in enumerate(chosen)]


# -- what a stop is judged by ------------------------------------------------------------------------------------------


def too_late(app, stop):
    """Why this stop took too long, or nothing."""
    if app.after is not None and stop.after is not None and stop.after > app.after + app.slack:
        return f"{stop.after:.3f} s after the longest transaction open at the signal"
    return f"{stop.seconds:.3f} s" if stop.seconds > app.limit_s() + stop.open_for else ""


def nulls(report):
    """The report's figures that say "not known"."""
    if not report or not report["stop"]:
        return ["report"]
    of_targets = [f"{target['name']}.{key}" for target in report["targets"]
                  for key in ("handles", "closed_by_app", "leaked", "handed_back", "aborted") if target[key] is None]
    return [key for key in ("in_flight", "finished", "aborted") if report["stop"][key] is None] + of_targets


def disagreements(stop):
    """Where the report says something else than the servers counted."""
    if not stop.report or nulls(stop.report):
        return []
    targets = stop.report["targets"]
    said = {"aborted": sum(target["aborted"] for target in targets),
            "killed": sum(target["sessions_killed"] for target in targets if target["kind"] != "redis")}
    return [f"the report says {what} {figure}, the server {getattr(stop, what)}" for what, figure in said.items()
            if figure != getattr(stop, what)]


def faults(app, stop):
    """What of a stop under lastcall is not as the table promises: a list of words, empty when all is well."""
    found = [f"{name} {value}" for name in ("lost", "redis_lost", "half_done", "jobs_lost", "errors")
             for value in [getattr(stop, name)] if value]
    if not app.aborted[0] <= stop.aborted <= app.aborted[1]:
        found.append(f"aborted {stop.aborted}")
    if stop.abandoned > app.aborted[1]:  # a pooler's client that is cut in its transaction has no goodbye to say
        found.append(f"abandoned {stop.abandoned}")
    unknown = nulls(stop.report)
    if app.figures_only or (app.unknown_allowed and unknown):
        found = []
    elif unknown:
        found.append(f"null: {', '.join(unknown)}: {stop.report and stop.report['unknown']}")
    found += disagreements(stop)
    if app.code is not None and stop.code != app.code:
        found.append(f"exit code {stop.code}")
    late = too_late(app, stop)
    return found + ([late] if late else [])


def lost_something(stop):
    """The bare run beside it: anything at all."""
    return bool(stop.aborted or stop.abandoned or stop.lost or stop.redis_lost or stop.half_done)
