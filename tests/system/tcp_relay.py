#!/usr/bin/python3
"""A TCP relay: a proxy that no lastcall knows, between apps and one server. Whatever comes goes on as it is, ends of
streams too; a connection here is one connection there.

With relay(to_address, to_port) as port: it runs, as a process of its own that dies with its starter."""
import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys

from servers import free_port, wait_until


async def pump(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def serve(port, address, to):
    async def connected(reader, writer):
        try:
            there_reader, there_writer = await asyncio.open_connection(address, to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
        for each in (writer, there_writer):
            each.close()
    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def relay(address, to):
    port = free_port()
    process = subprocess.Popen([sys.executable, os.path.abspath(__file__), str(port), address, str(to)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    os.set_blocking(process.stdout.fileno(), False)
    try:
        wait_until(process.stdout.read, 10, "the relay stands")
        yield port
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
