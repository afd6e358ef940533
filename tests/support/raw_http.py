"""HTTP by the byte, for requests that no client library would send."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support import planted
from tests.support.programs import API_TOKEN, ROOT

AUTHORIZATION = f"Authorization: Bearer {API_TOKEN}"
_INTERNALS = re.compile(
    r"Traceback|File \"|site-packages|psycopg|pydantic|werkzeug|gunicorn/|<html|SELECT |INSERT |"
    r"account_credentials|message_bodies|mailsync\.(web|store|engine|imap)|" + re.escape(str(ROOT)),
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Response:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@contextlib.contextmanager
def connected(port: int, timeout: float = 60) -> Iterator[socket.socket]:
    """A connection to the API."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        yield sock


def lines(*given: str | bytes, body: bytes = b"") -> bytes:
    """A request of these lines, each followed by CRLF, and an empty line."""
    encoded = [line.encode("latin-1") if isinstance(line, str) else line for line in given]
    return b"\r\n".join([*encoded, b"", b""]) + body


def ask(port: int, *pieces: bytes) -> list[Response]:
    """Send the pieces and nothing else; returns all responses until the server closes."""
    with connected(port) as sock:
        send(sock, pieces)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        return parse(drain(sock))


def send(sock: socket.socket, pieces: Iterable[bytes]) -> int:
    """Send until everything is sent or the server closes; returns how many bytes were sent."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            sock.sendall(piece)
            sent += len(piece)
    return sent


def drain(sock: socket.socket) -> bytes:
    """Read until the server closes or resets the connection."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(65536):
            got += piece
    return got


def parse(data: bytes) -> list[Response]:
    """The responses in `data`, which must be complete; only the last may be a response to HEAD."""
    responses = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        assert re.fullmatch(r"HTTP/1\.[01] \d{3} [ -~]+", first), first
        pairs = [field.partition(": ")[::2] for field in fields]
        assert len({name.lower() for name, _ in pairs}) == len(pairs), f"twice the same header: {pairs}"
        headers = {name.lower(): value for name, value in pairs}
        size = int(headers.get("content-length", 0))
        responses.append(Response(int(first[9:12]), headers, rest[:size]))
        data = rest[size:]
    return responses


def assert_civil(answer: Response, where: object, *statuses: int) -> None:
    """Assert a success or a problem document that reveals no internals; `statuses` limits the status."""
    about = f"{where!r:.300}: {answer.status} {answer.body[:500]!r}"
    assert answer.status < 500, about
    assert not statuses or answer.status in statuses, about
    text = f"{answer.headers}\n{answer.body.decode(errors='replace')}"
    assert not planted.found_in(text), about
    assert "evil" not in {name.lower() for name in answer.headers}, about
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json", about
        assert not _INTERNALS.search(text), about
        if answer.body:
            document = answer.json()
            assert (document["type"], document["status"]) == ("about:blank", answer.status), about
            assert document["request_id"] == answer.headers["x-request-id"], about
