"""A set of UIDs as ascending ranges, the form in which servers and Postgres pass them around."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice

Range = tuple[int, int]


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
        for first, last in sorted((a, b) if a <= b else (b, a) for a, b in ranges):
            if merged and first <= merged[-1][1] + 1:
                if last > merged[-1][1]:
                    merged[-1] = (merged[-1][0], last)
            else:
                merged.append((first, last))
        self.ranges: tuple[Range, ...] = tuple(merged)
        self._length = sum(last - first + 1 for first, last in merged)

    @classmethod
    def of(cls, uids: Iterable[int]) -> UidSet:
        """Build from single UIDs in any order, repeated or not."""
        ranges: list[Range] = []
        for uid in sorted(uids):
            if ranges and uid <= ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], uid)
            else:
                ranges.append((uid, uid))
        return cls(ranges)

    @classmethod
    def parse(cls, text: str) -> UidSet:
        """Read RFC 9051's ``sequence-set`` (``1:3,7``; no ``*``); raises ValueError."""
        ranges = []
        for part in text.split(",") if text else ():
            first, _, last = part.partition(":")
            ranges.append((int(first), int(last or first)))
        return cls(ranges)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __reversed__(self) -> Iterator[int]:
        for first, last in reversed(self.ranges):
            yield from range(last, first - 1, -1)

    def __contains__(self, uid: int) -> bool:
        at = bisect_right(self.ranges, (uid, 1 << 64)) - 1
        return at >= 0 and self.ranges[at][1] >= uid

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
        """The members from `first` to `last`, both included."""
        return UidSet((max(a, first), min(b, last)) for a, b in self.ranges if b >= first and a <= last)

    def minus(self, other: UidSet) -> UidSet:
        """The members that `other` does not hold."""
        kept: list[Range] = []
        holes = iter(other.ranges)
        hole = next(holes, None)
        for first, last in self.ranges:
            while hole and hole[1] < first:
                hole = next(holes, None)
            while hole and hole[0] <= last:
                if hole[0] > first:
                    kept.append((first, hole[0] - 1))
                first = hole[1] + 1
                if first > last:
                    break
                hole = next(holes, None)
            if first <= last:
                kept.append((first, last))
        return UidSet(kept)

    def union(self, other: UidSet) -> UidSet:
        """The members of either."""
        return UidSet(self.ranges + other.ranges)

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
