"""What the Python apps of the hold rows share: parameters, and the journal's line about a finished transaction.

The journal is that of ../journal.py, with one kind of line more, written in one go with C:
  T id began ended       CLOCK_MONOTONIC, ms: what a stop's length is compared with
"""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import journal  # noqa: E402

LANES = journal.number("LANES", 8)
SHORTEST, LONGEST = journal.number("SHORTEST_MS", 5), journal.number("LONGEST_MS", 50)
STATEMENTS = journal.number("STATEMENTS", 3)
SIZE = journal.number("SIZE", 0)                # bytes that each write carries beside the id
FLOW = journal.number("FLOW", 1)                # 2: each transaction needs a second connection before its end
HANDLER = os.environ.get("HANDLER", "none")     # none, good, ignore


def now_ms():
    return time.monotonic() * 1000


def pauses():
    """The gaps inside one transaction, in seconds: one after each statement, together SHORTEST to LONGEST ms."""
    gap = random.uniform(SHORTEST, LONGEST) / 1000 / STATEMENTS
    return [gap] * STATEMENTS


def payload(name):
    """What carries the id to the server; `split_part(…, ' ', 1)` there takes it out again."""
    return f"{name} {'x' * SIZE}" if SIZE else name


def confirm(name, began, more=""):
    """The app has seen the reply to COMMIT."""
    journal.say("C", f"{name}\nT {name} {began:.1f} {now_ms():.1f}{more}")


def see_error(name, error):
    lines = str(error).splitlines() or [type(error).__name__]
    journal.say("E", f"{name} {lines[0]}")
