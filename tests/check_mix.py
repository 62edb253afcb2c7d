#!/usr/bin/python3
"""Behind `make check-mix`: stops one after the other of apps drawn at random, on any route, as root and as an ordinary
user, on this machine and in containers.

    tests/check_mix.py [--stops 500] [--fresh]

The draw of stop n is always the same. Resumable: each stop is kept in tests/figures/mix.json as soon as it is there. Writes
tests/figures/mix.md. Exit code 1 when a stop was not as its row promises (tests/system/hold_rows.py)."""
import argparse
import os
import random
import signal
import statistics
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "system"))
import boxes  # noqa: E402
import hold_stop  # noqa: E402
import hold_table  # noqa: E402
from hold_rows import APPS, USERS, Row, possible  # noqa: E402
from hold_stage import Stage  # noqa: E402
from kept import keep, load  # noqa: E402
from runner import Run  # noqa: E402
from servers import Servers  # noqa: E402

KEPT = os.path.join(HERE, "figures", "mix.json")
TABLE = os.path.join(HERE, "figures", "mix.md")
BOXED = ("pgbench", "pgbench -C", "threads, Python", "threads, Python, Redis", "threads, C", "two connections a flow")
OUTSIDE = 0.5  # so many of their draws are not put into a box


def draw(number):
    """(row, box or None) of stop `number`."""
    chance = random.Random(number)
    app = chance.choice([app for app in APPS if possible(app) and not app.far])
    row = Row(app, chance.choice(app.routes), chance.choice(USERS))
    boxed = app.name in BOXED and os.geteuid() == 0 and chance.random() > OUTSIDE
    return row, chance.choice(list(boxes.BOXES.values())) if boxed else None


def measure(servers, directory, stage, number):
    row, box = draw(number)
    hold_stop.Run = boxes.run_in(box, stage) if box else Run
    stop = hold_table.figures(row, hold_stop.measure(servers, row, "lastcall", directory, stage))
    return {**stop, "name": f"{row.name}{', in ' + box.name if box else ''}"}


def write_table(kept):
    stops = list(kept.values())
    bad = [f"stop {number}: {stop['name']}: {', '.join(stop['faults'])}"
           for number, stop in sorted(kept.items(), key=lambda item: int(item[0])) if stop["faults"]]
    total = {name: sum(stop[name] for stop in stops)
             for name in ("in_flight", "aborted", "abandoned", "lost", "redis_lost", "half_done", "errors")}
    seconds = [stop["seconds"] for stop in stops]
    words = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in total.items())
    said = f"{len(stops)} stops of {len({stop['name'] for stop in stops})} kinds: {words}.\n\nSeconds: median " \
           f"{statistics.median(seconds):.3f}, longest {max(seconds):.3f}. Not as its row promises: {len(bad)}.\n" \
        if stops else "None yet.\n"
    with open(TABLE, "w", encoding="utf-8") as file:
        file.write("# Stops of a random mix\n\nWritten by `make check-mix`. Some rows end what can only be ended (a query "
                   "beyond the grace,\na JVM by signal): those aborted ones are as promised.\n\n" + said +
                   "".join(f"\n- {line}" for line in bad) + ("\n" if bad else ""))
    print(said + "\n".join(bad))
    return 1 if bad or not stops else 0


def measure_all(kept, wanted):
    missing = [number for number in range(wanted) if str(number) not in kept]
    if not missing:
        return
    with Servers() as servers, tempfile.TemporaryDirectory(prefix="lastcall-mix-") as directory:
        os.chmod(directory, 0o777)
        stage = Stage(os.path.join(directory, "stage"), list({draw(number)[0].app.name: draw(number)[0].app
                                                              for number in missing}.values()))
        for number in missing:
            stop = kept[str(number)] = measure(servers, directory, stage, number)
            keep(KEPT, kept)
            if stop["faults"] or number % 50 == 49:
                print(f"stop {number}: {stop['name']}: {stop['faults'] or 'good'}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--stops", type=int, default=500)
    parser.add_argument("--fresh", action="store_true", help="forget the kept figures")
    options = parser.parse_args()
    kept = load(KEPT, options.fresh)
    measure_all(kept, options.stops)
    return write_table(kept)


signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit("check-mix: interrupted; what was measured is kept, the next call goes on from there")
