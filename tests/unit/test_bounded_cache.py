"""A cache that is bounded by bytes, and those that are filled from what a server sends."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from mailsync import addresses, words
from mailsync.bounded_cache import BoundedCache
from mailsync.imap import bodystructure, flags
from mailsync.store import rows

MIB = 1024 * 1024


def test_it_is_emptied_before_it_takes_too_much() -> None:
    cache: BoundedCache[int, str] = BoundedCache(1000)
    for n in range(100):
        cache.remember(n, "x", 60)
        assert n in cache
        assert len(cache) * 60 == cache.size <= 1000
    assert 0 not in cache


def test_what_is_very_large_is_not_kept() -> None:
    cache: BoundedCache[int, str] = BoundedCache(1600)
    cache.remember(1, "x", 100)
    cache.remember(2, "x", 101)
    assert list(cache) == [1]


def _keywords(n: int) -> bytes:
    return b" ".join(b"%d-%d" % (n, word) for word in range(150))


def _long_keywords(n: int) -> bytes:
    return b" ".join((b"%d-%d-" % (n, word)).ljust(490, b"k") for word in range(100))


def _structure(n: int) -> list[bytes]:
    own = b"".join(b"NIL " if n >> bit & 1 else b'"" ' for bit in range(14))
    return [b'(("A" "B" NIL NIL NIL "7BIT" 1)%s "M" (%s))' % (b'("A" "B" NIL NIL NIL "7BIT" 1)' * 130, own)]


@pytest.mark.parametrize(
    ("fill", "count", "limit"),
    [
        pytest.param(lambda n: flags.parse_flags(_keywords(n)), 1000, 4, id="flags"),
        pytest.param(lambda n: flags.parse_flags(_long_keywords(n)), 150, 4, id="long flags"),
        pytest.param(lambda n: bodystructure.parse_structure(_structure(n)), 300, 8, id="structures"),
        pytest.param(
            lambda n: rows._flags(tuple(f"{n}-{word}".ljust(490) for word in range(100))), 150, 4, id="rows"
        ),
        pytest.param(
            lambda n: addresses.parse_addresses(",".join(f"{n:x}@{x:x}" for x in range(14))),
            10_000,
            8,
            id="addresses",
        ),
        pytest.param(
            lambda n: words.decode_words(f"=?utf-8?q?{n}{'=E2=82=AC' * 50}?="), 10_000, 4, id="words"
        ),
    ],
)
def test_what_is_remembered_of_a_servers_bytes_takes_no_more_than_its_share(
    fill: Callable[[int], object], count: int, limit: int
) -> None:
    fill(0)
    tracemalloc.start()
    try:
        for n in range(1, count):
            fill(n)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < limit * MIB * 1.25
