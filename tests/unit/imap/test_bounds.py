"""The estimated memory of a message against the memory that it takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from mailsync.imap.bounds import LARGEST_BATCH, largest_batch, weight
from mailsync.imap.parsing.fetch_response import parse_fetch
from mailsync.imap.parsing.message import Detail, build_message

_PART = b'("A" "B" ("NAME" "%d-%d") NIL NIL "7BIT" 1)'


def _usual(uid: int) -> list[bytes]:
    head = b"From: Ann <ann@a.test>\r\nTo: b%d@b.test\r\nSubject: %d\r\n\r\n" % (uid, uid)
    return _response(uid, b"\\Seen", _PART % (uid, 1), head)


def _crowd(uid: int) -> list[bytes]:
    people = b",".join(b"%x@%x.x" % (uid, n) for n in range(1000))
    head = b"".join(b"%s: %s\r\n" % (name, people) for name in (b"To", b"Cc", b"Bcc", b"Reply-To"))
    return _response(uid, b"", _PART % (uid, 1), head + b"\r\n")


def _references(uid: int) -> list[bytes]:
    head = b"References: " + b" ".join(b"<%x@%x>" % (uid, n) for n in range(1000)) + b"\r\n\r\n"
    return _response(uid, b"", _PART % (uid, 1), head)


def _parts(uid: int) -> list[bytes]:
    parts = b"".join(_PART % (uid, n) for n in range(1000))
    return _response(uid, b"", b'(%s "MIXED")' % parts, b"\r\n")


def _keywords(uid: int) -> list[bytes]:
    return _response(uid, b" ".join(b"%d-%d" % (uid, n) for n in range(500)), b"NIL", b"\r\n")


def _response(uid: int, flags: bytes, structure: bytes, head: bytes) -> list[bytes]:
    begin = b"* 1 FETCH (UID %d FLAGS (%s) BODYSTRUCTURE %s BODY[HEADER] " % (uid, flags, structure)
    return [begin, head, b")"]


@pytest.mark.parametrize("response", [_usual, _crowd, _references, _parts, _keywords])
def test_a_message_takes_no_more_memory_than_estimated(response: Callable[[int], list[bytes]]) -> None:
    build_message(1, parse_fetch(response(1)), Detail.FULL)
    messages, estimated = [], 0
    tracemalloc.start()
    try:
        for uid in range(2, 4):
            parts = response(uid)
            messages.append(build_message(uid, parse_fetch(parts), Detail.FULL))
            estimated += weight(messages[-1], sum(map(len, parts)))
            parts = []
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # the peak includes the entries of caches
    assert taken < 1.5 * estimated
    assert estimated / 2 < LARGEST_BATCH / 10, "a message alone is never too large"


def test_a_batch_of_many_messages_may_take_more_memory() -> None:
    assert largest_batch(1) == largest_batch(500) == LARGEST_BATCH
    assert largest_batch(5000) > 4 * LARGEST_BATCH
