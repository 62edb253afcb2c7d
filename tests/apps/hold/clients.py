#!/usr/bin/python3
"""clients.py PORT N: N keep-alive HTTP clients without think time, until the server takes no more connections."""
import http.client
import sys
import threading

PORT, CLIENTS = int(sys.argv[1]), int(sys.argv[2])


def ask():
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    while True:
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except ConnectionRefusedError:
            return
        except (OSError, http.client.HTTPException):
            connection.close()


threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
