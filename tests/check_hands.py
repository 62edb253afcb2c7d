#!/usr/bin/python3
"""Behind `make check-hands`: the sockets of apps at work, duplicated by ptrace, 10,000 times each.

    tests/check_hands.py [--adoptions 10000] [--fresh] [--only WORD] [--table]

Resumable: each series is kept in tests/figures/hands.json as soon as it is over, and a second call goes on with what is
missing. Writes tests/figures/hands.md. Exit code 1 when an app saw an error, or missed anything."""
import argparse
import os
import signal
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "system"))
import adoptions  # noqa: E402
from hold_stage import Stage  # noqa: E402
from kept import keep, load  # noqa: E402
from servers import Servers  # noqa: E402

KEPT = os.path.join(HERE, "figures", "hands.json")
TABLE = os.path.join(HERE, "figures", "hands.md")
APPS = (adoptions.NODE, adoptions.PYTHON, adoptions.GO, adoptions.JVM)
# How many of all: an app with pauses is there for the time alone.
SHARES = {"full load": 1.0, "pauses": 0.1}
COLUMNS = ("adoptions", "handles", "mean_us", "median_us", "p99_us", "longest_us", "not_at_once", "transactions",
           "errors", "not_on_the_server")


def is_good(found):
    return found["errors"] == found["not_on_the_server"] == 0 and found["transactions"] > 0


def row_names(word=""):
    return [(f"{app.name} | {name}", app, name) for app in APPS for name in adoptions.LOADS
            if word in f"{app.name} | {name}"]


def table(kept):
    yield "| app | load | " + " | ".join(name.replace("_", " ").replace(" us", ", us") for name in COLUMNS) + " |"
    yield "| --- | --- " + "| ---: " * len(COLUMNS) + "|"
    for name, _, _ in row_names():
        if name in kept:
            yield f"| {name} | " + " | ".join(str(kept[name][column]) for column in COLUMNS) + " |"


def write_table(kept):
    lines = list(table(kept))
    with open(TABLE, "w", encoding="utf-8") as file:
        file.write("# Duplicates by ptrace, while the app works\n\nWritten by `make check-hands`. An adoption is one stop "
                   "of one thread, which sends all sockets of the app at once;\n"
                   f"{adoptions.GAP_US / 1000:g} ms from one to the next. {os.cpu_count()} cores, the servers on the same "
                   "machine. Not at once: no thread of the app could be had\nwithin the limits, so that it was tried "
                   "again. The loads, and what the columns about the app mean: `tests/system/adoptions.py`.\n\n"
                   + "\n".join(lines) + "\n")
    print("\n".join(lines))
    bad = [name for name, found in kept.items() if not is_good(found)]
    print("".join(f"not as promised: {name}\n" for name in bad), end="")
    return 1 if bad or not kept else 0


def measure(kept, wanted, word):
    missing = [(name, app, load_name, round(wanted * SHARES[load_name])) for name, app, load_name in row_names(word)
               if kept.get(name, {}).get("adoptions", 0) < wanted * SHARES[load_name]]
    if not missing:
        return
    with Servers() as servers, tempfile.TemporaryDirectory(prefix="lastcall-hands-") as directory:
        os.chmod(directory, 0o755)
        stage = Stage(os.path.join(directory, "stage"), [app for _, app, _, _ in missing])
        for name, app, load_name, count in missing:
            kept[name] = adoptions.measure(servers, app, load_name, count, directory, stage)
            keep(KEPT, kept)
            print(f"{name}: {kept[name]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--adoptions", type=int, default=10000, help="of an app under full load (default 10000)")
    parser.add_argument("--fresh", action="store_true", help="forget the kept figures")
    parser.add_argument("--only", default="", help="rows whose name contains this word")
    parser.add_argument("--table", action="store_true", help="only print the table of what is kept")
    options = parser.parse_args()
    kept = load(KEPT, options.fresh)
    if not options.table:
        measure(kept, options.adoptions, options.only)
    return write_table(kept)


signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit("check-hands: interrupted; what was measured is kept, the next call goes on from there")
