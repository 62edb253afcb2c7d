"""A WSGI application for gunicorn: each request is a transaction, named by its path, on its thread's own connection."""
import os
import sys
import threading

import psycopg2

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from journal import database_url, say  # noqa: E402

OWN = threading.local()


def transaction(name):
    if not hasattr(OWN, "connection"):
        OWN.connection = psycopg2.connect(database_url())
    say("I", name)
    with OWN.connection, OWN.connection.cursor() as cursor:
        cursor.execute("INSERT INTO work(id) VALUES (%s)", (name,))
        cursor.execute("SELECT sum(hits) FROM tally WHERE n < 10")
    say("C", name)


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    try:
        transaction(name)
        status = "200 OK"
    except Exception as error:
        say("E", f"{name} {error}".replace("\n", " "))
        status = "500 Internal Server Error"
    body = b"done\n"
    start_response(status, [("Content-Length", str(len(body)))])
    return [body]
