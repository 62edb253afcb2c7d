#!/usr/bin/python3
"""LANES threads as in threads.py, and beside them handles that are never quiet or never alive in the ordinary way:
a session that LISTENs and does not read what comes, JOBS threads in BLPOP, a connection whose session the server ended.

Each transaction notifies the listener; after each COMMIT a job is pushed, which one of the BLPOP threads takes. The
journal's `R id` is a push whose reply was seen, `P id` a job that was taken."""
import os
import threading
import time

import psycopg2

import lane
import journal

JOBS = journal.number("JOBS", 4)
INSERT = "INSERT INTO work(id) VALUES (%s)"


def listen():
    """Notifications arrive and lie unread."""
    connection = psycopg2.connect(journal.database_url())
    connection.autocommit = True
    connection.cursor().execute("LISTEN news")
    return connection


def ended_by_the_server():
    """Its session is gone, the FATAL message and the end of stream lie unread."""
    victim, killer = psycopg2.connect(journal.database_url()), psycopg2.connect(journal.database_url())
    killer.autocommit = True
    with killer.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", (victim.get_backend_pid(),))
    killer.close()
    return victim


def work(number):
    connection, redis, turn = psycopg2.connect(journal.database_url()), journal.redis_client(single=True), 0
    while True:
        turn += 1
        name = f"{os.getpid()}.{number}.{turn}"
        try:
            began, gaps = lane.now_ms(), lane.pauses()
            journal.say("I", name)
            with connection.cursor() as cursor:
                cursor.execute(INSERT, (name,))
                time.sleep(gaps[0])
                cursor.execute("SELECT pg_notify('news', %s)", (name,))
                time.sleep(gaps[1])
            connection.commit()
            lane.confirm(name, began)
            redis.pipeline(transaction=True).rpush("work", name).rpush("jobs", name).execute()
            journal.say("R", name)
        except Exception as error:  # whatever it is: the app saw an error
            lane.see_error(name, error)
            return


def take_jobs():
    redis = journal.redis_client(single=True)
    while True:
        try:
            journal.say("P", redis.blpop("jobs")[1].decode())
        except Exception as error:  # whatever it is: the app saw an error
            lane.see_error("blpop", error)
            return


def main():
    kept = [listen(), ended_by_the_server()]
    targets = [(work, (number,)) for number in range(lane.LANES)] + [(take_jobs, ())] * JOBS
    threads = [threading.Thread(target=target, args=arguments, daemon=True) for target, arguments in targets]
    for thread in threads:
        thread.start()
    journal.say("O", f"ready {os.getpid()} {len(kept)}")
    for thread in threads:
        thread.join()
    threading.Event().wait()


main()
