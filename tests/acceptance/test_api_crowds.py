"""Crowds without a token, silent or dripping: nobody else waits for them."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from tests.acceptance.api import Api, StartApi
from tests.acceptance.raw import lines
from tests.servers.patience import PATIENCE, Stopwatch

HOST = "Host: localhost"
LIVE = "GET /health/live HTTP/1.1"
SILENT, DRIPPING = 1000, 100

# what each of a crowd sends before it says nothing more, or one byte now and then
SHAPES = {
    "nothing": b"",
    "half a request line": b"GET /heal",
    "headers without the last line": lines(LIVE, HOST)[:-2] + b"X-A: ",
    "half a body": lines("POST /v1/accounts HTTP/1.1", HOST, "Content-Length: 100000", body=b"{"),
    "half a chunk": lines("POST /v1/accounts HTTP/1.1", HOST, "Transfer-Encoding: chunked", body=b"fff\r\n{"),
    "a request": lines(LIVE, HOST),
    "a last request": lines(LIVE, HOST, "Connection: close"),
    "a request and half of the next": lines(LIVE, HOST) + b"GET",
}


@pytest.fixture(autouse=True, scope="module")
def many_files() -> Iterator[None]:
    """Let this process, and the API below it, hold a crowd's connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def crowd(port: int, said: bytes) -> Iterator[None]:
    """Clients that have said so much; some of them send a byte twice a second, and come back when cut off."""
    done = threading.Event()

    def join() -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        with suppress(ConnectionError):
            sock.sendall(said)
        sock.setblocking(False)
        return sock

    def drip() -> None:
        dripping = [join() for _ in range(DRIPPING)]
        begun.set()
        while not done.wait(0.5):
            for n, sock in enumerate(dripping):
                try:
                    sock.send(b"a")
                except BlockingIOError:
                    continue
                except OSError:
                    sock.close()
                    dripping[n] = join()
        for sock in dripping:
            sock.close()

    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        silent = [join() for _ in range(SILENT)]
        drips = pool.submit(drip)
        begun.wait(PATIENCE)
        try:
            yield
        finally:
            done.set()
            drips.result()
            for sock in silent:
                sock.close()


def slowest(api: Api, times: int) -> float:
    """Seconds that the slowest of so many answers took, each on a connection of its own."""
    took = []
    for _ in range(times):
        watch = Stopwatch()
        assert api.get("/health/live").status == 200
        took.append(watch.stop())
    return max(took)


@pytest.mark.parametrize("shape", SHAPES)
def test_nobody_waits_for_a_crowd(start_api: StartApi, shape: str) -> None:
    api = start_api(WEB_CONCURRENCY="1")
    with crowd(api.port, SHAPES[shape]):
        took = slowest(api, 20)
    assert took < 1, shape
    assert "Traceback" not in api.process.output
