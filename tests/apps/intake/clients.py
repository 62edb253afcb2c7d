#!/usr/bin/python3
"""clients.py PORT N THINK_LEAST_MS THINK_MOST_MS LEDGER: N keep-alive clients, and what each saw, until SIGTERM.

The ledger, a line an event, with the monotonic time in seconds:
  S id t        is about to send a request on an open connection
  A id t        has the app's answer                     R id t        has a 503
  X id t how    the connection ended without either: cut
  N id t        the same, but it had ended before the request was out
  F - t         a connection was refused
"""
import os
import random
import select
import signal
import socket
import struct
import sys
import threading
import time

PORT, CLIENTS = int(sys.argv[1]), int(sys.argv[2])
LEAST, MOST = float(sys.argv[3]) / 1000, float(sys.argv[4]) / 1000
LEDGER = os.open(sys.argv[5], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
ESTABLISHED = 1


def say(kind, name, more=""):
    os.write(LEDGER, f"{kind} {name} {time.monotonic():.6f} {more}".rstrip().encode() + b"\n")


def connect():
    while True:
        try:
            return socket.create_connection(("127.0.0.1", PORT), timeout=60)
        except ConnectionRefusedError:
            say("F", "-")
            time.sleep(0.005)  # then another try: this is the client's pace, nothing is waited for
        except OSError:
            pass


def has_ended(connection):
    if not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def state(connection):
    return struct.unpack("B", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1))[0]


def read_answer(connection):
    """(status, whether the connection stays open); None: it ended before a whole answer came."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = connection.recv(65536)
        if not part:
            return None
        got += part
    head, body = got.split(b"\r\n\r\n", 1)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    chunked = fields.get(b"transfer-encoding") == b"chunked"
    while not body.endswith(b"0\r\n\r\n") if chunked else len(body) < int(fields[b"content-length"]):
        part = connection.recv(65536)
        if not part:
            return None
        body += part
    return int(head.split()[1]), fields.get(b"connection") != b"close"


def ask(connection, name):
    """One request. True when the connection may be used again."""
    was = 0
    say("S", name)
    try:
        connection.sendall(f"GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        was = state(connection)
        answer, how = read_answer(connection), "end"
    except OSError as error:
        answer, how = None, type(error).__name__
    if answer:
        say({200: "A", 503: "R"}.get(answer[0], "X"), name, "" if answer[0] in (200, 503) else str(answer[0]))
    else:
        say("X" if was == ESTABLISHED else "N", name, how)
    return bool(answer) and answer[1]


def live(number):
    connection, count = connect(), 0
    while True:
        if MOST:
            time.sleep(random.uniform(LEAST, MOST))
        if has_ended(connection):
            connection.close()
            connection = connect()
        count += 1
        if not ask(connection, f"{number}.{count}"):
            connection.close()
            connection = connect()


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
for client in range(CLIENTS):
    threading.Thread(target=live, args=(client,), daemon=True).start()
while True:
    signal.pause()
