"""Whose session is whose: one socket in several processes is one handle; behind translated addresses and behind poolers a
session is known by its name, exactly where the name tells, and what is not known is said to be."""
import os

import pytest

from reports import target_of, valid
from runner import Journal, lastcall, python_app
from servers import wait_until
from stops import count, end_by_signal, warm_up

GRACE_S = 5.0


# -- one socket, several holders ---------------------------------------------------------------------------------------


SHARED = {
    "fork": {},
    "fork, the parent closes": {"PARENT": "closes"},
    "fork, a child ends": {"DIES": "1"},
    "message": {"SHARE": "message"},
    "message, the parent closes": {"SHARE": "message", "PARENT": "closes"},
    "dup": {"SHARE": "dup"},
}


def stop_shared(database, directory, environment):
    """One stop at full load: (stop, run, journal)."""
    journal = Journal(os.path.join(directory, "shared.journal"))
    env = {**database.environment("direct", False), "JOURNAL": journal.path, "QUIET_MS": "0", **environment}
    run = lastcall(python_app("shared_socket"), directory, env=env, grace=f"{GRACE_S:g}s")
    with run:
        warm_up(run, journal)
        if "DIES" in environment:
            wait_until(lambda: journal.notes("ended"), 5, "a child ends")
        in_flight = wait_until(database.in_transaction, 5, "a transaction is open", step=0.001)
        seconds, code = end_by_signal(run, "lastcall", GRACE_S)
    stop = count("shared", "direct", "lastcall", database, journal, run, seconds, code, in_flight)
    return stop, run, journal


def holders_of(connection):
    return {(holder["pid"], holder["fd"]) for holder in connection["holders"]}


def assert_nothing_lost(stop, run):
    assert (stop.aborted, stop.abandoned, stop.lost, stop.errors) == (0, 0, 0, 0), f"{stop}\n{run.err()}"


@pytest.mark.parametrize("how", SHARED)
def test_a_shared_socket_is_one_handle(database, directory, how):
    """At full load, with no handler: held once, handed back once, and all who held it are named."""
    stop, run, journal = stop_shared(database, directory, SHARED[how])
    assert_nothing_lost(stop, run)
    target = target_of(valid(stop.report), "postgres")
    assert (target["handles"], target["leaked"], len(target["connections"])) == (1, 1, 1), target
    assert (target["handed_back"], target["sessions_killed"]) == (1, stop.killed), (target, stop)
    connection = target["connections"][0]
    ended = {int(words[1]) for words in journal.notes("ended")}
    held = {(int(words[1]), int(words[2])) for words in journal.notes("holder") if int(words[1]) not in ended}
    assert holders_of(connection) == held and connection["descriptors"] == len(held), (connection, held, run.err())
    assert (connection["pid"], connection["fd"]) in held
    assert stop.seconds < 1.0, (stop, run.err())


@pytest.mark.parametrize("how", ["fork", "message", "dup"])
def test_a_holder_that_closes_is_not_the_end(database, directory, how):
    """On SIGTERM the main process closes its own; another holder goes on, and says goodbye: nothing leaked, and nobody
    has said anything on it in between."""
    stop, run, _ = stop_shared(database, directory, {**SHARED[how], "HANDLER": "late"})
    assert_nothing_lost(stop, run)
    target = target_of(valid(stop.report), "postgres")
    assert (target["handles"], target["closed_by_app"], target["leaked"]) == (1, 1, 0), (target, run.err())
    assert stop.killed == 0 and stop.code == 0, stop
