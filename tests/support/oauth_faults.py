"""Wrong answers of an authorization server of the tests: errors, HTML, redirects, silence, slow bytes."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.patience import PATIENCE

DRIP = 0.05


@dataclass(frozen=True)
class Fault:
    """An answer in place of the right one.

    ``body`` may be text (an HTML page) or a value that is sent as JSON. ``silent`` never answers, and
    ``dripping`` sends one byte every 50 ms without end. Both last until the server stops.
    """

    status: int = 500
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False
    dripping: bool = False

    def content(self) -> tuple[bytes, str]:
        """Return the bytes of the body and their media type."""
        if isinstance(self.body, bytes | str):
            text = self.body if isinstance(self.body, bytes) else self.body.encode()
            return text, "text/html; charset=utf-8"
        return json.dumps(self.body or {}).encode(), "application/json"


class Hold:
    """A request that waits inside the server until ``release``."""

    def __init__(self, answered: bool) -> None:
        self.answered = answered
        self._arrived, self._released = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Wait until the request has come to the point where it is held."""
        if not self._arrived.wait(PATIENCE):
            raise TimeoutError("the request to hold did not come")

    def release(self) -> None:
        """Let the request go on."""
        self._released.set()

    def stop_here(self) -> None:
        """Be held, in the thread of the request."""
        self._arrived.set()
        self._released.wait()


class Faults:
    """The faults, holds and changes that wait for the next requests to each endpoint."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._holds: dict[str, deque[Hold]] = defaultdict(deque)
        self._all_holds: list[Hold] = []
        self._changes: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self._stopped = threading.Event()

    def fail(self, endpoint: str, fault: Fault, times: int | None) -> None:
        """Give `fault` as the next answers of an endpoint, with None as all answers until ``recover``."""
        with self._lock:
            if times is None:
                self._always[endpoint] = fault
            else:
                self._faults[endpoint].extend([fault] * times)

    def recover(self, endpoint: str) -> None:
        """Forget the faults of an endpoint."""
        with self._lock:
            self._always.pop(endpoint, None)
            self._faults[endpoint].clear()

    def hold(self, endpoint: str, answered: bool) -> Hold:
        """Hold the next request to an endpoint."""
        hold = Hold(answered)
        with self._lock:
            self._holds[endpoint].append(hold)
            self._all_holds.append(hold)
        return hold

    def change(self, endpoint: str, fields: dict[str, Any]) -> None:
        """Change fields of the next answer of an endpoint."""
        with self._lock:
            self._changes[endpoint].append(fields)

    def next(self, endpoint: str) -> tuple[Fault | None, Hold | None, dict[str, Any]]:
        """Take what waits for a request that has arrived."""
        with self._lock:
            faults, holds, changes = self._faults[endpoint], self._holds[endpoint], self._changes[endpoint]
            fault = faults.popleft() if faults else self._always.get(endpoint)
            # a failed request changes nothing, so the change waits for one that is granted
            change = changes.popleft() if changes and not fault else {}
            return fault, holds.popleft() if holds else None, change

    def drip(self, content: bytes) -> Iterator[bytes]:
        """Yield the content byte by byte, then blanks, until the server stops."""
        for i in range(1_000_000):
            if self._stopped.wait(DRIP):
                return
            yield content[i : i + 1] or b" "

    def be_silent(self) -> None:
        """Wait until the server stops."""
        self._stopped.wait()

    def stop(self) -> None:
        """Let go of every request that is held, silent or dripping."""
        self._stopped.set()
        for hold in self._all_holds:
            hold.release()
