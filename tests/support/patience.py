"""Wait and measure time in tests, on a machine that may be busy with other work.

``wait_until`` waits for a condition, ``stays`` checks for a while that a condition keeps holding, and a
``Stopwatch`` measures how long something takes, for upper limits. See tests/README.rst.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable

from tests.support.run_directory import PATIENCE, runnable_per_processor, wait_until

__all__ = ["PATIENCE", "Stopwatch", "pause", "stays", "wait_until"]

_EVERY = 0.05


class Stopwatch:
    """Measures seconds, each divided by the number of processes that share a processor at the time.

    Work that takes one second on an idle machine takes three seconds while three processes share each
    processor, and this watch still measures one. Time in which the whole machine stands still does not count.
    On an idle machine the watch is a plain clock; load only makes the limits of tests wider.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._began = self._last = time.monotonic()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        # the thread holds a weak reference, so it ends even if a test fails without stopping the watch
        threading.Thread(target=_keep, args=(weakref.ref(self), self._stopped), daemon=True).start()

    def look(self) -> None:
        """Add the time since the last call."""
        with self._lock:
            now = time.monotonic()
            self._seconds += min(now - self._last, 2 * _EVERY) / max(1.0, runnable_per_processor())
            self._last = now

    @property
    def clock(self) -> float:
        """The seconds of wall-clock time, for lower limits, which load cannot break."""
        return time.monotonic() - self._began

    def stop(self) -> float:
        """Stop the watch and return the measured seconds."""
        if not self._stopped.is_set():
            self.look()
            self._stopped.set()
        return self._seconds


def _keep(watch: weakref.ref[Stopwatch], stopped: threading.Event) -> None:
    while not stopped.wait(_EVERY):
        alive = watch()
        if alive is None:
            return
        alive.look()
        del alive


def stays(condition: Callable[[], object], what: str, seconds: float = 1.0) -> None:
    """Check for `seconds` that the condition holds; raises AssertionError as soon as it does not."""
    until = time.monotonic() + seconds
    while True:
        assert condition(), f"It did not stay so: {what}"
        if time.monotonic() > until:
            return
        time.sleep(_EVERY)


def pause(seconds: float, why: str) -> None:
    """Sleep in a test that is about time, as `why` explains. Do not use it to wait for a condition."""
    assert why
    time.sleep(seconds)
