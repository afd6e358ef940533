"""Crowds of clients that send nothing, or a byte now and then."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from tests.support.patience import PATIENCE, Stopwatch

SILENT, DRIPPING = 1000, 100


@contextmanager
def crowd(port: int, sent: bytes) -> Iterator[None]:
    """Clients that have sent `sent`; some send another byte twice a second, and reconnect when cut off."""
    done = threading.Event()

    def join() -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        with suppress(ConnectionError):
            sock.sendall(sent)
        sock.setblocking(False)
        return sock

    def drip(dripping: list[socket.socket]) -> None:
        while not done.wait(0.5):
            for n, sock in enumerate(dripping):
                try:
                    sock.send(b"a")
                except BlockingIOError:
                    continue
                except OSError:
                    sock.close()
                    try:
                        dripping[n] = join()
                    except ConnectionError:
                        return  # the service has ended

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    silent: list[socket.socket] = []
    dripping: list[socket.socket] = []
    try:
        with ThreadPoolExecutor(1) as pool:
            silent += (join() for _ in range(SILENT))
            dripping += (join() for _ in range(DRIPPING))
            drips = pool.submit(drip, dripping)
            try:
                yield
            finally:
                done.set()
                drips.result()
    finally:
        # a descriptor above 1,023 would break later calls of select() in this process
        for sock in (*silent, *dripping):
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def slowest(ask: Callable[[], object], times: int = 20) -> float:
    """Seconds that the slowest of `times` calls took."""
    took = []
    for _ in range(times):
        watch = Stopwatch()
        ask()
        took.append(watch.stop())
    return max(took)
