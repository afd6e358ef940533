"""A set of UIDs as ascending ranges, the form that both IMAP and Postgres use."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import AnyStr

LARGEST_UID = 2**32 - 1
"""UIDs are unsigned 32-bit numbers (RFC 9051 §2.3.1.1)."""

Range = tuple[int, int]


class TooManyRanges(ValueError):
    """A set would have more ranges than allowed."""


def slices(text: AnyStr, separator: AnyStr, size: int = 64 * 1024) -> Iterator[AnyStr]:
    """Cut a long text at separators; splitting it as a whole would take ten times its memory.

    A piece of 2 × `size` characters without a separator is cut anywhere: such a text is no set of numbers.
    """
    start = 0
    while len(text) - start > 2 * size:
        end = text.find(separator, start + size, start + 2 * size)
        if end < 0:
            yield text[start : start + 2 * size]
            start += 2 * size
        else:
            yield text[start:end]
            start = end + len(separator)
    yield text[start:]


class UidSet:
    """An immutable set of message UIDs, kept as ascending, disjoint, inclusive ranges.

    A folder of 100,000 contiguous messages is one range, so neither a command nor a comparison with
    Postgres needs a list of them.

    >>> str(UidSet([(1, 3), (7, 7)]))
    '1:3,7'
    """

    __slots__ = ("ranges", "_length")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        """Take inclusive ranges in any order; overlapping and adjacent ones are joined."""
        merged: list[Range] = []
        for pair in sorted(pair if pair[0] <= pair[1] else (pair[1], pair[0]) for pair in ranges):
            if merged and pair[0] <= merged[-1][1] + 1:
                if pair[1] > merged[-1][1]:
                    merged[-1] = (merged[-1][0], pair[1])
            else:
                # the same tuple, so that sets share the memory of their ranges
                merged.append(pair)
        self.ranges: tuple[Range, ...] = tuple(merged)
        self._length = _count(merged)

    @classmethod
    def _made(cls, ranges: Iterable[Range], length: int) -> UidSet:
        """Build from ranges that are ascending, disjoint and not adjacent, and their number of UIDs."""
        uids = cls.__new__(cls)
        uids.ranges, uids._length = tuple(ranges), length
        return uids

    @classmethod
    def of(cls, uids: Iterable[int]) -> UidSet:
        """Build from single UIDs in any order, repeated or not."""
        ranges: list[Range] = []
        for uid in sorted(uids):
            if ranges and uid <= ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], uid)
            else:
                ranges.append((uid, uid))
        return cls._made(ranges, _count(ranges))

    @classmethod
    def collect(cls, ranges: Iterable[Range], most: int) -> UidSet:
        """Build from ranges in any order, and keep at most `most` of them in memory.

        Raises TooManyRanges if more are left after joining.
        """
        joined: list[Range] = []
        ascending = True
        for first, last in ranges:
            if first > last:
                first, last = last, first
            if joined:
                before = joined[-1]
                if before[0] <= first <= before[1] + 1:
                    joined[-1] = (before[0], max(last, before[1]))
                    continue
                if first < before[0]:
                    ascending = False
                    if last >= before[0] - 1:
                        joined[-1] = (first, max(last, before[1]))
                        continue
            if len(joined) >= most:
                if not ascending:
                    joined, ascending = list(cls(joined).ranges), True
                if len(joined) > most * 3 // 4:
                    raise TooManyRanges(f"more than {most} ranges")
            joined.append((first, last))
        return cls._made(joined, _count(joined)) if ascending else cls(joined)

    @classmethod
    def parse(cls, text: str, most: int = 1_000_000, within: Range = (0, 2**63 - 1)) -> UidSet:
        """Read a ``sequence-set`` (RFC 9051 §9) such as ``1:3,7``, without ``*``.

        Only UIDs `within` the range are kept. Raises ValueError; for more than `most` ranges its subclass
        TooManyRanges.
        """
        pieces = (piece for part in slices(text, ",") for piece in part.split(",")) if text else ()
        return cls.collect(_clipped(map(_range, pieces), *within), most)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __reversed__(self) -> Iterator[int]:
        for first, last in reversed(self.ranges):
            yield from range(last, first - 1, -1)

    def __contains__(self, uid: int) -> bool:
        i = bisect_right(self.ranges, (uid, 1 << 64)) - 1
        return i >= 0 and self.ranges[i][1] >= uid

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UidSet) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __str__(self) -> str:
        return ",".join(f"{a}:{b}" if a != b else str(a) for a, b in self.ranges)

    def __repr__(self) -> str:
        return f"UidSet.parse({str(self)!r})"

    @property
    def lowest(self) -> int:
        """The smallest UID; 0 for the empty set."""
        return self.ranges[0][0] if self.ranges else 0

    @property
    def highest(self) -> int:
        """The largest UID; 0 for the empty set."""
        return self.ranges[-1][1] if self.ranges else 0

    def between(self, first: int, last: int) -> UidSet:
        """The members from `first` to `last`, both included; none if `first` is above `last`."""
        if first > last:
            return UidSet()
        ranges = list(self.ranges[self._touching(first, last)])
        if ranges:
            ranges[0] = (max(first, ranges[0][0]), ranges[0][1])
            ranges[-1] = (ranges[-1][0], min(last, ranges[-1][1]))
        return UidSet._made(ranges, _count(ranges))

    def minus(self, other: UidSet) -> UidSet:
        """The members that `other` does not hold."""
        # backfill empties a large set batch by batch from one end, so ranges outside `other` are only copied
        touched = self._touching(other.lowest, other.highest)
        before = self.ranges[touched]
        kept = _without(before, other.ranges)
        ranges = (*self.ranges[: touched.start], *kept, *self.ranges[touched.stop :])
        return UidSet._made(ranges, self._length - _count(before) + _count(kept))

    def _touching(self, first: int, last: int) -> slice:
        """The slice of the ranges that overlap with `first` to `last`."""
        begin = bisect_right(self.ranges, (first, 1 << 64))
        if begin and self.ranges[begin - 1][1] >= first:
            begin -= 1
        return slice(begin, max(begin, bisect_left(self.ranges, (last + 1,))))

    def union(self, other: UidSet) -> UidSet:
        """The members of either set."""
        if not self.ranges or not other.ranges:
            return self if self.ranges else other
        return UidSet(self.ranges + other.ranges)

    def both(self, other: UidSet) -> UidSet:
        """The members that `other` holds too."""
        return self.minus(self.minus(other))

    def oldest(self, count: int) -> UidSet:
        """The `count` members with the smallest UIDs."""
        return UidSet.of(islice(self, count))

    def newest(self, count: int) -> UidSet:
        """The `count` members with the largest UIDs."""
        return UidSet.of(islice(reversed(self), count))

    def to_commands(self, limit: int) -> Iterator[str]:
        """Split into sequence-sets of at most `limit` bytes each, since servers bound a command line."""
        parts: list[str] = []
        length = 0
        for part in str(self).split(",") if self.ranges else ():
            if parts and length + len(part) + 1 > limit:
                yield ",".join(parts)
                parts, length = [], 0
            parts.append(part)
            length += len(part) + 1
        if parts:
            yield ",".join(parts)

    def to_multirange(self) -> str:
        """The literal of Postgres' ``int8multirange``."""
        return "{" + ",".join(f"[{a},{b}]" for a, b in self.ranges) + "}"


def _range(text: str) -> Range:
    first, _, last = text.partition(":")
    uid = int(first)
    # one int object serves as both ends, which halves the memory of a million single UIDs
    return uid, int(last) if last else uid


def _clipped(ranges: Iterable[Range], lowest: int, highest: int) -> Iterator[Range]:
    for first, last in ranges:
        if first > last:
            first, last = last, first
        if last >= lowest and first <= highest:
            yield max(lowest, first), min(highest, last)


def _count(ranges: Iterable[Range]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _without(ranges: Iterable[Range], holes: Iterable[Range]) -> list[Range]:
    kept: list[Range] = []
    ahead = iter(holes)
    hole = next(ahead, None)
    for whole in ranges:
        first, last = whole
        while hole and hole[1] < first:
            hole = next(ahead, None)
        if not hole or hole[0] > last:
            kept.append(whole)
            continue
        while hole and hole[0] <= last:
            if hole[0] > first:
                kept.append((first, hole[0] - 1))
            first = hole[1] + 1
            if first > last:
                break
            hole = next(ahead, None)
        if first <= last:
            kept.append((first, last))
    return kept
