"""How the processor time of a function grows with the length of what it reads.

Time is never compared with a limit, only with the time of the same function for a quarter of the text, as
this thread's processor time. So a busy machine changes nothing but the noise, and the noise is met by taking
the best of several and by measuring again before a function is blamed.
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
"""The most growth for four times the text: linear time takes 4 times as long, quadratic 16 times."""
TWICE = 2.5
"""The most growth for twice the text."""
_AGAIN = 6


class Worst(NamedTuple):
    """A text of any length: `prefix`, then `unit` again and again, then `suffix`."""

    prefix: bytes
    unit: bytes
    suffix: bytes = b""

    def of(self, size: int) -> bytes:
        """About so many bytes of it, and at least one unit."""
        return self.prefix + self.unit * max(1, size // max(1, len(self.unit))) + self.suffix


class Growth(NamedTuple):
    """The seconds that `size` bytes took, twice as many, and four times as many."""

    size: int
    once: float
    twice: float
    four_times: float
    least: float

    @property
    def ratio(self) -> float:
        """How much longer four times the text takes."""
        return self.four_times / self.once

    @property
    def is_linear(self) -> bool:
        """Whether the time grows no faster than the text; a time near zero does not count as growth.

        Once it may be more: beyond a limit of its own a function may read in another way.
        """
        steps = self.twice / self.once, self.four_times / self.twice
        return self.four_times < self.least or self.ratio <= FOUR_TIMES or min(steps) <= TWICE

    def __str__(self) -> str:
        times = ", ".join(f"{1000 * t:.2f} ms" for t in (self.once, self.twice, self.four_times))
        return f"{self.size} bytes, twice and four times as many take {times}: ×{self.ratio:.1f}"


def seconds(read: Read, text: bytes, rounds: int = 1) -> float:
    """The best processor time of so many rounds; an error that `read` raises is an answer like others."""
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

    They also take several times as long as a few bytes, so that the cost of a call does not hide the cost of
    a byte. The text grows from a few bytes on, so that even exponential time is seen soon.
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
        found = Growth(size, *times, least)
        for _ in range(_AGAIN):
            if found.is_linear:
                break
            times = [min(known, seconds(read, text)) for known, text in zip(times, texts, strict=True)]
            found = Growth(size, *times, least)
    return found


@contextmanager
def _no_collections() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
