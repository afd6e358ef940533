"""The web server that a browser is sent back to: junk, silence, wrong answers, and the right one."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailsync.cli.loopback import ADDRESS, Loopback
from mailsync.errors import GrantRejected, InvalidInput
from tests.support.patience import PATIENCE


def read(address: str) -> str:
    """Accept ``?code=…``, and an error of the provider."""
    if "error" in address:
        raise GrantRejected("the person refused")
    if not address.startswith("/?code="):
        raise InvalidInput("expected a code")
    return address.removeprefix("/?code=")


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with Loopback(read) as running:
        yield running


def get(loopback: Loopback, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
    """The status, headers and text of an answer."""
    client = http.client.HTTPConnection(ADDRESS, loopback.port, timeout=PATIENCE)
    try:
        client.request(method, path)
        answer = client.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        client.close()


def test_the_right_answer_ends_the_wait(loopback: Loopback) -> None:
    # a browser can be faster than we are
    status, headers, text = get(loopback, "/?code=abc")
    assert loopback.wait(PATIENCE) == "abc"
    assert status == 200
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert "close this page" in text
    assert "abc" not in text


def test_junk_does_not_end_the_wait(loopback: Loopback) -> None:
    with ThreadPoolExecutor() as pool, contextlib.ExitStack() as silent:
        for _ in range(20):
            silent.enter_context(socket.create_connection((ADDRESS, loopback.port)))
        waiting = pool.submit(loopback.wait, PATIENCE)
        assert get(loopback, "/?state=of-another")[0] == 400
        assert get(loopback, "/favicon.ico")[0] == 404
        assert get(loopback, "/a?code=abc")[0] == 404
        assert get(loopback, "/?code=abc", "POST")[0] == 501
        assert get(loopback, "/?" + "a" * 70_000)[0] == 414
        for junk in (
            b"\0\xff" * 100 + b"\r\n\r\n",
            b"GET /?co",
            b"GET http://[::1 HTTP/1.1\r\n\r\n",
        ):
            with socket.create_connection((ADDRESS, loopback.port)) as broken:
                broken.sendall(junk)
        assert not waiting.done()
        get(loopback, "/?code=abc")
        assert waiting.result(PATIENCE) == "abc"


def test_a_refusal_ends_the_wait(loopback: Loopback) -> None:
    assert get(loopback, "/?error=access_denied")[0] == 200
    with pytest.raises(GrantRejected, match=r"^the person refused$"):
        loopback.wait(PATIENCE)


def test_the_wait_ends_in_time(loopback: Loopback) -> None:
    assert loopback.wait(0.01) is None


def test_only_this_machine_can_connect(loopback: Loopback) -> None:
    names = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for name in names - {ADDRESS}:
        with pytest.raises(OSError), socket.create_connection((name, loopback.port), timeout=PATIENCE):
            pass


def test_nothing_is_left_afterwards() -> None:
    with Loopback(read) as loopback:
        port = loopback.port
        assert get(loopback, "/")[0] == 400
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((ADDRESS, port), timeout=PATIENCE)
