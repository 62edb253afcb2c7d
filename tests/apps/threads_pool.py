#!/usr/bin/python3
"""THREADS threads over a psycopg2 pool, transactions of 5-50 ms, quiet together 20 % of the time.

HANDLER=none: SIGTERM ends it as it stands. HANDLER=good: finishes what it does, closes the pool, exits with 0.
HANDLER=no-close: finishes what it does, takes half a second, exits without closing its pool. HANDLER=ignore: goes on
for ever. POOL_EVERY=1 takes the connection from the pool and puts it back for each transaction, as frameworks do.
LONG_QUERY=seconds: beside the threads one connection that sleeps in the server for so long."""
import os
import signal
import threading
import time

import psycopg2.pool

import journal

THREADS = journal.number("THREADS", 8)
HANDLER = os.environ.get("HANDLER", "none")
pool = psycopg2.pool.ThreadedConnectionPool(THREADS, THREADS, journal.database_url())
stopping = threading.Event()


def work(lane):
    redis = journal.redis_client()
    turn = 0
    while not stopping.is_set():
        journal.wait_for_turn()
        turn += 1
        name = f"{os.getpid()}.{lane}.{turn}"
        try:
            connection = pool.getconn()
            journal.transaction(connection, redis, name)
            pool.putconn(connection)
        except Exception as error:  # whatever it is: the app saw an error
            journal.say("E", f"{name} {str(error).splitlines()[0]}")
            return
        time.sleep(0.002)
    if redis and HANDLER == "good":
        redis.close()


def sleep_in_the_server(seconds):
    connection = psycopg2.connect(journal.database_url())
    try:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO work(id) VALUES ('long')")
            journal.say("O", f"long {connection.get_backend_pid()}")
            cursor.execute("SELECT pg_sleep(%s)", (seconds,))
        connection.commit()
        journal.say("C", "long")
    except psycopg2.Error as error:
        journal.say("E", f"long {str(error).splitlines()[0]}")


def main():
    if HANDLER == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif HANDLER != "none":
        signal.signal(signal.SIGTERM, lambda *_: (journal.say("O", "SIGTERM"), stopping.set()))
    threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in range(THREADS)]
    if "LONG_QUERY" in os.environ:
        threading.Thread(target=sleep_in_the_server, args=(float(os.environ["LONG_QUERY"]),), daemon=True).start()
    for thread in threads:
        thread.start()
    journal.say("O", f"ready {os.getpid()}")
    while not stopping.wait(0.05):  # Python runs the handler in this thread, between two waits
        pass
    for thread in threads:
        thread.join()
    if HANDLER == "good":
        pool.closeall()
        journal.wind_up()
    else:
        time.sleep(0.5)
    journal.say("O", "end")
    os._exit(0)


main()
