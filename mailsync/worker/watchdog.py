"""The worker's watchdog: ends the process if its loop has been silent for too long (SPEC §17).

Not every platform supervises the worker. The timer is the kernel's and the handler is C code, so the watchdog
also ends a process in which no Python code can run, such as in a regular expression that holds the GIL.
"""

from __future__ import annotations

import faulthandler
import signal

WATCHDOG_SIGNAL = signal.SIGALRM
"""The signal that ends the process; it tells the supervisor that the watchdog did it."""

_STDERR = 2


class Watchdog:
    """Ends this process if :meth:`alive` is not called for `seconds`; for the main thread only.

    First writes the stacks of all threads to stderr: files, lines and function names, but no values.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_watching = self._is_released = False

    def install(self) -> None:
        """Install the signal handler, without watching yet."""
        # chain=True: after the dump, the default action ends the process
        signal.signal(WATCHDOG_SIGNAL, signal.SIG_DFL)
        faulthandler.register(WATCHDOG_SIGNAL, file=_STDERR, all_threads=True, chain=True)

    def begin(self) -> None:
        """Start watching, unless :meth:`release` was called."""
        self._is_watching = not self._is_released
        self.alive()

    def alive(self) -> None:
        """Reset the timer. It costs one system call, so call it often."""
        if self._is_watching:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def pause(self) -> None:
        """Stop watching until :meth:`begin`."""
        if self._is_watching:
            self._is_watching = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def release(self) -> None:
        """Leave the timer and the signal to another handler, for good; safe in a signal handler."""
        self.pause()
        self._is_released = True

    def remove(self) -> None:
        """Uninstall the signal handler."""
        self.pause()
        faulthandler.unregister(WATCHDOG_SIGNAL)
