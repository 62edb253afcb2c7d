#!/usr/bin/python3
"""A master and CHILDREN children, each with its own connection, like gunicorn or Celery.

HANDLER=none: neither master nor children handle SIGTERM. HANDLER=good: the master passes SIGTERM on, the children
finish what they do and close, the master waits for them."""
import os
import signal
import sys

import psycopg2

import journal

GOOD = os.environ.get("HANDLER", "none") == "good"
stopping = False


def stop(*_):
    global stopping
    stopping = True


def child(lane):
    if GOOD:
        signal.signal(signal.SIGTERM, stop)
    redis = journal.redis_client()
    connection = psycopg2.connect(journal.database_url())
    journal.say("O", f"child {os.getpid()}")
    turn = 0
    while not stopping:
        journal.wait_for_turn()
        turn += 1
        name = f"{os.getpid()}.{lane}.{turn}"
        try:
            journal.transaction(connection, redis, name)
        except Exception as error:
            journal.say("E", f"{name} {str(error).splitlines()[0]}")
            os._exit(1)
    connection.close()
    if redis:
        redis.close()
    journal.wind_up()
    os._exit(0)


def main():
    children = []
    for lane in range(journal.number("CHILDREN", 4)):
        pid = os.fork()
        if pid == 0:
            child(lane)
        children.append(pid)
    if GOOD:
        signal.signal(signal.SIGTERM, lambda *_: [os.kill(pid, signal.SIGTERM) for pid in children])
    journal.say("O", f"ready {os.getpid()}")
    for pid in children:
        os.waitpid(pid, 0)
    journal.say("O", "end")
    sys.exit(0)


main()
