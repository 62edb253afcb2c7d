"""What the Python apps share: the journal, the clock of their quiet times, their parameters.

The journal says what the *app* knows. One line an event, one write(2) a line, appended, so that a
kill leaves whole lines:
  I id        about to begin a transaction          C id        saw the reply to its COMMIT
  R id        saw the reply to its Redis EXEC       E id text   saw an error
  O text      anything else (ready, what was leaked, which signal came)
"""
import os
import random
import re
import time
import urllib.parse

FD = os.open(os.environ.get("JOURNAL", "/dev/null"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)


def number(name, default):
    return int(os.environ.get(name, default))


def say(kind, text):
    os.write(FD, f"{kind} {text}\n".encode())


def database_url():
    """DATABASE_URL as libpq takes it: `pgbouncer=true` is for frameworks (and for lastcall), not for libpq."""
    url = os.environ["DATABASE_URL"]
    return re.sub(r"\?$", "", re.sub(r"(?<=[?&])pgbouncer=true&?", "", url))


def redis_client(single=False):
    """A client with one connection, or None without REDIS_URL. single: connected now, and for one thread only."""
    if "REDIS_URL" not in os.environ:
        return None
    import redis
    parts = urllib.parse.urlsplit(os.environ["REDIS_URL"])
    name = os.environ["PGAPPNAME"] if "REDIS_NAMED" in os.environ else None  # CLIENT SETNAME
    return redis.Redis(host=parts.hostname, port=parts.port, db=int(parts.path.strip("/") or 0),
                       single_connection_client=single, client_name=name)


# All threads and processes are quiet at the same times, by the machine's monotonic clock: in every PERIOD_MS no
# transaction is begun in the last QUIET_MS + LONGEST_MS, so that with transactions of at most LONGEST_MS the
# last QUIET_MS are quiet.
PERIOD, QUIET, LONGEST = number("PERIOD_MS", 300), number("QUIET_MS", 60), number("LONGEST_MS", 50)
SHORTEST = number("SHORTEST_MS", 5)


def wait_for_turn():
    """Returns when a transaction may begin."""
    while QUIET:
        at = time.monotonic() * 1000 % PERIOD
        if at < PERIOD - QUIET - LONGEST:
            return
        time.sleep((PERIOD - at) / 1000)


def transaction(connection, redis, name, table="work"):
    """One transaction of several statements, SHORTEST to LONGEST ms long; then, with Redis, one MULTI/EXEC."""
    pauses = [random.uniform(SHORTEST, LONGEST) * share / 1000 for share in (0.3, 0.3, 0.2)]
    say("I", name)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table}(id) VALUES (%s)", (name,))
        time.sleep(pauses[0])
        cursor.execute("SELECT sum(hits) FROM tally WHERE n < %s", (random.randrange(100),))
        time.sleep(pauses[1])
        cursor.execute("UPDATE tally SET hits = hits + 1 WHERE n = %s", (random.randrange(100),))
        time.sleep(pauses[2])
    connection.commit()
    say("C", name)
    if redis:
        pipeline = redis.pipeline(transaction=True)
        pipeline.incr("count").rpush("work", name)
        pipeline.execute()
        say("R", name)


def wind_up():
    """What an app does after it has closed its connections: 100 ms of something else, then the end."""
    say("O", "closed")
    time.sleep(0.1)
