"""The reader on a real socket: it returns the same responses for any chunks of bytes, in bounded memory."""

from __future__ import annotations

import random
import socket
import threading
import tracemalloc
from collections.abc import Iterator

import pytest

from mailsync.errors import Transient
from mailsync.imap.reader import Reader
from mailsync.network.timeouts import Timeouts

LIMIT = 65536
STREAM = (
    b"* OK ready {5}\r\n"
    b"* 1 FETCH (UID 1 BODY[] {5}\r\nab\r\nc FLAGS ())\r\n"
    b"* 2 FETCH (BODY[1] {0}\r\n BODY[2] ~{3}\r\n{9} UID 2)\r\n"
    b"a1 OK done {3}\r\n"
    b"\n"
    b"* LIST () NIL {4}\nname\n"
    b"* 3 FETCH (UID 3 X {70000}\r\n" + b"\r\n" * 35000 + b" FLAGS ())\r\n"
    b"* SEARCH " + b"1 " * 50_000 + b"\r\n"
    b"* 4 FETCH (UID 4 BODY[] {3}\r\nabc)\r\n"
)
RESPONSES = [
    [b"* OK ready {5}"],
    [b"* 1 FETCH (UID 1 BODY[] ", b"ab\r\nc", b" FLAGS ())"],
    [b"* 2 FETCH (BODY[1] ", b"", b" BODY[2] ", b"{9}", b" UID 2)"],
    [b"a1 OK done {3}"],
    [b""],
    [b"* LIST () NIL ", b"name", b""],
    [b"* 3 FETCH (UID 3 X ", b"", b" FLAGS ())"],
    "a line of more than 65536 bytes",
    [b"* 4 FETCH (UID 4 BODY[] ", b"abc", b")"],
]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Reader]]:
    """The server's end of a connection, and the reader of the other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield theirs, Reader(ours, Timeouts(lambda: None, 5), LIMIT)


def feed(sock: socket.socket, chunks: list[bytes]) -> None:
    def send() -> None:
        for chunk in chunks:
            sock.sendall(chunk)
        sock.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()


def cut(seed: int) -> list[bytes]:
    """Cut the stream into pieces of one byte, a few bytes, or more, depending on the seed."""
    rng = random.Random(seed)
    biggest = rng.choice([1, 7, 100, 5000, 70_000])
    pieces, start = [], 0
    while start < len(STREAM):
        size = rng.randint(1, biggest) if start < 400 or biggest > 50 else 9973
        pieces.append(STREAM[start : start + size])
        start += size
    return pieces


@pytest.mark.parametrize("seed", range(12))
def test_responses_do_not_depend_on_how_the_bytes_arrive(
    pair: tuple[socket.socket, Reader], seed: int
) -> None:
    theirs, reader = pair
    feed(theirs, cut(seed))
    for expected in RESPONSES:
        response = reader.read_response()
        if isinstance(expected, str):
            assert reader.oversized in (expected, None)
            assert response[0].startswith(b"* SEARCH 1 1")
        else:
            assert response == expected
            assert (reader.oversized is None) == (b"X " not in response[0])
    with pytest.raises(Transient, match="closed the connection"):
        reader.read_response()
    assert reader.bytes_in == len(STREAM)


@pytest.mark.parametrize("size", [1, 5, 100_000], ids=["byte by byte", "in pieces", "at once"])
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"\r\n)\r\n", [b")"]),
        (b"\n)\r\n", [b")"]),
        (b" \r\n\t\r\n)\r\n", [b")"]),
        (b"\r\n\r\n\r\n FLAGS ())\r\n", [b" FLAGS ())"]),
        (b"\r\n X {3}\r\nabc\r\n)\r\n", [b" X ", b"abc", b")"]),
        (b"\r\n", [b""]),
        (b"\r\n" * 20, [b"", *[[b""]] * 11]),
    ],
    ids=["one", "of one byte", "of blanks", "several", "after two literals", "no parenthesis", "very many"],
)
def test_empty_lines_after_a_literal_of_fetch_belong_to_no_response(
    pair: tuple[socket.socket, Reader], size: int, sent: bytes, expected: list[bytes | list[bytes]]
) -> None:
    theirs, reader = pair
    stream = b"* 1 FETCH (BODY[] {3}\r\nabc" + sent + b"* 2 FETCH (UID 2)\r\na1 OK done\r\n"
    feed(theirs, [stream[i : i + size] for i in range(0, len(stream), size)])
    assert reader.read_response() == [
        b"* 1 FETCH (BODY[] ",
        b"abc",
        *[part for part in expected if isinstance(part, bytes)],
    ]
    for lines in expected:
        if isinstance(lines, list):
            assert reader.read_response() == lines
    assert reader.read_response() == [b"* 2 FETCH (UID 2)"]
    assert reader.read_response() == [b"a1 OK done"]
    with pytest.raises(Transient):
        reader.read_response()


def test_an_empty_line_after_a_name_ends_no_list_late(pair: tuple[socket.socket, Reader]) -> None:
    theirs, reader = pair
    feed(theirs, [b"* LIST () NIL {4}\r\nname\r\n", b") is no response\r\n"])
    assert reader.read_response() == [b"* LIST () NIL ", b"name", b""]
    assert reader.read_response() == [b") is no response"]
    with pytest.raises(Transient):
        reader.read_response()


@pytest.mark.parametrize("kind", ["literal", "line", "literals", "lines"])
def test_oversized_responses_are_skipped_in_bounded_memory(
    pair: tuple[socket.socket, Reader], kind: str
) -> None:
    theirs, reader = pair
    block = b"x" * 100_000
    big = {
        "literal": [b"* 1 FETCH (UID 1 BODY[] {40000000}\r\n", *[block] * 400, b")\r\n"],
        "line": [b'* 1 FETCH (UID 1 X "', *[block] * 400, b'")\r\n'],
        "literals": [b"* 1 FETCH (UID 1", *[b" X {60000}\r\n" + block[:60_000]] * 600, b")\r\n"],
        "lines": [b"* 1 FETCH (UID 1", *[b" X " + block[:30_000] + b" {1}\r\nx"] * 1000, b")\r\n"],
    }[kind]
    feed(theirs, [*big, b"* 2 FETCH (UID 2)\r\n"])
    tracemalloc.start()
    try:
        response = reader.read_response()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reader.oversized
    assert response[0].startswith(b"* 1 FETCH (UID 1")
    assert len(response) % 2 == 1
    assert peak < 4_000_000
    assert reader.read_response() == [b"* 2 FETCH (UID 2)"]
    assert reader.oversized is None


def test_peek_does_not_consume_bytes(pair: tuple[socket.socket, Reader]) -> None:
    theirs, reader = pair
    assert reader.peek() == b""
    theirs.sendall(b"* 5 EX")
    assert reader.peek() == b"* 5 EX"
    theirs.sendall(b"ISTS\r\n")
    assert reader.peek() == b"* 5 EXISTS\r\n"
    assert reader.read_response() == [b"* 5 EXISTS"]
    theirs.shutdown(socket.SHUT_WR)
    assert reader.peek() is None


@pytest.mark.parametrize(
    ("line", "length", "oversized"),
    [
        (b"* OK [UIDNEXT 7] " + b"a" * 20_000, 8192, "a line of more than 8192 bytes"),
        (b"a1 OK " + b"a" * 20_000, 8192, "a line of more than 8192 bytes"),
        (b"+ " + b"a" * 20_000, 8192, "a line of more than 8192 bytes"),
        (b"* X " + b"a" * 20_000, 8254, "a line of more than 8192 bytes"),
        (b"* CAPABILITY " + b"A " * 10_000 + b"B", 20_014, None),
        (b"* LIST () NIL " + b"a" * 65_536, 8254, "a line of more than 65536 bytes"),
        (b"* 1 FETCH (X " + b"a" * 50_000, 50_013, None),
        (b"* ESEARCH UID ALL " + b"1,3," * 10_000, 40_018, None),
        (b"* VANISHED (EARLIER) " + b"1,3," * 10_000, 40_021, None),
    ],
)
@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_the_limit_of_a_line_depends_on_its_kind(
    pair: tuple[socket.socket, Reader], line: bytes, length: int, oversized: str | None, size: int
) -> None:
    theirs, reader = pair
    stream = line + b"\r\n* 5 EXISTS\r\n"
    feed(theirs, [stream[start : start + size] for start in range(0, len(stream), size)])
    response = reader.read_response()
    assert len(response) == 1
    assert line.startswith(response[0][:8192])
    assert (len(response[0]), reader.oversized) == (length, oversized)
    assert reader.read_response() == [b"* 5 EXISTS"]
    assert reader.oversized is None
    with pytest.raises(Transient, match="closed the connection"):
        reader.read_response()


def test_a_literal_after_a_line_that_was_cut_is_skipped(pair: tuple[socket.socket, Reader]) -> None:
    theirs, reader = pair
    feed(theirs, [b"* X " + b"a" * 20_000 + b" {5}\r\na\r\nb\n tail\r\n* 5 EXISTS\r\n"])
    assert len(reader.read_response()) == 3
    assert reader.oversized == "a line of more than 8192 bytes"
    assert reader.read_response() == [b"* 5 EXISTS"]
    with pytest.raises(Transient, match="closed the connection"):
        reader.read_response()
