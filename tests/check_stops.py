#!/usr/bin/python3
"""Behind `make check-stops`: the long table, rows × stops, bare beside lastcall.

    tests/check_stops.py [--stops 20] [--fresh] [--only WORD] [--table]

Resumable: each stop's figures are kept in tests/figures/stops.json as soon as they are there, and a second call goes on
where it was. --fresh starts anew; --table only prints. Writes tests/figures/stops.md. Exit code 1 when a stop under
lastcall aborted, abandoned or lost anything, or took longer than the grace less 0.2 s. Some rows are measured under
tini, too: the README's table."""
import argparse
import dataclasses
import os
import re
import signal
import statistics
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "system"))
import hold_table  # noqa: E402
from database import ROUTES  # noqa: E402
from kept import keep, load  # noqa: E402
from runner import lastcall_program  # noqa: E402
from servers import Servers  # noqa: E402
from stops import measure  # noqa: E402

FIGURES = os.path.join(HERE, "figures")
KEPT = os.path.join(FIGURES, "stops.json")
TABLE = os.path.join(FIGURES, "stops.md")
README = os.path.join(os.path.dirname(HERE), "README.md")
SHOWN = re.compile("(?<=<!-- by make check-stops -->\n).*?(?=<!-- end -->)", re.S)
GRACE_S = 5.0
BARE_STOPS = 5
NO_HANDLER = ("threads", "event loop", "prefork")
GOOD = ("threads, good handler", "event loop, good handler", "prefork, good handler", "threads, leaves the pool open")
ROWS = [(app, route, False) for app in NO_HANDLER for route in ROUTES] + \
       [(app, route, True) for app in NO_HANDLER
        for route in ("direct", "tls", "pgbouncer-transaction", "pgbouncer-session")] + \
       [(app, "direct", True) for app in GOOD]
SUMMED = ("in_flight", "aborted", "abandoned", "lost", "redis_lost", "half_done", "jobs_lost", "errors", "redis_left",
          "killed")


def row_name(app, route, with_redis):
    return f"{app} | {route}{' + Redis' if with_redis else ''}"


def figures(stop):
    found = {name: value for name, value in dataclasses.asdict(stop).items()
             if name not in ("app", "route", "how", "report", "abandoned_by")}
    found["said"] = stop.report["stop"]["aborted"] if stop.report and stop.report["stop"] else None
    return found


def is_good(stop):
    if "faults" in stop:
        return not stop["faults"]
    return not any(stop[name] for name in ("aborted", "abandoned", "lost", "redis_lost", "errors", "redis_left")) \
        and stop["seconds"] <= GRACE_S - 0.2


def summary(stops):
    """aborted of in flight · abandoned · lost · errors · seconds (median, longest)"""
    if not stops:
        return "– | – | – | – | –"
    total = {name: sum(stop.get(name, 0) for stop in stops) for name in SUMMED}
    lost = sum(total[name] for name in ("lost", "redis_lost", "half_done", "jobs_lost"))
    seconds = [stop["seconds"] for stop in stops]
    return (f"{total['aborted']} of {total['in_flight']} | {total['abandoned']} | {lost} | "
            f"{total['errors']} | {statistics.median(seconds):.3f}, {max(seconds):.3f}")


def table(kept):
    yield "| app | route | stops bare, lastcall " \
          "| bare: aborted of open | abandoned | replies lost | errors | seconds: median, longest " \
          "| lastcall: aborted of open | abandoned | replies lost | errors | seconds: median, longest |"
    yield "| --- " * 13 + "|"
    for name in [row_name(*row) for row in ROWS] + list(hold_table.ROWS):
        stops = kept.get(name, {})
        before, after = stops.get("bare", []), stops.get("lastcall", [])
        if before or after:
            yield f"| {name} | {len(before)}, {len(after)} | {summary(before)} | {summary(after)} |"


def write_table(kept):
    after = [stop for stops in kept.values() for stop in stops.get("lastcall", [])]
    bad = [stop for stop in after if not is_good(stop)]
    odd = [f"{name}: {why}" for name, why in hold_table.odd_rows(kept)]
    with open(TABLE, "w", encoding="utf-8") as file:
        file.write("# Stops, bare beside lastcall\n\n"
                   "Written by `make check-stops`; what is counted, and how: `tests/README.md`.\n\n")
        file.write("\n".join(table(kept)) + "\n\n")
        file.write("".join(f"- not as promised: {line}\n" for line in odd))
        file.write(f"{len(after)} stops under lastcall, {len(bad)} of them not as promised.\n")
    print("\n".join(table(kept)))
    print(f"\n{len(after)} stops under lastcall, {len(bad)} of them not as promised; "
          f"{os.path.relpath(TABLE, os.path.dirname(HERE))}")
    print("".join(f"not as promised: {line}\n" for line in odd), end="")
    return 1 if bad or odd or not after else 0


def write_readme(kept):
    lines = hold_table.readme_table(kept)
    with open(README, encoding="utf-8") as file:
        text = file.read()
    if lines and SHOWN.search(text):
        with open(README, "w", encoding="utf-8") as file:
            file.write(SHOWN.sub(lambda _: "\n".join(lines) + "\n", text))


def measure_rows(kept, rows, wanted, word):
    with Servers() as servers, tempfile.TemporaryDirectory(prefix="lastcall-stops-") as directory:
        os.chmod(directory, 0o755)
        for app, route, with_redis in rows:
            name = row_name(app, route, with_redis)
            stops = kept.setdefault(name, {"bare": [], "lastcall": []})
            for how in ("bare", "lastcall"):
                while len(stops[how]) < (min(BARE_STOPS, wanted) if how == "bare" else wanted):
                    stop = figures(measure(servers, app, route, how, directory, with_redis, GRACE_S))
                    stops[how].append(stop)
                    keep(KEPT, kept)
                    if how == "lastcall" and not is_good(stop):
                        print(f"not as promised: {name}: {stop}", flush=True)
            print(f"{name}: bare {summary(stops['bare'])}   lastcall {summary(stops['lastcall'])}", flush=True)
        hold_table.measure_rows(kept, servers, directory, word,
                                {"bare": min(BARE_STOPS, wanted), "tini": min(BARE_STOPS, wanted), "lastcall": wanted},
                                lambda: keep(KEPT, kept), summary)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--stops", type=int, default=20, help="under lastcall, a row (default 20)")
    parser.add_argument("--fresh", action="store_true", help="forget the kept figures")
    parser.add_argument("--only", default="", help="rows whose name contains this word")
    parser.add_argument("--table", action="store_true", help="only print the table of what is kept")
    options = parser.parse_args()
    kept = load(KEPT, options.fresh)
    if not options.table:
        lastcall_program()
        measure_rows(kept, [row for row in ROWS if options.only in row_name(*row)], options.stops, options.only)
    write_readme(kept)
    return write_table(kept)


signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit("check-stops: interrupted; what was measured is kept, the next call goes on from there")
