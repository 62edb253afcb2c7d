"""gunicorn with threads: one worker, and the port that it was given by the kernel in PORT_FILE."""
import os

worker_class = "gthread"
workers = 1
threads = 8
keepalive = 60
bind = "127.0.0.1:0"
graceful_timeout = 5
worker_tmp_dir = "/dev/shm"


def when_ready(server):
    path = os.environ["PORT_FILE"]
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(str(server.LISTENERS[0].getsockname()[1]))
    os.rename(path + ".new", path)
