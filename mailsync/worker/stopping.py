"""Stops the worker on a signal, and ends the process if it does not stop by itself."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from mailsync.engine.turn import StopSignal
from mailsync.ops import systemd
from mailsync.store.cancelling import Canceller

log = logging.getLogger(__name__)

_EXIT_AFTER = 9.0
_CANCEL_AFTER = 2.0


class Stopping:
    """The signal handlers of one worker, and its last log lines.

    SIGTERM and SIGINT set `stop`. A statement that still runs after 2 s is cancelled, and the process ends
    after 9 s at the latest. A second signal ends it at once.
    """

    def __init__(self, stop: StopSignal) -> None:
        self._stop = stop
        self._received: tuple[str, float] | None = None
        self._canceller = Canceller(_CANCEL_AFTER)
        self._lines: queue.SimpleQueue[tuple[str, dict[str, object]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, daemon=True)

    def handle(self, is_serving: Callable[[], bool], on_stop: Callable[[], None] = lambda: None) -> None:
        """Install the handlers; while the worker is not serving, a signal ends the process at once.

        A signal first calls `on_stop`, which must release the interval timer and SIGALRM.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            if self._stop:
                # without unwinding, which would wait for servers once more
                os._exit(128 + number)
            self._stop.set()
            on_stop()
            self._received = signal.Signals(number).name, time.monotonic()
            self._lines.put(("Asked to stop", {"signal": self._received[0]}))
            systemd.notify("STOPPING=1")
            if not is_serving():
                # no turn is running, and the database may not answer
                self.log_end()
                os._exit(0)
            self._canceller.ask()
            signal.signal(signal.SIGALRM, give_up)
            signal.setitimer(signal.ITIMER_REAL, _EXIT_AFTER)

        def give_up(number: int, frame: FrameType | None) -> None:
            # another session locks a row that the last statements need; no mail is lost without them
            self.log_end("Stopped without waiting any longer")
            os._exit(0)

        self._writer.start()
        self._canceller.start()
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def ended(self) -> None:
        """Log that the worker has stopped, if a signal asked it to, and cancel the forced end."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.log_end()

    def log_end(self, message: str = "Stopped") -> None:
        """Log the last line, with the time that stopping took; does nothing without a signal."""
        if self._received:
            name, received_at = self._received
            duration_ms = round(1000 * (time.monotonic() - received_at))
            self._lines.put((message, {"signal": name, "duration_ms": duration_ms}))
            self._lines.put(None)
            self._writer.join(0.5)

    def _write(self) -> None:
        # in its own thread: a signal handler may have interrupted the main thread in the middle of a line
        while line := self._lines.get():
            message, fields = line
            log.info(message, extra={"action": "stop", **fields})
