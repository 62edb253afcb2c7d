"""The hold rows of `make check-stops`: measured stop by stop, kept by its caller after each, and summed up.

A row is as promised when each of its stops is, and the median of its seconds too."""
import dataclasses
import os
import statistics

from far_servers import FarServers
from hold_rows import faults, lost_something, pairwise
from hold_stage import Stage
from hold_stop import measure

ROWS = {row.name: row for row in pairwise()}
DROPPED = ("app", "route", "how", "report", "abandoned_by")


def figures(row, stop):
    found = {name: value for name, value in dataclasses.asdict(stop).items() if name not in DROPPED}
    found["said"] = stop.report["stop"]["aborted"] if stop.report and stop.report["stop"] else None
    found["faults"] = faults(row.app, stop) if stop.how == "lastcall" else []
    found["lost_something"] = lost_something(stop)
    return found


def odd_rows(kept):
    """(row, why) of rows that are not as promised though each of their stops is: median too long, nothing lost bare."""
    for name, row in ROWS.items():
        stops, app = kept.get(name, {}), row.app
        seconds = [stop["seconds"] - stop["open_for"] for stop in stops.get("lastcall", [])]
        own = statistics.median(stop["seconds"] for stop in stops["bare"]) if app.slack and stops.get("bare") else 0
        promised = max(app.median, own) + app.slack if app.median and app.after is None else None
        if len(seconds) >= 5 and promised and statistics.median(seconds) > promised:
            yield name, f"median {statistics.median(seconds):.3f} s, promised {promised:.3f}"
        if app.bare_loses and stops.get("bare") and not any(stop["lost_something"] for stop in stops["bare"]):
            yield name, "bare, nothing was lost"


# Those that stand for all in the README, beside tini.
SHOWN = tuple(f"hold: {name}" for name in (
    "pgbench | direct, root", "pgbench -C | tls, root", "threads, Python, Redis | direct, user",
    "threads, C | pgbouncer-session, user", "node, pg, ioredis | direct, user",
    "asyncpg | pgbouncer-transaction, root", "pgx | tls, user",
    "JDBC, 1 s, stop.end kill | pgbouncer-transaction, root", "pipelines 4 deep | direct, user", "COPY in | tls, root",
    "beside a 2 s query | direct, root", "prefork | direct, root", "two connections a flow | direct, user"))


def shown(stops):
    """transactions aborted, connections abandoned, replies lost, a stop; the median of its seconds"""
    total = {name: sum(stop[name] for stop in stops)
             for name in ("aborted", "abandoned", "lost", "redis_lost", "half_done")}
    lost = sum(total[name] for name in ("lost", "redis_lost", "half_done"))
    return " | ".join(f"{figure / len(stops):.1f}".replace(".0", "")
                      for figure in (total["aborted"], total["abandoned"], lost)) \
        + f" | {statistics.median(stop['seconds'] for stop in stops):.2f}"


def readme_table(kept):
    """The lines of the README's table, or nothing when some of it was not measured."""
    if not all(kept.get(name, {}).get(how) for name in SHOWN for how in ("tini", "lastcall")):
        return []
    number = min(len(kept[name]["lastcall"]) for name in SHOWN)
    lines = ["| app, as it stands | route | tini: aborted | abandoned | replies lost | s "
             "| lastcall: aborted | abandoned | replies lost | s |",
             "| --- | --- " + "| ---: " * 8 + "|"]
    for name in SHOWN:
        row = ROWS[name]
        lines.append(f"| {row.app.name} | {row.route} | {shown(kept[name]['tini'])} "
                     f"| {shown(kept[name]['lastcall'])} |")
    return [*lines, "", f"Per stop: of {len(kept[SHOWN[0]]['tini'])} stops under tini, {number} under lastcall. "
            f"{os.cpu_count()} cores, servers on the same machine."]


def measure_row(row, servers, stage, directory, stops, wanted, keep):
    for how, number in wanted.items():
        stops.setdefault(how, [])
        while len(stops[how]) < number and (how != "tini" or row.name in SHOWN):
            stop = figures(row, measure(servers, row, how, directory, stage))
            stops[how].append(stop)
            keep()
            if stop["faults"]:
                print(f"not as promised: {row.name}: {stop['faults']} {stop}", flush=True)


def measure_rows(kept, servers, directory, word, wanted, keep, summary):
    """`wanted`: how → number of stops a row. `keep` is called after each; `summary` makes a line of a row's stops."""
    rows = [row for name, row in ROWS.items() if word in name]
    if not rows:
        return
    stage = Stage(os.path.join(directory, "stage"), [row.app for row in rows])
    os.chmod(directory, 0o777)

    def all_of(where, chosen):
        for row in chosen:
            stops = kept.setdefault(row.name, {"bare": [], "lastcall": []})
            measure_row(row, where, stage, directory, stops, wanted, keep)
            print(f"{row.name}: bare {summary(stops['bare'])}   lastcall {summary(stops['lastcall'])}", flush=True)
    all_of(servers, [row for row in rows if not row.app.far])
    far = [row for row in rows if row.app.far]
    if far:
        with FarServers() as others:
            all_of(others, far)
