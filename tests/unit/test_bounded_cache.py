"""The cache that is bounded by bytes, and the caches of text from servers."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from mailsync.bounded_cache import BoundedCache
from mailsync.imap.parsing import bodystructure, flags
from mailsync.mail import addresses, text
from mailsync.store import copy_format

MIB = 1024 * 1024


def test_the_cache_is_emptied_before_it_exceeds_its_limit() -> None:
    cache: BoundedCache[int, str] = BoundedCache(1000)
    for n in range(100):
        cache.remember(n, "x", 60)
        assert n in cache
        assert len(cache) * 60 == cache.size <= 1000
    assert 0 not in cache


def test_a_very_large_value_is_not_kept() -> None:
    cache: BoundedCache[int, str] = BoundedCache(1600)
    cache.remember(1, "x", 100)
    cache.remember(2, "x", 101)
    assert list(cache) == [1]


def _keywords(n: int) -> bytes:
    return b" ".join(b"%d-%d" % (n, word) for word in range(50))


def _long_keywords(n: int) -> bytes:
    return b" ".join((b"%d-%d-" % (n, word)).ljust(490, b"k") for word in range(10))


def _structure(n: int) -> list[bytes]:
    own = b"".join(b"NIL " if n >> bit & 1 else b'"" ' for bit in range(12))
    return [b'(%s "M" (%s))' % (b'("A" "B" NIL NIL NIL "7BIT" 1)' * 15, own)]


@pytest.mark.parametrize(
    ("cache", "fill"),
    [
        pytest.param(flags._known, lambda n: flags.parse_flags(_keywords(n)), id="flags"),
        pytest.param(flags._known, lambda n: flags.parse_flags(_long_keywords(n)), id="long flags"),
        pytest.param(
            bodystructure._templates, lambda n: bodystructure.parse_structure(_structure(n)), id="structures"
        ),
        pytest.param(
            copy_format._known_flags,
            lambda n: copy_format._flags(tuple(f"{n}-{word}".ljust(490) for word in range(10))),
            id="rows",
        ),
        pytest.param(
            addresses._known,
            lambda n: addresses.parse_addresses(",".join(f"{n:x}@{x:x}" for x in range(14))),
            id="addresses",
        ),
        pytest.param(
            text._known, lambda n: text.decode_words(f"=?utf-8?q?{n}{'=E2=82=AC' * 50}?="), id="words"
        ),
    ],
)
def test_caches_of_text_from_servers_stay_within_their_limits(
    cache: BoundedCache[Any, Any], fill: Callable[[int], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fill the cache twice, with a limit that is small enough to be reached soon."""
    assert cache.limit <= 8 * MIB
    cache.clear()
    monkeypatch.setattr(cache, "limit", MIB // 2)
    fill(0)
    tracemalloc.start()
    try:
        most = count = 0
        while len(cache) > count // 2:
            count += 1
            fill(count)
            most = max(most, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    cache.clear()
    assert count > 10
    assert most < cache.limit * 1.25
