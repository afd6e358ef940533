"""Crowds of silent or dripping clients without a token delay no other client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from tests.support.api import Api, StartApi
from tests.support.crowds import crowd, slowest
from tests.support.patience import Stopwatch
from tests.support.raw_http import AUTHORIZATION, Response, assert_civil, connected, lines, parse

HOST = "Host: localhost"
LIVE = "GET /health/live HTTP/1.1"

# the bytes that each client of a crowd sends before it falls silent, or sends one byte now and then
SHAPES = {
    "nothing": b"",
    "half a request line": b"GET /heal",
    "headers without the last line": lines(LIVE, HOST)[:-2] + b"X-A: ",
    "nearly as much as a head may hold": lines(LIVE, HOST, *[f"X-{n}: {'a' * 8000}" for n in range(8)])[:-2],
    "half a body": lines("POST /v1/accounts HTTP/1.1", HOST, "Content-Length: 100000", body=b"{"),
    "half a chunk": lines("POST /v1/accounts HTTP/1.1", HOST, "Transfer-Encoding: chunked", body=b"fff\r\n{"),
    "a request": lines(LIVE, HOST),
    "a last request": lines(LIVE, HOST, "Connection: close"),
    "a request and half of the next": lines(LIVE, HOST) + b"GET",
}


def is_alive(api: Api) -> None:
    assert api.get("/health/live").status == 200


@pytest.mark.parametrize("shape", SHAPES)
def test_a_crowd_of_slow_clients_delays_no_other_client(start_api: StartApi, shape: str) -> None:
    api = start_api(WEB_CONCURRENCY="1")
    with crowd(api.port, SHAPES[shape]):
        assert slowest(lambda: is_alive(api)) < 1
        # the worst case for memory: each client has sent the longest possible incomplete head
        assert sum(process.memory_info().rss for process in gunicorn_workers(api)) < 400 << 20
    assert "Traceback" not in api.process.output


@pytest.mark.long
def test_a_crowd_that_times_out_at_once_delays_neither_others_nor_the_end(start_api: StartApi) -> None:
    api = start_api(WEB_CONCURRENCY="1")
    with crowd(api.port, SHAPES["half a request line"]):
        watch = Stopwatch()
        while watch.clock < 15:
            assert slowest(lambda: is_alive(api), 5) < 1
        assert api.process.output.count("Refused 408") > 500
        began = Stopwatch()
        api.process.terminate()
        assert api.process.wait() == 0
        assert began.stop() < 6
    assert "Traceback" not in api.process.output


def test_a_crowd_delays_nobody_when_file_descriptors_are_few(start_api: StartApi) -> None:
    api = start_api(WEB_CONCURRENCY="1")
    (worker,) = gunicorn_workers(api)
    few = worker.num_fds() + 60
    worker.rlimit(psutil.RLIMIT_NOFILE, (few, few))
    with crowd(api.port, SHAPES["nothing"]):
        assert slowest(lambda: is_alive(api)) < 1
        assert api.call("GET", "/v1/accounts").status == 200, "a file descriptor is left for the database"
    assert api.process.output.count("Too many open files") == 1
    assert "Traceback" not in api.process.output
    assert gunicorn_workers(api) == [worker]


@pytest.mark.long
def test_an_incomplete_request_is_answered_408(start_api: StartApi) -> None:
    api = start_api(WEB_CONCURRENCY="1")
    whole = lines(LIVE, HOST)
    start = "POST /v1/accounts HTTP/1.1", HOST, AUTHORIZATION, "Content-Type: application/json"
    # the bytes that are sent at once, the statuses of the answers, the minimum seconds until the timeout
    cases = (
        (b"", [], 9),
        (b"GET /heal", [408], 9),
        (whole[:-2], [408], 9),
        (whole + whole[:-2], [200, 408], 9),
        (lines(*start, "Content-Length: 9000", body=b"{"), [408], 29),
        (lines(*start, "Transfer-Encoding: chunked", body=b"fff\r\n{"), [408], 29),
    )
    with ThreadPoolExecutor(2 * len(cases)) as pool:
        runs = [(case, drips) for case in cases for drips in (False, True)]
        futures = [pool.submit(until_closed, api.port, case[0], drips) for case, drips in runs]
        for (case, drips), future in zip(runs, futures, strict=True):
            sent, statuses, least = case
            answers, seconds, clock = future.result()
            wanted = statuses or ([408] if drips else [])
            assert [answer.status for answer in answers] == wanted, (sent, drips)
            assert clock > least and seconds < least + 15, (sent, drips)
            for answer in answers:
                assert_civil(answer, sent)
                assert answer.headers["connection"] == ("close" if answer.status == 408 else "keep-alive")
    assert "Traceback" not in api.process.output


def until_closed(port: int, sent: bytes, drips: bool) -> tuple[list[Response], float, float]:
    """All responses until the server closes, and the seconds until then, by a stopwatch and a clock."""
    watch = Stopwatch()
    with connected(port, timeout=0.5) as sock:
        sock.sendall(sent)
        got = b""
        while True:
            with suppress(TimeoutError):
                if drips:
                    sock.send(b"a")
                piece = sock.recv(65536)
                if not piece:
                    break
                got += piece
        return parse(got), watch.stop(), watch.clock


def gunicorn_workers(api: Api) -> list[psutil.Process]:
    return psutil.Process(api.process.pid).children()
