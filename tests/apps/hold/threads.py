#!/usr/bin/python3
"""LANES threads over a psycopg2 pool, one transaction after the other without a pause between them; lane.py says the
rest. REDIS_URL: MULTI, EXEC after each COMMIT.

FLOW=2: each transaction does another one, on a second connection, before its end.
LONG_QUERY=seconds: beside the threads one connection that sleeps in the server for so long."""
import os
import signal
import threading
import time

import psycopg2.pool

import lane
import journal

pool = psycopg2.pool.ThreadedConnectionPool(lane.LANES * lane.FLOW, lane.LANES * lane.FLOW, journal.database_url())
stopping = threading.Event()
INSERT = "INSERT INTO work(id) VALUES (split_part(%s, ' ', 1))"


def other_transaction(name):
    """The flow's second connection: its own pool entry, its own COMMIT."""
    began, connection = lane.now_ms(), pool.getconn()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.execute(INSERT, (name,))
    connection.commit()
    lane.confirm(name, began)
    pool.putconn(connection)


def transaction(connection, number, name):
    began, gaps = lane.now_ms(), lane.pauses()
    journal.say("I", name)
    with connection.cursor() as cursor:
        cursor.execute(INSERT, (lane.payload(name),))
        time.sleep(gaps[0])
        for gap in gaps[1:-1]:
            cursor.execute("SELECT length(%s), sum(hits) FROM tally WHERE n < 10", (lane.payload(name),))
            time.sleep(gap)
        if lane.FLOW == 2:
            other_transaction("b" + name)
        cursor.execute("UPDATE tally SET hits = hits + 1 WHERE n = %s", (number,))
        time.sleep(gaps[-1])
    connection.commit()
    lane.confirm(name, began)


def redis_transaction(redis, name):
    redis.pipeline(transaction=True).incr("count").rpush("work", name).execute()
    journal.say("R", name)


def work(number):
    redis, turn = journal.redis_client(), 0
    while not stopping.is_set():
        turn += 1
        name = f"{os.getpid()}.{number}.{turn}"
        try:
            connection = pool.getconn()
            transaction(connection, number, name)
            pool.putconn(connection)
            if redis:
                redis_transaction(redis, name)
        except Exception as error:  # whatever it is: the app saw an error
            lane.see_error(name, error)
            return
    if redis:
        redis.close()


def sleep_in_the_server(seconds):
    connection = psycopg2.connect(journal.database_url())
    began = lane.now_ms()
    journal.say("I", "long")
    try:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO work(id) VALUES ('long')")
            cursor.execute("SELECT pg_sleep(%s)", (seconds,))
        connection.commit()
        lane.confirm("long", began)
    except psycopg2.Error as error:
        lane.see_error("long", error)


def main():
    if lane.HANDLER == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif lane.HANDLER == "good":
        signal.signal(signal.SIGTERM, lambda *_: (journal.say("O", "SIGTERM"), stopping.set()))
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(lane.LANES)]
    if "LONG_QUERY" in os.environ:
        seconds = float(os.environ["LONG_QUERY"])
        threads.append(threading.Thread(target=sleep_in_the_server, args=(seconds,), daemon=True))
    for thread in threads:
        thread.start()
    journal.say("O", f"ready {os.getpid()}")
    while not stopping.wait(0.05):  # Python runs the handler in this thread, between two waits
        pass
    for thread in threads:
        thread.join()
    pool.closeall()
    journal.wind_up()
    os._exit(0)


main()
