"""The kinds of turns, and the environment that the process gives to each."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from mailsync.config import Settings
from mailsync.engine.counters import Counters
from mailsync.engine.parking import Listener
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn import IsolationKey, StopSignal, Turn
from mailsync.errors import MailsyncError
from mailsync.store.db import Connection


@dataclass
class TurnEnvironment:
    """The parts that turns get from the process: its connection, its kept sessions, its stop signal.

    ``listener`` listens to the sessions that turns park; without one, none is parked. ``is_wanted`` says
    whether an account with changes waits for its turn. ``chance`` gives numbers in 0 … 1 that spread backoffs
    and safety nets. ``on_progress`` is called at every batch, ``on_alive`` at least once a second, also while
    a turn waits for its server. ``to_take_back`` holds attempts at single messages that a lost database
    interrupted, until the next turn can take them back. ``survived`` holds, by account, the beginning of a
    turn whose end could not be written, although this process lives.
    """

    conn: Connection
    settings: Settings
    started_by: str
    sessions: SessionCache
    counters: Counters = field(default_factory=Counters)
    stop: StopSignal = field(default_factory=StopSignal)
    listener: Listener | None = None
    is_wanted: Callable[[], bool] = lambda: False
    chance: Callable[[], float] = random.random
    on_progress: Callable[[Turn], None] = lambda turn: None
    on_alive: Callable[[], None] = lambda: None
    to_take_back: set[IsolationKey] = field(default_factory=set)
    survived: dict[int, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TurnKind:
    """A kind of turn: its work, who asks for it, how long it may take, how much it leaves to others.

    ``run`` does the work on a connected turn. ``reserved_share`` is the share of the command burst that
    stays for other turns. ``min_commands`` is the number of commands that the work needs to make progress,
    without those of a login. ``lock_timeout`` is None for a turn that only tries the lock, else the seconds
    that it waits. ``updates_health`` says whether the turn decides the account's state, ``reschedules``
    whether it decides the next tick. Without ``records_failure`` a failure changes neither the account's
    state nor its runs: the caller reports it, and the next tick finds it again; a rejected login and a
    request to slow down are recorded all the same. ``precheck`` runs under the lock and before a login; the
    error that it returns ends the turn. Lost turns are counted by ``name``. One that ``insists`` runs
    however many were lost, because a person asked for it. One that ``parks`` leaves its session listening;
    one that ``yields_to_wakes`` ends as soon as another account's session was told of changes.
    """

    run: Callable[[Turn], None]
    trigger: str
    max_seconds: float
    reserved_share: float
    lock_timeout: float | None = None
    updates_health: bool = True
    reschedules: bool = True
    min_commands: float = 1.0
    records_failure: bool = True
    precheck: Callable[[Turn], MailsyncError | None] = lambda turn: None
    name: str = "sync"
    insists: bool = False
    parks: bool = False
    yields_to_wakes: bool = False

    @property
    def is_scheduled(self) -> bool:
        """Whether no person started the turn."""
        return self.trigger in ("schedule", "push")
