"""What is done to the servers, or beside the app, in some of the hold rows. Undone by itself: no row leaves a trace."""
import contextlib
import os
import signal
import subprocess
import threading

from hold_stage import run_tool
from servers import postgres_programs, wait_until


def make_bench_tables(servers, database):
    """pgbench's own, owned by the app's role."""
    pgbench = os.path.join(postgres_programs(), "pgbench")
    run_tool([pgbench, "-i", "-q", "-s", "4", "-I", "dtgp", database.url("direct")], "pgbench -i",
             env={"PATH": os.environ["PATH"]})


def allow_bench_tables(servers, database):
    servers.sql(f"ALTER DATABASE {database.name} OWNER TO app")
    make_bench_tables(servers, database)


def hide_activity(servers, database):
    servers.sql(f"ALTER DATABASE {database.name} SET track_activities = off")


def app_backends(database):
    """The backends that work for the app: not that of lastcall's own agent, which asks who is active."""
    return [row["pid"] for row in database.sessions() if "pg_stat_activity" not in row["query"]]


def stop_backends(seconds):
    """SIGSTOP to all of the app's backends for so long."""
    def injure(servers, database):
        pids = app_backends(database)

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
