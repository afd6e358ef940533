"""How a signal stops the worker: what is logged, and what ends the process if it cannot stop by itself."""

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

_EXIT_WITHIN = 9.0
_CANCEL_AFTER = 2.0


class Stopping:
    """The signals of one worker, and its last log lines.

    `stop` is set by SIGTERM and SIGINT. The statement in hand is cancelled if it lasts, and the process ends
    after 9 s at the latest; a second signal ends it at once.
    """

    def __init__(self, stop: StopSignal) -> None:
        self._stop = stop
        self._asked: tuple[str, float] | None = None
        self._canceller = Canceller(_CANCEL_AFTER)
        self._lines: queue.SimpleQueue[tuple[str, dict[str, object]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, daemon=True)

    def handle(self, is_serving: Callable[[], bool], on_stop: Callable[[], None] = lambda: None) -> None:
        """Install the handlers; a signal ends the process at once while the worker is not serving.

        `on_stop` is called first, and has to give up the timer and SIGALRM, which this uses.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            if self._stop:
                # unwinding would wait for servers once more
                os._exit(128 + number)
            self._stop.set()
            on_stop()
            self._asked = signal.Signals(number).name, time.monotonic()
            self._lines.put(("Asked to stop", {"signal": self._asked[0]}))
            systemd.notify("STOPPING=1")
            if not is_serving():
                # no turn is running, and waiting for a database that does not answer would delay the end
                self.log_end()
                os._exit(0)
            self._canceller.ask()
            signal.signal(signal.SIGALRM, give_up)
            signal.setitimer(signal.ITIMER_REAL, _EXIT_WITHIN)

        def give_up(number: int, frame: FrameType | None) -> None:
            # somebody keeps a row locked that the end waits for; nothing is lost by not waiting
            self.log_end("Stopped without waiting any longer")
            os._exit(0)

        self._writer.start()
        self._canceller.start()
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def ended(self) -> None:
        """Log that the worker has stopped, if it was asked to, and let nothing end the process any more."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.log_end()

    def log_end(self, message: str = "Stopped") -> None:
        """Log the last line with the time that stopping took; nothing if nobody asked."""
        if self._asked:
            name, at = self._asked
            took = round(1000 * (time.monotonic() - at))
            self._lines.put((message, {"signal": name, "duration_ms": took}))
            self._lines.put(None)
            self._writer.join(0.5)

    def _write(self) -> None:
        # a thread of its own: a signal's handler may have interrupted a line that is half written
        while line := self._lines.get():
            message, fields = line
            log.info(message, extra={"action": "stop", **fields})
