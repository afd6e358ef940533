"""Malformed and endless HTTP: refused with a problem document or cut off in time, and delays nobody else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.support.api import AUTHORIZED, Api, StartApi
from tests.support.raw_http import AUTHORIZATION, ask, assert_civil, connected, drain, lines, parse, send
from tests.support.run_directory import wait_until

HOST = "Host: localhost"
LIVE = "GET /health/live HTTP/1.1"
POST = "POST /v1/x HTTP/1.1"
JSON = "Content-Type: application/json"
MIB = 1 << 20


@pytest.fixture
def victim(start_api: StartApi) -> Iterator[Api]:
    """An API of two processes, which must not fail."""
    api = start_api(WEB_CONCURRENCY="2")
    wait_until(lambda: len(workers(api)) == 2, "both processes")
    before = workers(api)
    yield api
    assert api.get("/health/live").status == 200
    assert workers(api) == before, "no process died"
    assert [record for record in api.process.records() if record["level"] == "ERROR"] == []
    assert "Traceback" not in api.process.output


def workers(api: Api) -> list[int]:
    return sorted(process.pid for process in psutil.Process(api.process.pid).children())


def memory(api: Api) -> int:
    """Bytes of memory of the processes."""
    return sum(psutil.Process(pid).memory_info().rss for pid in workers(api))


MALFORMED = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "another protocol": lines("GET /health/live HTTP/9.9", HOST),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two hosts": lines(LIVE, HOST, "Host: other"),
    "blank before colon": lines(LIVE, HOST, "X-A : 1"),
    "folded header": lines(LIVE, HOST, "X-A: 1", " 2"),
    "no colon": lines(LIVE, HOST, "hello"),
    "no name": lines(LIVE, HOST, ": 1"),
    "NUL in a header": lines(LIVE, HOST, b"X-A: \x00"),
    "CR in a header": lines(LIVE, HOST, b"X-A: 1\rEvil: 1"),
    "CR behind a header": lines(LIVE, HOST, b"X-A: 1\r"),
    "CR in a name": lines(LIVE, HOST, b"X\r-A: 1"),
    "CR in the path": lines(b"GET /health/live\rx HTTP/1.1", HOST),
    "CR in the query": lines(b"GET /health/live?a\rx HTTP/1.1", HOST),
    "CR behind the version": lines(LIVE.encode() + b"\r", HOST),
    "LF in a header": lines(LIVE, HOST, b"X-A: 1\nEvil: 1"),
    "LF for each line": LIVE.encode() + b"\nHost: localhost\n\n",
    "LF for the first line": LIVE.encode() + b"\nHost: localhost\r\n\r\n",
    "LF for the last lines": LIVE.encode() + b"\r\nHost: localhost\n\n",
    "folded first header": lines(LIVE, " X-A: 1", HOST),
    "control in a header": lines(LIVE, HOST, b"X-A: \x01"),
    "DEL in a header": lines(LIVE, HOST, b"X-A: \x7f"),
    "blank in the path": lines("GET /health/live x HTTP/1.1", HOST),
    "control in the method": lines("GE\x01T /health/live HTTP/1.1", HOST),
    "length and chunks": lines(
        "POST /v1/x HTTP/1.1", HOST, "Content-Length: 6", "Transfer-Encoding: chunked", body=b"0\r\n\r\nG"
    ),
    "two lengths": lines(POST, HOST, "Content-Length: 0", "Content-Length: 5", body=b"GET /"),
    "lengths in one": lines(POST, HOST, "Content-Length: 5, 5", body=b"GET /"),
    "length with a sign": lines(POST, HOST, "Content-Length: +5", body=b"GET /"),
    "negative length": lines(POST, HOST, "Content-Length: -1"),
    "length in hex": lines(POST, HOST, "Content-Length: 0x5", body=b"GET /"),
    "length in other digits": lines(POST, HOST, b"Content-Length: \xb2", body=b"GET /"),
    "chunked twice": lines(POST, HOST, "Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "chunked in two lines": lines(
        POST, HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "chunked, then not": lines(POST, HOST, "Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "chunked, then as it is": lines(POST, HOST, "Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "as it is": lines(POST, HOST, "Transfer-Encoding: identity", body=b"0\r\n\r\n"),
    "packed only": lines(POST, HOST, "Transfer-Encoding: gzip", "Content-Length: 5", body=b"0\r\n\r\n"),
    "chunked behind a tab": lines(POST, HOST, b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "hardly chunked": lines(POST, HOST, "Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked in 1.0": lines("POST / HTTP/1.0", HOST, "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
}  # fmt: skip


def test_malformed_requests_are_refused_and_the_connection_closed(victim: Api) -> None:
    for name, request in MALFORMED.items():
        # the bytes that follow are not parsed as a request
        answers = ask(victim.port, request, lines("GET /v1/smuggled HTTP/1.1", HOST, AUTHORIZATION))
        (answer,) = answers
        if answer.status == 501:
            assert name in ("hardly chunked", "chunked behind a tab")
            assert answer.headers["content-type"] == "application/problem+json"
        else:
            assert_civil(answer, name, 400)
        assert answer.headers["connection"] == "close"
    for long, status in (("/" + "a" * 9000, 414), ("/health/live?" + "a" * 9000, 414)):
        (answer,) = ask(victim.port, lines(f"GET {long} HTTP/1.1", HOST))
        assert_civil(answer, long, status)


def test_http_1_0_and_pipelining_clients_are_served(victim: Api) -> None:
    (old,) = ask(victim.port, lines("GET /health/live HTTP/1.0"), lines(LIVE, HOST))
    assert (old.status, old.headers["connection"]) == (200, "close")
    many = [lines(f"GET /nowhere/{n} HTTP/1.1", HOST, f"X-Request-Id: {n}", AUTHORIZATION) for n in range(50)]
    answers = ask(victim.port, b"".join(many))
    assert [(answer.status, answer.headers["x-request-id"]) for answer in answers] == [
        (404, str(n)) for n in range(50)
    ]


CHUNKS = {
    "CR in an extension": b"2;a\rb\r\n{}\r\n0\r\n\r\n",
    "LF in an extension": b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "LF behind a size": b"2\n{}\r\n0\r\n\r\n",
    "CR behind a chunk": b"2\r\n{}\r\r0\r\n\r\n",
    "nothing behind a chunk": b"2\r\n{}0\r\n\r\n",
    "size with a sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "size with a prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "size in groups": b"0_2\r\n{}\r\n0\r\n\r\n",
    "no size": b";a\r\n{}\r\n0\r\n\r\n",
    "CR in a trailer": b"2\r\n{}\r\n0\r\nX-A: 1\r2\r\n\r\n",
    "length in a trailer": b"2\r\n{}\r\n0\r\nContent-Length: 4\r\n\r\n",
    "a token in a trailer": b"2\r\n{}\r\n0\r\n" + AUTHORIZATION.encode() + b"\r\n\r\n",
}


def test_chunks_are_parsed_strictly_and_data_after_a_bad_one_is_not_a_request(victim: Api) -> None:
    start = "POST /v1/accounts HTTP/1.1", HOST, AUTHORIZATION, JSON, "Transfer-Encoding: chunked"
    hidden = lines("GET /v1/smuggled HTTP/1.1", HOST, AUTHORIZATION)
    for name, body in CHUNKS.items():
        (answer,) = ask(victim.port, lines(*start, body=body), hidden)
        assert_civil(answer, name, 400)
        assert answer.headers["connection"] == "close", name
    # valid chunks: the empty object lacks fields, and the connection serves the next request
    for body in (b"2;a=b\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n0\r\nX-A: 1\r\n\r\n"):
        answers = ask(victim.port, lines(*start, body=body), hidden)
        assert [answer.status for answer in answers] == [422, 404]


@pytest.mark.parametrize("framing", ["a length", "chunks", "a chunk that does not come"])
def test_the_content_of_a_refused_body_is_not_a_request(victim: Api, framing: str) -> None:
    hidden = lines("GET /v1/smuggled HTTP/1.1", HOST, AUTHORIZATION)
    frame, body = {
        "a length": (f"Content-Length: {len(hidden)}", hidden),
        "chunks": ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)),
        "a chunk that does not come": ("Transfer-Encoding: chunked", b"fffff\r\n" + hidden),
    }[framing]
    for status, method, path, *headers in (
        (401, "POST", "/v1/accounts", JSON),
        (401, "GET", "/v1/accounts"),
        (404, "POST", "/v1/nowhere", JSON, AUTHORIZATION),
        (404, "GET", "/v1/nowhere", AUTHORIZATION),
        (405, "DELETE", "/v1/accounts", AUTHORIZATION),
        (405, "POST", "/health/live"),
        (200, "GET", "/health/live"),
    ):
        request = lines(f"{method} {path} HTTP/1.1", HOST, frame, *headers, body=body)
        # the bytes that follow are not parsed as a request either
        (answer,) = ask(victim.port, request, hidden)
        assert_civil(answer, (method, path), status)
        assert answer.headers["connection"] == "close"
    length = "Content-Length: 2000000"
    (answer,) = ask(
        victim.port, lines("POST /v1/accounts HTTP/1.1", HOST, AUTHORIZATION, length, body=hidden)
    )
    assert_civil(answer, "413", 413)
    assert answer.headers["connection"] == "close"
    # after a complete body the connection stays open, and the bytes that follow are the next request
    for status, kind in ((400, JSON), (415, "Content-Type: text/plain")):
        request = lines("POST /v1/accounts HTTP/1.1", HOST, AUTHORIZATION, kind, frame, body=body)
        statuses = [answer.status for answer in ask(victim.port, request, hidden)]
        assert statuses == ([400] if framing == "a chunk that does not come" else [status, 404])


def test_methods_cannot_be_overridden(victim: Api) -> None:
    for method in ("TRACE", "CONNECT", "PUT", "PROPFIND", "FOO", "get", "DELETE"):
        (answer,) = ask(
            victim.port, lines(f"{method} /health/live HTTP/1.1", HOST, AUTHORIZATION, "X-Secret: 1")
        )
        assert_civil(answer, method, 400, 405)
        if answer.status == 405:
            assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
        assert b"X-Secret" not in answer.body
    for header in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        for method, path in (("GET", "/v1/accounts/1"), ("POST", "/v1/accounts/1?_method=DELETE")):
            (answer,) = ask(
                victim.port, lines(f"{method} {path} HTTP/1.1", HOST, AUTHORIZATION, f"{header}: DELETE")
            )
            assert_civil(answer, header, 404 if method == "GET" else 405)
    for path in ("/health", "/v1/accounts", "/v1/accounts/1", "/metrics"):
        (head,) = ask(victim.port, lines(f"HEAD {path} HTTP/1.1", HOST, AUTHORIZATION, "Connection: close"))
        (answer,) = ask(victim.port, lines(f"GET {path} HTTP/1.1", HOST, AUTHORIZATION, "Connection: close"))
        assert (head.status, head.body) == (answer.status, b"")
        assert head.headers["content-type"] == answer.headers["content-type"]
        (options,) = ask(victim.port, lines(f"OPTIONS {path} HTTP/1.1", HOST, AUTHORIZATION))
        assert_civil(options, path, 200)
        assert {"GET", "HEAD", "OPTIONS"} <= set(options.headers["allow"].split(", "))
        (refused,) = ask(victim.port, lines(f"OPTIONS {path} HTTP/1.1", HOST))
        assert_civil(refused, path, 401)
    (star,) = ask(victim.port, lines("OPTIONS * HTTP/1.1", HOST, AUTHORIZATION))
    assert_civil(star, "*")


def test_headers_of_proxies_are_not_trusted(victim: Api) -> None:
    evil = (
        "X-Forwarded-Host: evil.test", "X-Forwarded-Proto: https", "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Prefix: /evil", "X-Forwarded-Server: evil.test", "Forwarded: for=6.6.6.6;host=evil.test",
        "X-Real-IP: 6.6.6.6", "X-Original-URL: /health/live", "X-Rewrite-URL: /health/live",
    )  # fmt: skip
    for host in (
        "Host: evil.test",
        "Host: evil.test:99999",
        "Host: a@b",
        "Host:",
        "Host: <script>",
        "Host: ../..",
    ):
        for path in ("/v1/accounts", "/v1/accounts/", "/v1/accounts//", "/health"):
            for token in ([], [AUTHORIZATION]):
                (answer,) = ask(victim.port, lines(f"GET {path} HTTP/1.1", host, *evil, *token))
                assert_civil(answer, (host, path), *((200, 400, 404) if token else (400, 401)))
                assert "evil" not in f"{answer.headers}{answer.body!r}"
                assert "location" not in answer.headers
    for target in (
        "http://evil.test/v1/accounts",
        "http://evil.test/health/live",
        "//evil.test/v1/accounts",
        "evil",
    ):
        (answer,) = ask(victim.port, lines(f"GET {target} HTTP/1.1", HOST))
        assert_civil(answer, target, 200, 400, 401)
        assert answer.status != 200 or answer.json() == {"status": "ok"}
    for header in (
        "PATH_INFO: /health/live",
        "SCRIPT_NAME: /v1",
        "SCRIPT_NAME: /evil",
        "REMOTE_ADDR: 6.6.6.6",
    ):
        # headers with such names, which gunicorn would accept from a proxy, have no effect
        (answer,) = ask(victim.port, lines("GET /v1/accounts HTTP/1.1", HOST, AUTHORIZATION, header))
        assert_civil(answer, header, 200)
    for header in ("PATH_INFO: /health/live", "SCRIPT_NAME: /v1", "Path-Info: /health/live"):
        for path in ("/v1/accounts", "/accounts"):
            (answer,) = ask(victim.port, lines(f"GET {path} HTTP/1.1", HOST, header))
            assert_civil(answer, header)
            assert answer.status != 200 or answer.json() == {"status": "ok"}, (
                "only health checks answer without a token"
            )
    (by_name,) = ask(victim.port, lines("GET /nowhere HTTP/1.1", HOST, *evil, "X-Request-Id: whence"))
    assert by_name.status == 401
    victim.process.wait_for("whence")
    (record,) = [record for record in victim.process.records() if record.get("request_id") == "whence"]
    assert record["remote"] == "127.0.0.1"


def test_a_request_id_cannot_inject_anything(victim: Api) -> None:
    for odd in (
        b"a\tEvil: 1",
        b"a%0d%0aEvil: 1",
        b"a\xe2\x80\xa8b",
        b"a;b",
        b"a" * 65,
        b'"}x',
        b"../x",
        b"a b",
    ):
        (answer,) = ask(victim.port, lines("GET /nowhere HTTP/1.1", HOST, b"X-Request-Id: " + odd))
        assert_civil(answer, odd, 401)
        assert len(answer.headers["x-request-id"]) == 32
        assert odd.decode("latin-1") not in f"{answer.headers}{answer.body!r}"
    two = lines("GET /nowhere HTTP/1.1", HOST, "X-Request-Id: a", "X-Request-Id: b")
    (answer,) = ask(victim.port, two)
    assert_civil(answer, two, 401)


def test_a_huge_document_is_refused_without_storing_it(victim: Api) -> None:
    victim.request("POST", "/v1/accounts", {**AUTHORIZED, "Content-Type": "application/json"}, b" " * MIB)
    before = memory(victim)
    for path in ("/v1/accounts", "/health/live", "/v1/nowhere"):
        for method in ("POST", "GET"):
            start = [f"{method} {path} HTTP/1.1", HOST, AUTHORIZATION, JSON]
            # announced by Content-Length: nothing is read
            (answer,) = ask(victim.port, lines(*start, f"Content-Length: {10 << 30}"))
            assert_civil(answer, start, 413)
            (answer,) = ask(victim.port, lines(*start, f"Content-Length: {MIB + 1}", body=b" " * (MIB + 1)))
            assert_civil(answer, start, 413)
            chunk = b"%x\r\n%s\r\n" % (MIB, b" " * MIB)
            with connected(victim.port) as sock:
                sent = send(sock, [lines(*start, "Transfer-Encoding: chunked"), *[chunk] * 100])
                assert sent < 20 * MIB, "the API read 100 MB"
                answers = parse(drain(sock))
            # a client that still sends may lose the answer with the connection
            for answer in answers:
                assert_civil(answer, start)
    assert memory(victim) - before < 30 * MIB


HALF = (
    LIVE.encode(),
    LIVE.encode() + b"\r\nHost: localhost\r\nX-A: ",
    lines(POST, HOST, AUTHORIZATION, JSON, "Content-Length: 1000", body=b"{"),
    lines("POST /v1/accounts HTTP/1.1", HOST, AUTHORIZATION, JSON, "Content-Length: 1000", body=b"{"),
    lines(
        "POST /v1/accounts HTTP/1.1", HOST, AUTHORIZATION, JSON, "Transfer-Encoding: chunked", body=b"5\r\n{"
    ),
)


@pytest.mark.long
def test_a_client_that_stops_halfway_is_disconnected_without_a_traceback(start_api: StartApi) -> None:
    api = start_api(WEB_CONCURRENCY="1")
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(api.port)) for _ in range(60)]
        halfway = [stack.enter_context(connected(api.port)) for _ in range(30)]
        for n, sock in enumerate(halfway):
            sock.sendall(HALF[n % len(HALF)])
        # more clients than threads
        wait_until(lambda: serves(api), "an answer despite the crowd")
        for sock in halfway:
            drain(sock)
        assert len(silent) == 60
    assert "Traceback" not in api.process.output


def test_a_client_that_does_not_read_delays_nobody(start_api: StartApi) -> None:
    api = start_api(WEB_CONCURRENCY="1")
    many = lines("GET /openapi.json HTTP/1.1", HOST, AUTHORIZATION) * 200
    with ExitStack() as stack:
        for _ in range(24):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", api.port))
            sock.sendall(many)
        wait_until(lambda: serves(api), "an answer despite the crowd")
    assert "Traceback" not in api.process.output


def serves(api: Api) -> bool:
    """Whether an answer arrives before the client gives up."""
    try:
        return api.get("/health/live").status == 200
    except TimeoutError:
        return False
