"""Kill a program with SIGKILL at a piece of data that it sends through a proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.support.patience import PATIENCE
from tests.support.proxy import Proxy


class Killer:
    """Kills a program when it sends its `number`-th piece (from 1) after `begins` has become true.

    A piece that is `delivered` still arrives: the database commits a statement whose answer nobody reads.
    Otherwise the piece is lost. ``killed`` tells whether the program sent as many.
    """

    def __init__(
        self,
        proxy: Proxy,
        number: int,
        *,
        delivered: bool,
        begins: Callable[[], object] = lambda: True,
    ) -> None:
        self.killed = False
        self._number, self._delivered, self._begins = number, delivered, begins
        self._pieces = 0
        self._lock = threading.Lock()
        self._kill: Callable[[], object] | None = None
        self._known = threading.Event()
        proxy.on_piece = self._on_piece

    def watch(self, kill: Callable[[], object]) -> None:
        """Say how to kill the program, as by ``Running.kill9``; until then its pieces wait."""
        self._kill = kill
        self._known.set()

    def _on_piece(self, link: int) -> None:
        if not self._known.wait(PATIENCE):
            raise TimeoutError("nobody said how to kill the program")
        with self._lock:
            if self.killed:
                raise ConnectionAbortedError("the program is dead")
            self._pieces += bool(self._begins())
            if self._pieces < self._number:
                return
            assert self._kill
            self.killed = True
            self._kill()
        if not self._delivered:
            raise ConnectionAbortedError("lost with its sender")
