#!/usr/bin/python3
"""One PostgreSQL session whose socket several processes hold, and use in turn: one after the other, whole transactions,
with a millisecond between them, so that each gets its turn. They speak the protocol themselves, so that each of them
can.

SHARE=fork      the parent connects, and forks CHILDREN children
SHARE=message   the children are there first, and get the descriptor in a message (SCM_RIGHTS)
SHARE=dup       no children: the process has it twice, by dup(2), and uses the second one
PARENT=closes   the parent closes its own once the children have theirs
DIES=1          one child ends, without a word on the socket, once it has done a transaction
HANDLER=none    nobody handles SIGTERM
HANDLER=late    on SIGTERM the main process closes its descriptor without a word. The others go on for LATE_MS and end,
                the last one with the protocol's goodbye.

The journal is that of journal.py; "O holder PID FD" names each who holds it."""
import os
import random
import select
import signal
import socket
import struct
import time

import psycopg2

import journal

CHILDREN, LATE = journal.number("CHILDREN", 4), journal.number("LATE_MS", 250) / 1000
SHARE, HANDLER = os.environ.get("SHARE", "fork"), os.environ.get("HANDLER", "none")
TURN_READ, TURN_WRITE = os.pipe()  # one byte in it: whoever has read it has the turn
stopping, kept = False, []


def stop(*_):
    global stopping
    stopping = True


def write(fd, data):
    while data:
        try:
            data = data[os.write(fd, data):]
        except BlockingIOError:
            select.select([], [fd], [])


def read(fd):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll()
    data = os.read(fd, 65536)
    if not data:
        raise EOFError("the server has closed")
    return data


def ask(fd, sql):
    """A simple query, to its ReadyForQuery."""
    text, data, at = sql.encode() + b"\0", b"", 0
    write(fd, b"Q" + struct.pack("!i", len(text) + 4) + text)
    while True:
        while len(data) - at < 5 or len(data) - at < 1 + struct.unpack_from("!i", data, at + 1)[0]:
            data += read(fd)
        kind, length = data[at:at + 1], struct.unpack_from("!i", data, at + 1)[0]
        if kind == b"E":
            raise RuntimeError(repr(data[at + 5:at + length]))
        if kind == b"Z":
            return
        at += 1 + length


def goodbye(fd):
    write(fd, b"X\0\0\0\4")
    os.close(fd)


def transaction(fd, name):
    pauses = [random.uniform(journal.SHORTEST, journal.LONGEST) / 2000 for _ in range(2)]
    journal.say("I", name)
    ask(fd, "BEGIN")
    ask(fd, f"INSERT INTO work(id) VALUES ('{name}')")
    time.sleep(pauses[0])
    ask(fd, "UPDATE tally SET hits = hits + 1 WHERE n = 7")
    time.sleep(pauses[1])
    ask(fd, "COMMIT")
    journal.say("C", name)


def take_turns(fd, dies=False):
    """Until told to stop; the turn is given on, also by who ends."""
    turn = 0
    while not stopping:
        os.read(TURN_READ, 1)
        turn += 1
        name = f"{os.getpid()}.{turn}"
        try:
            if not stopping:
                transaction(fd, name)
        except Exception as error:  # whatever it is: the app saw an error
            journal.say("E", f"{name} {error}")
            os._exit(1)
        os.write(TURN_WRITE, b"t")
        if dies:
            journal.say("O", f"ended {os.getpid()}")
            return
        time.sleep(0.001)  # else it takes the turn again before the others are awake: for seconds, sometimes


def child(number, channel, fd):
    signal.signal(signal.SIGTERM, stop if HANDLER == "late" else signal.SIG_DFL)
    if channel:
        fd = socket.recv_fds(channel, 1, 1)[1][0]
    journal.say("O", f"holder {os.getpid()} {fd}")
    take_turns(fd, dies=number == CHILDREN - 1 and "DIES" in os.environ)
    if stopping and number == 0:
        goodbye(fd)
    os._exit(0)


def fork_children(fd, channels):
    """Their pids. With channels: they wait for the descriptor there."""
    pids = []
    for number in range(CHILDREN):
        pid = os.fork()
        if pid == 0:
            child(number, channels[number][1] if channels else None, fd)
        pids.append(pid)
    return pids


def connect():
    """The session's descriptor. The connection object is kept, so that libpq says nothing on it: all end by _exit."""
    kept.append(psycopg2.connect(journal.database_url()))
    return kept[0].fileno()


def end_children(pids):
    """All but the first one, then that one: it says goodbye."""
    for group in (pids[1:], pids[:1]):
        for pid in group:
            os.kill(pid, signal.SIGTERM)
        for pid in group:
            os.waitpid(pid, 0)


def lead_children():
    channels = [socket.socketpair() for _ in range(CHILDREN)] if SHARE == "message" else None
    pids = fork_children(-1, channels) if channels else []
    fd = connect()
    for ours, _ in channels or []:
        socket.send_fds(ours, [b"f"], [fd])
    pids = pids or fork_children(fd, None)
    closes = os.environ.get("PARENT") == "closes"
    if closes:
        os.close(fd)
    else:
        journal.say("O", f"holder {os.getpid()} {fd}")
    journal.say("O", f"ready {os.getpid()}")
    while not stopping:
        time.sleep(0.05)
    if not closes:
        os.close(fd)
    time.sleep(LATE)
    end_children(pids)
    os._exit(0)


def hold_twice():
    fd = connect()
    again = os.dup(fd)
    for each in (fd, again):
        journal.say("O", f"holder {os.getpid()} {each}")
    journal.say("O", f"ready {os.getpid()}")
    take_turns(again)
    os.close(fd)
    time.sleep(LATE)
    transaction(again, f"{os.getpid()}.late")
    goodbye(again)
    os._exit(0)


def main():
    os.write(TURN_WRITE, b"t")
    if HANDLER == "late":
        signal.signal(signal.SIGTERM, stop)
    hold_twice() if SHARE == "dup" else lead_children()


main()
