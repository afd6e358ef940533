"""The places of the metrics server, when threads cannot start and clients are slow."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from mailsync.ops.metrics_server import _MAX_CONNECTIONS, _Server
from tests.support.run_directory import PATIENCE, free_port


class Source:
    """Renders a text that fills the buffers of a socket."""

    def read(self) -> bytes:
        return b"x" * 8_000_000


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server(free_port(), cast(Any, Source()))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE)


def begin(server: _Server) -> socket.socket:
    client = socket.create_connection(server.server_address[:2], timeout=PATIENCE)
    client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    return client


def first_line(client: socket.socket) -> bytes:
    with client, client.makefile("rb") as stream:
        return stream.readline()


def test_a_thread_that_cannot_start_takes_no_place(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        for _ in range(2 * _MAX_CONNECTIONS):
            with socket.create_connection(server.server_address[:2], timeout=PATIENCE) as client:
                assert client.recv(1) == b""
    assert first_line(begin(server)).startswith(b"HTTP/1.0 200 ")


def test_clients_that_do_not_read_their_answer_lose_their_places(server: _Server) -> None:
    slow = [begin(server) for _ in range(_MAX_CONNECTIONS)]
    for client in slow:
        # the answer has begun, and waits for the client
        assert client.recv(1) == b"H"
    assert first_line(begin(server)).startswith(b"HTTP/1.0 200 ")
    for client in slow:
        client.close()
