"""Measure how the processor time of a function grows with the length of its input.

No time is compared with a fixed limit, only with the time of the same function for a quarter of the text, in
processor time of this thread. So load on the machine adds only noise, which is reduced by taking the best of
several measurements and by measuring again before a test fails.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.unit.growing.discovery import forget

Read = Callable[[bytes], object]

FOUR_TIMES = 9.0
"""The largest growth allowed for four times the text: linear time is 4, quadratic time 16."""
TWICE = 2.5
"""The largest growth allowed for twice the text."""
_AGAIN = 20


class Worst(NamedTuple):
    """A text of any length: `prefix`, many times `unit`, and `suffix`."""

    prefix: bytes
    unit: bytes
    suffix: bytes = b""

    def of(self, size: int) -> bytes:
        """The text with about `size` bytes, and at least one unit."""
        return self.prefix + self.unit * max(1, size // max(1, len(self.unit))) + self.suffix


class Growth(NamedTuple):
    """The seconds for `size` bytes, for twice as many, and for four times as many."""

    size: int
    once: float
    twice: float
    four_times: float
    least: float

    @property
    def ratio(self) -> float:
        """The time for four times the text divided by the time for the text."""
        return self.four_times / self.once

    @property
    def is_linear(self) -> bool:
        """Whether the time grows no faster than the text; times below `least` count as linear.

        One of the two steps may grow faster, because a function may handle texts above some size differently.
        """
        steps = self.twice / self.once, self.four_times / self.twice
        return self.four_times < self.least or self.ratio <= FOUR_TIMES or min(steps) <= TWICE

    def __str__(self) -> str:
        times = ", ".join(f"{1000 * t:.2f} ms" for t in (self.once, self.twice, self.four_times))
        return f"{self.size} bytes, twice and four times as many take {times}: ×{self.ratio:.1f}"


def seconds(read: Read, text: bytes, rounds: int = 1) -> float:
    """The best processor time of `rounds` calls; errors that `read` raises are ignored."""
    best = float("inf")
    for _ in range(rounds):
        forget()
        began = time.thread_time()
        try:
            read(text)
        except RecursionError:
            raise
        except Exception:
            pass
        best = min(best, time.thread_time() - began)
    return max(best, 1e-7)


def growth(read: Read, worst: Worst, *, least: float = 0.0003, largest: int = 256 * 1024) -> Growth:
    """Measure with as many bytes as take `least` seconds, or with a quarter of `largest`.

    These bytes also take several times as long as a few bytes, so that the cost of a call does not hide the
    cost of a byte. The text grows from a few bytes on, so that even exponential time is detected soon.
    """
    with _no_collections():
        size, enough = 8, max(least, 4 * seconds(read, worst.of(1), 3))
        while size * 4 < largest and seconds(read, worst.of(size)) < enough:
            size *= 2
        texts = [worst.of(size), worst.of(2 * size), worst.of(4 * size)]
        once, twice = seconds(read, texts[0], 3), seconds(read, texts[1])
        if twice > 50 * once and twice > 0.02:
            return Growth(size, once, twice, float("inf"), least)
        times = [once, twice, seconds(read, texts[2])]
        measured = Growth(size, *times, least)
        for _ in range(_AGAIN):
            if measured.is_linear:
                break
            times = [min(best, seconds(read, text)) for best, text in zip(times, texts, strict=True)]
            measured = Growth(size, *times, least)
    return measured


@contextmanager
def _no_collections() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
