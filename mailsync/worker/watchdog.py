"""A worker's own watchdog: it ends the process when the loop has been silent for too long (SPEC §17).

Not every platform supervises the worker. The kernel keeps the time and the handler is C code, so this also
ends a process in which no Python code can run: a regular expression holds the GIL, and no thread could
interrupt it.
"""

from __future__ import annotations

import faulthandler
import signal

ENDED_BY = signal.SIGALRM
"""The signal that ends the process, by which its supervisor knows that the watchdog ended it."""

_STDERR = 2


class Watchdog:
    """Ends this process when :meth:`alive` has not been called for `seconds`; main thread only.

    The stacks of all threads are written to stderr first: files, lines and names of functions, no values.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watches = self._released = False

    def install(self) -> None:
        """Take the signal; nothing is watched yet."""
        # the dump is chained to the default action, which ends the process
        signal.signal(ENDED_BY, signal.SIG_DFL)
        faulthandler.register(ENDED_BY, file=_STDERR, all_threads=True, chain=True)

    def begin(self) -> None:
        """Watch from now on, unless it was released."""
        self._watches = not self._released
        self.alive()

    def alive(self) -> None:
        """Reset the timer, because the loop runs. This costs one system call, so it may be called often."""
        if self._watches:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def pause(self) -> None:
        """Watch no more, until :meth:`begin`."""
        if self._watches:
            self._watches = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def release(self) -> None:
        """Leave the timer and its signal to another handler, for good; safe in a signal handler."""
        self.pause()
        self._released = True

    def remove(self) -> None:
        """Give the signal back."""
        self.pause()
        faulthandler.unregister(ENDED_BY)
