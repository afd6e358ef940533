"""Requests to servers of every kind, on real sockets: honest, slow, silent, huge and hostile."""

from __future__ import annotations

import gzip
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailsync.config import Settings
from mailsync.errors import (
    CertificateRejected,
    ForbiddenHost,
    InvalidInput,
    MailsyncError,
    ProtocolError,
    SentTooMuch,
    TimedOut,
    Transient,
)
from mailsync.network.http import LARGEST_HEAD, HttpResponse, request
from tests.support.certificates import Authority
from tests.support.patience import PATIENCE
from tests.support.run_directory import free_port
from tests.support.web_server import WebServer, form_of, response

FORM = {"grant_type": "refresh_token", "refresh_token": "s3cret+/=&ü", "empty": ""}
SECRETS = ("s3cret", "s3cr3t", "Basic")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def serve(authority: Authority) -> Iterator[Callable[..., WebServer]]:
    """Start a server: bytes are sent as they are, a callable makes the pieces from the request."""
    servers = []

    def start(answer: Any, certificate: str | None = "good") -> WebServer:
        pieces = answer if callable(answer) else lambda request: [answer]
        servers.append(WebServer(pieces, getattr(authority, certificate)() if certificate else None))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def settings(authority: Authority) -> Settings:
    return Settings(imap_allow_private_hosts=True, imap_ca_file=authority.ca_file)


def post(server: WebServer, settings: Settings, **more: Any) -> HttpResponse:
    more = {"form": FORM, "headers": {"Authorization": "Basic s3cr3t"}, "seconds": PATIENCE, **more}
    return request(server.url("/token?code=s3cret"), settings, **more)


def fails(kind: type[MailsyncError], server: WebServer, settings: Settings, **more: Any) -> str:
    """Assert that a request fails in this way, without a secret in the message; return the message."""
    with pytest.raises(kind) as caught:
        post(server, settings, **more)
    assert type(caught.value) is kind, repr(caught.value)
    message = str(caught.value)
    assert "localhost" in message
    assert "/token" not in message
    assert not any(secret in message for secret in SECRETS), message
    assert "\n" not in message
    return message


# -- requests --------------------------------------------------------------------------------------------


def test_a_form_is_posted_over_tls(serve: Callable[..., WebServer], settings: Settings) -> None:
    server = serve(response(b'{"a": 1}', "Content-Type: application/json", "X-A: 1", "x-a: 2"))
    answer = post(server, settings)
    assert (answer.status, answer.body) == (200, b'{"a": 1}')
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-a"] == "1, 2"
    head = server.requests[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert head[0] == "POST /token?code=s3cret HTTP/1.1"
    fields = dict(line.lower().split(": ", 1) for line in head[1:])
    assert fields["host"] == f"localhost:{server.port}"
    assert fields["content-type"] == "application/x-www-form-urlencoded"
    assert fields["accept-encoding"] == "identity"
    assert fields["authorization"] == "basic s3cr3t"
    assert form_of(server.requests[0]) == FORM
    assert "application/json" not in repr(answer)
    assert '"a"' not in repr(answer)


def test_without_a_form_it_is_a_get(serve: Callable[..., WebServer], settings: Settings) -> None:
    server = serve(response(b"<a/>"))
    assert request(server.url("?a=b"), settings).body == b"<a/>"
    assert server.requests[0].startswith(b"GET /?a=b HTTP/1.1\r\n")
    assert b"content-" not in server.requests[0].lower()
    assert request(server.url(""), settings, headers={"Accept": "text/xml"}).body == b"<a/>"
    assert server.requests[1].startswith(b"GET / HTTP/1.1\r\n")
    assert b"accept: text/xml\r\n" in server.requests[1].lower()
    assert b"*/*" not in server.requests[1]


def test_http_is_possible_to_this_machine_only(serve: Callable[..., WebServer], settings: Settings) -> None:
    server = serve(response(b"ok"), None)
    assert request(server.url(), settings).body == b"ok"
    with pytest.raises(InvalidInput, match="http to localhost is not encrypted; use https"):
        request(server.url(), Settings())
    with pytest.raises(ForbiddenHost, match=r"a\.example is at 10\.0\.0\.1; use https"):
        request("http://a.example/", settings, look_up=lambda host, port: ["127.0.0.1", "10.0.0.1"])
    assert server.connections == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "//localhost/",
        "https:///token",
        "https://",
        "ftp://localhost/",
        "https://user@localhost/",
        "https://user:s3cret@localhost/",
        "https://localhost/#s3cret",
        "https://localhost:0/",
        "https://localhost:65536/",
        "https://localhost:port/",
        "https://local host/",
        "https://localhost/a b",
        "https://localhost/a\r\nX: y",
        "https://localhost/\0",
        "https://lücal.example/",
        "https://local%68ost/",
        "https://evil.example\\@localhost/",
        "https://localhost\\.evil.example/",
        "https://[::1/",
        "https://[fe80::1%25lo]/",
        "https://[v1.a]/",
        "https://" + "a" * 254 + "/",
        "https://localhost/" + "a" * 2000,
    ],
)
def test_other_urls_are_refused(url: str, settings: Settings) -> None:
    def look_up(host: str, port: int) -> list[str]:
        raise AssertionError(host)

    with pytest.raises(InvalidInput) as caught:
        request(url, settings, look_up=look_up)
    assert type(caught.value) is InvalidInput
    assert str(caught.value).startswith("URL: expected https://host/path")


def test_headers_cannot_be_injected(serve: Callable[..., WebServer], settings: Settings) -> None:
    server = serve(response(b""))
    for value in ("s3cr3t\r\nX: y", "s3cr3t\0", "s3cr3tü", "s3cr3t\n"):
        fails(InvalidInput, server, settings, headers={"Authorization": value})
    assert server.connections == 0


# -- addresses and certificates --------------------------------------------------------------------------


def test_private_addresses_are_refused_before_any_connection(
    serve: Callable[..., WebServer], authority: Authority
) -> None:
    server = serve(response(b"ok"))
    public = Settings(imap_ca_file=authority.ca_file)
    message = fails(ForbiddenHost, server, public)
    assert "is not a public address; set IMAP_ALLOW_PRIVATE_HOSTS=true" in message
    for host in ("127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"):
        with pytest.raises(ForbiddenHost, match="is not a public address"):
            request(f"https://{host}:{server.port}/", public)
    # one private address among public ones is enough
    for addresses in (["127.0.0.1"], ["8.8.8.8", "169.254.169.254"], ["::ffff:10.0.0.1"]):
        with pytest.raises(ForbiddenHost, match=r"rebind\.example resolves to"):
            request("https://rebind.example/", public, look_up=lambda host, port, a=addresses: a)
    assert server.connections == 0


def test_a_name_is_looked_up_once_and_the_certificate_is_for_the_name(
    serve: Callable[..., WebServer], settings: Settings
) -> None:
    server = serve(response(b"ok"))
    asked = []

    def look_up(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    assert request(server.url(), settings, look_up=look_up).body == b"ok"
    assert asked == [("localhost", server.port)]
    with pytest.raises(CertificateRejected, match=r"the certificate of mail\.example does not verify"):
        request(f"https://mail.example:{server.port}/", settings, look_up=look_up)
    assert len(server.requests) == 1


@pytest.mark.parametrize("certificate", ["expired", "wrong_name", "self_signed"])
def test_bad_certificates_are_refused(
    certificate: str, serve: Callable[..., WebServer], settings: Settings
) -> None:
    server = serve(response(b"ok"), certificate)
    assert "the certificate of localhost does not verify" in fails(CertificateRejected, server, settings)
    assert server.requests == []


def test_https_to_a_server_without_tls_fails_by_its_handshake(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(response(b"plain"))
                sock.recv(65536)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(CertificateRejected, match="the TLS handshake with localhost failed"):
            request(f"https://localhost:{listener.getsockname()[1]}/", settings, look_up=_loopback)
        thread.join()


def _loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def test_a_server_that_is_down_is_transient(settings: Settings) -> None:
    with pytest.raises(Transient, match=r"cannot connect to localhost:.*: Connection refused") as caught:
        request(f"https://localhost:{free_port()}/", settings, look_up=_loopback)
    assert (type(caught.value), caught.value.step) == (Transient, "connect")


# -- responses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [204, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
def test_every_status_is_returned_and_no_redirect_is_followed(
    status: int, serve: Callable[..., WebServer], settings: Settings
) -> None:
    body = b"" if status == 204 else b"<html>"
    headers = ("Location: https://10.0.0.1/", "Retry-After: 7", "Content-Type: text/html")
    server = serve(lambda request: [response(body, *headers, status=f"{status} X")])
    answer = post(server, settings)
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["location"] == "https://10.0.0.1/"
    assert answer.headers["retry-after"] == "7"
    assert server.connections == 1


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = {
    "chunks": CHUNKED + b"3\r\nabc\r\n3;x=y\r\ndef\r\n0\r\nTrailer: x\r\n\r\n",
    "until the end": OK + b"\r\nabcdef",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nabcdef",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 6\r\n\r\nabcdef",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + response(b"abcdef"),
    "more after it": response(b"abcdef") + response(b"ghi"),
    "identity": response(b"abcdef", "Content-Encoding: identity"),
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 6\n\nabcdef",
}


@pytest.mark.parametrize("in_bytes", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("kind", GOOD)
def test_every_form_of_a_body_is_read(
    kind: str, in_bytes: bool, serve: Callable[..., WebServer], settings: Settings
) -> None:
    data = GOOD[kind]
    pieces = [data[i : i + 1] for i in range(len(data))] if in_bytes else [data]
    assert post(serve(lambda request: pieces), settings).body == b"abcdef"


BROKEN = {
    "no HTTP": b"220 mail.example ESMTP s3cret\r\n\r\n",
    "HTTP/2": b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\r\n\r\n",
    "bad status": b"HTTP/1.1 2xx OK\r\n\r\n",
    "bad header": OK + b"refresh_token s3cret\r\n\r\n",
    "folded status": OK + b" folded\r\n\r\n",
    "NUL in a header": OK + b"X: a\0b\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "negative length": OK + b"Content-Length: -3\r\n\r\nabc",
    "unknown coding": OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "chunk without a size": CHUNKED + b"s3cret\r\n\r\n",
    "chunk that is longer than its size": CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_not_http_is_refused(kind: str, serve: Callable[..., WebServer], settings: Settings) -> None:
    message = fails(ProtocolError, serve(BROKEN[kind]), settings)
    assert message == "localhost: the response is not valid HTTP"


CUT = {
    "nothing": b"",
    "status": b"HTTP/1.1 200",
    "head": OK + b"Content-Length: 6\r\n",
    "body": OK + b"Content-Length: 6\r\n\r\nabc",
    "chunk": CHUNKED + b"6\r\nabc",
    "last chunk": CHUNKED + b"3\r\nabc\r\n",
    "after continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "text": b"HTP",
}


@pytest.mark.parametrize("kind", CUT)
def test_a_response_that_is_cut_is_transient(
    kind: str, serve: Callable[..., WebServer], settings: Settings
) -> None:
    message = fails(Transient, serve(CUT[kind]), settings)
    assert message == "localhost closed the connection before the end of its response"


def test_a_compressed_body_is_refused(serve: Callable[..., WebServer], settings: Settings) -> None:
    bomb = gzip.compress(b"s3cret" * 10_000)
    message = fails(ProtocolError, serve(response(bomb, "Content-Encoding: gzip")), settings)
    assert "is compressed, although that was not asked for" in message


# -- limits ----------------------------------------------------------------------------------------------


def test_a_body_may_have_as_many_bytes_as_are_allowed(
    serve: Callable[..., WebServer], settings: Settings
) -> None:
    server = serve(lambda request: [response(b"a" * 65536)])
    assert len(post(server, settings).body) == 65536
    assert len(post(server, settings, most=100_000).body) == 65536
    assert "larger than 65535 bytes" in fails(SentTooMuch, server, settings, most=65535)
    one_by_one = serve(CHUNKED + b"1\r\na\r\n" * 65536 + b"0\r\n\r\n")
    assert len(post(one_by_one, settings).body) == 65536


ENDLESS = {
    "body": (OK + b"\r\n", b"s3cret" * 1000, "the response is larger than 65536 bytes"),
    "announced": (OK + b"Content-Length: 1000000000000\r\n\r\n", b"a" * 9999, "larger than 65536 bytes"),
    "chunks": (CHUNKED, b"5\r\nabcde\r\n" * 1000, "the response is larger than 65536 bytes"),
    "status line": (b"HTTP/1.1 200 ", b"a" * 5000, f"is larger than {LARGEST_HEAD} bytes"),
    "header": (OK + b"X: ", b"s3cret" * 1000, f"is larger than {LARGEST_HEAD} bytes"),
    "headers": (OK, b"X: s3cret\r\n" * 1000, f"is larger than {LARGEST_HEAD} bytes"),
    "size of a chunk": (CHUNKED + b"1;", b"a" * 5000, "is larger than"),
    "extensions": (CHUNKED, b"1;" + b"a" * 9999 + b"\r\nb\r\n", "the response does not end"),
    "trailers": (CHUNKED + b"0\r\n", b"X: s3cret\r\n" * 1000, "is larger than"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "the response does not end"),
    "empty lines": (b"", b"\r\n" * 1000, "the response is not valid HTTP"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_does_not_end_is_cut(kind: str, serve: Callable[..., WebServer], settings: Settings) -> None:
    first, again, expected = ENDLESS[kind]
    server = serve(lambda request: itertools.chain([first], itertools.repeat(again)))
    kind_of_error = ProtocolError if "not valid" in expected else SentTooMuch
    assert expected in fails(kind_of_error, server, settings)


def test_a_server_that_drips_is_left_at_the_deadline(
    serve: Callable[..., WebServer], settings: Settings
) -> None:
    def drip(request: bytes) -> Iterator[bytes]:
        yield OK + b"\r\n"
        while not server.stopped.wait(0.01):
            yield b"a"

    server = serve(drip)
    message = fails(TimedOut, server, settings, seconds=0.5)
    assert message == "localhost: the server did not finish: timed out after 0.5 s"


def test_a_silent_server_is_left_at_the_deadline(serve: Callable[..., WebServer], settings: Settings) -> None:
    def wait(request: bytes) -> Iterator[bytes]:
        server.stopped.wait()
        yield b""

    server = serve(wait)
    assert "timed out after 0.5 s" in fails(TimedOut, server, settings, seconds=0.5)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"https://localhost:{deaf.getsockname()[1]}/"
        with pytest.raises(TimedOut, match=r"the TLS handshake with localhost did not finish: .* 0\.5 s"):
            request(url, settings, seconds=0.5, look_up=_loopback)


def test_the_name_server_shares_the_deadline(settings: Settings) -> None:
    asked, over = threading.Event(), threading.Event()

    def look_up(host: str, port: int) -> list[str]:
        asked.set()
        over.wait()
        return ["127.0.0.1"]

    with pytest.raises(TimedOut, match=r"host: slow\.example could not be resolved in 0\.5 s"):
        request("https://slow.example/", settings, seconds=0.5, look_up=look_up)
    over.set()
    assert asked.is_set()


def test_a_wait_calls_back_and_the_callback_may_end_it(
    serve: Callable[..., WebServer], settings: Settings
) -> None:
    def wait(request: bytes) -> Iterator[bytes]:
        server.stopped.wait()
        yield b""

    class Stop(Exception):
        pass

    def stop() -> None:
        if server.requests:
            raise Stop

    server = serve(wait)
    with pytest.raises(Stop):
        post(server, settings, on_wait=stop)


def test_a_response_may_come_before_the_request_was_read(settings: Settings) -> None:
    """A server may refuse a request by its head, and close."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(100)
                sock.sendall(response(b"too long", status="413 Content Too Large"))
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert request(url, settings, form={"a": "b" * 5_000_000}).status == 413
        thread.join()
