#!/usr/bin/python3
"""Leaks five handles and then does nothing: one idle, one idle in a read-only transaction that was never ended,
one idle in a transaction with a row written, one whose session the server has ended (CLOSE_WAIT), and one of
Redis. The journal says which:
  O leaked NAME pid fd local-port last-query"""
import os
import signal
import socket

import psycopg2

import journal


def leak(name, last, keep_open):
    """A connection whose last query is `last`, with its transaction left open or not."""
    connection = psycopg2.connect(journal.database_url())
    connection.autocommit = not keep_open
    with connection.cursor() as cursor:
        cursor.execute(last)
    journal.say("O", f"leaked {name} {os.getpid()} {connection.fileno()} {port(connection.fileno())} {last}")
    return connection


def port(fd):
    with socket.socket(fileno=os.dup(fd)) as duplicate:
        name = duplicate.getsockname()
        return name[1] if isinstance(name, tuple) else 0


def end_on_the_server(connection):
    """The server ends that session; this side never looks at it again."""
    with psycopg2.connect(journal.database_url()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.get_backend_pid(),))
    other.close()


def main():
    kept = [leak("idle", "SELECT 1 AS the_idle_one", False),
            leak("reading", "SELECT 2 AS the_reading_one", True),
            leak("writing", "INSERT INTO work(id) VALUES ('never committed')", True),
            leak("ended", "SELECT 3 AS the_ended_one", False)]
    end_on_the_server(kept[-1])
    redis = journal.redis_client(single=True)
    if redis:
        redis.set("leaked", 1)
        fd = redis.connection._sock.fileno()
        journal.say("O", f"leaked redis {os.getpid()} {fd} {port(fd)} set")
    journal.say("O", f"ready {os.getpid()}")
    while True:
        signal.pause()


main()
