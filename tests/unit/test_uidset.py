"""UID sets behave like sets, even with huge ranges."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsync.uidset import TooManyRanges, UidSet, slices

members = st.frozensets(st.integers(1, 60))


@given(members, members)
def test_the_operations_are_those_of_sets(a: frozenset[int], b: frozenset[int]) -> None:
    x, y = UidSet.of(a), UidSet.of(b)
    assert set(x.minus(y)) == a - b
    assert set(x.union(y)) == a | b
    assert set(x.minus(x.minus(y))) == a & b
    assert len(x) == len(a)
    assert list(x) == sorted(a)
    assert list(reversed(x)) == sorted(a, reverse=True)
    assert [uid in x for uid in range(70)] == [uid in a for uid in range(70)]
    assert (x == y) == (a == b)
    assert bool(x) == bool(a)
    assert hash(UidSet.of(sorted(a, reverse=True))) == hash(x)


@given(members)
def test_text_and_back(a: frozenset[int]) -> None:
    x = UidSet.of(a)
    assert UidSet.parse(str(x)) == x
    assert str(UidSet.of(sorted(a, reverse=True))) == str(x)


@given(members, st.integers(0, 70), st.integers(0, 70))
def test_parts_of_a_set(a: frozenset[int], first: int, last: int) -> None:
    x = UidSet.of(a)
    assert set(x.between(first, last)) == {uid for uid in a if first <= uid <= last}
    assert list(x.oldest(first)) == sorted(a)[:first]
    assert list(x.newest(first)) == sorted(sorted(a, reverse=True)[:first])


@given(members, st.integers(5, 40))
def test_commands_are_bounded_and_lose_nothing(a: frozenset[int], limit: int) -> None:
    x = UidSet.of(a)
    commands = list(x.to_commands(limit))
    assert all(0 < len(command) <= max(limit, 5) for command in commands)
    total = UidSet()
    for command in commands:
        total = total.union(UidSet.parse(command))
    assert total == x


def test_huge_ranges_cost_nothing() -> None:
    whole = UidSet([(1, 4_294_967_295)])
    assert len(whole) == 4_294_967_295
    assert str(whole.minus(UidSet.parse("5"))) == "1:4,6:4294967295"
    assert str(whole.newest(3)) == "4294967293:4294967295"
    assert 77 in whole
    assert (whole.lowest, whole.highest) == (1, 4_294_967_295)


def test_emptying_a_fragmented_set_in_batches_does_not_scan_all_of_it_each_time() -> None:
    left = UidSet.of(range(2, 200_002, 2))
    began = time.process_time()
    left.minus(UidSet.of(range(2, 200_002, 4)))
    whole = time.process_time() - began

    began = time.process_time()
    for _ in range(100):
        left = left.minus(left.newest(500))
    assert (len(left), left.highest) == (50_000, 100_000)
    assert time.process_time() - began < 50 * whole


def test_crossed_bounds_contain_nothing() -> None:
    assert not UidSet([(1, 20)]).between(11, 10)


def test_ranges_in_any_order_are_joined() -> None:
    assert str(UidSet([(9, 7), (1, 3), (4, 4), (2, 5)])) == "1:5,7:9"
    assert UidSet.parse("9:7,1") == UidSet([(1, 1), (7, 9)])


def test_the_empty_set() -> None:
    empty = UidSet()
    assert (str(empty), len(empty), empty.lowest, empty.highest) == ("", 0, 0, 0)
    assert UidSet.parse("") == empty
    assert list(empty.to_commands(100)) == []
    assert empty.to_multirange() == "{}"


@pytest.mark.parametrize("text", ["*", "1:*", "a", "1,,2", "1:2:3"])
def test_a_text_that_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        UidSet.parse(text)


def test_the_literal_of_postgres() -> None:
    assert UidSet.parse("1:3,7").to_multirange() == "{[1,3],[7,7]}"
    assert repr(UidSet.parse("1:3,7")) == "UidSet.parse('1:3,7')"


@pytest.mark.parametrize(
    ("ranges", "joined"),
    [
        ([(n, n) for n in range(1, 1000)], "1:999"),
        ([(n, n) for n in range(999, 0, -1)], "1:999"),
        ([(1, 3), (5, 4294967295)], "1:3,5:4294967295"),
        ([(9, 7), (1, 1), (8, 12)], "1,7:12"),
        ([(1, 1), (5, 5), (1, 6)], "1:6"),
        ([(n * 7 % 1000, n * 7 % 1000) for n in range(1000)], "0:999"),
        ([], ""),
    ],
)
def test_ranges_are_collected_in_any_order(ranges: list[tuple[int, int]], joined: str) -> None:
    assert UidSet.collect(ranges, 500) == UidSet.parse(joined) == UidSet(ranges)


@pytest.mark.parametrize(
    "text", ["", "1", ",".join("1234"), "12," * 30 + "1", "1" * 50, "1," + "2" * 40 + ",3"]
)
def test_a_text_is_cut_at_separators(text: str) -> None:
    pieces = list(slices(text, ",", 5))
    assert all(len(piece) <= 10 for piece in pieces)
    assert "".join(pieces).replace(",", "") == text.replace(",", "")


def test_the_number_of_ranges_in_memory_is_limited() -> None:
    def without_end() -> Iterator[tuple[int, int]]:
        for n in count(1, 2):
            assert n < 10_000, "it does not stop"
            yield n, n

    with pytest.raises(TooManyRanges):
        UidSet.collect(without_end(), 1000)
    with pytest.raises(TooManyRanges):
        UidSet.parse(",".join(str(n) for n in range(1, 5000, 2)), 1000)
    assert len(UidSet.parse(",".join(str(n) for n in range(1, 1001)), 10)) == 1000
