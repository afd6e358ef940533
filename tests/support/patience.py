"""How tests wait and how they measure time, on a machine that may be busy with anything.

``wait_until`` waits for the thing itself, ``stays`` looks for a while whether something stays as it is, and a
``Stopwatch`` measures how long something takes, for upper limits. See tests/README.rst.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from tests.support.run_directory import PATIENCE, wait_until

__all__ = ["PATIENCE", "Stopwatch", "pause", "stays", "wait_until"]

_EVERY = 0.05


class Stopwatch:
    """Measures seconds, each divided by the number of processes that share a processor meanwhile.

    Work that takes a second on an idle machine takes three where three processes share each processor, and
    one by this watch. A while in which the whole machine stands still does not count. On an idle machine it
    is a plain clock, so there the limits of tests mean what they say; load makes them wider.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._began = self._last = time.monotonic()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        # it ends with the watch, should a test fail before it stops it
        threading.Thread(target=_keep, args=(weakref.ref(self), self._stopped), daemon=True).start()

    def look(self) -> None:
        """Add the time since the last look."""
        with self._lock:
            now = time.monotonic()
            self._seconds += min(now - self._last, 2 * _EVERY) / max(1.0, _sharing())
            self._last = now

    @property
    def clock(self) -> float:
        """The seconds that went by: for lower limits, which no load exceeds."""
        return time.monotonic() - self._began

    def stop(self) -> float:
        """Stop it, and return the seconds that it has measured."""
        if not self._stopped.is_set():
            self.look()
            self._stopped.set()
        return self._seconds


def _keep(watch: weakref.ref[Stopwatch], stopped: threading.Event) -> None:
    while not stopped.wait(_EVERY):
        looked_at = watch()
        if looked_at is None:
            return
        looked_at.look()
        del looked_at


def _sharing() -> float:
    """The processes that want to run, but for this one, for each processor; 0 where it cannot be known."""
    try:
        running = int(Path("/proc/loadavg").read_text("ascii").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return (running - 1) / (os.cpu_count() or 1)


def stays(condition: Callable[[], object], what: str, seconds: float = 1.0) -> None:
    """Raise AssertionError as soon as the condition does not hold; returns after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        assert condition(), f"It did not stay so: {what}"
        if time.monotonic() > until:
            return
        time.sleep(_EVERY)


def pause(seconds: float, why: str) -> None:
    """Let time pass where time is what the test is about; `why` says so. Never to wait for something."""
    assert why
    time.sleep(seconds)
