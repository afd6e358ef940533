"""What a process hands to its turns, and what kinds of turns there are."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from mailsync.config import Settings
from mailsync.engine.counters import Counters
from mailsync.engine.sessions import Sessions
from mailsync.engine.turn import IsolationKey, StopSignal, Turn
from mailsync.errors import MailsyncError
from mailsync.store.db import Connection


@dataclass
class Engine:
    """What turns need of the process: its connection, its kept sessions, and how it is told to stop.

    `chance` gives numbers in 0 … 1 that spread backoffs and safety nets. `on_progress` is called at every
    batch, `on_alive` at least once a second, also while a turn waits for its server. `to_take_back` are the
    requests for single messages that a lost database ended, until that can be written. ``survived`` has, by
    account, the beginning of a turn whose end could not be written although this process lives.
    """

    conn: Connection
    settings: Settings
    started_by: str
    sessions: Sessions
    counters: Counters = field(default_factory=Counters)
    stop: StopSignal = field(default_factory=StopSignal)
    chance: Callable[[], float] = random.random
    on_progress: Callable[[Turn], None] = lambda turn: None
    on_alive: Callable[[], None] = lambda: None
    to_take_back: set[IsolationKey] = field(default_factory=set)
    survived: dict[int, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of turn: what it does, who asks for it, how long it may take, what it leaves of the budget.

    ``floor`` is the share of the command burst that stays for others; ``wait`` is None for those who only try
    the lock, else seconds in its queue. ``judged`` tells whether the account's state follows from the turn,
    ``reschedules`` whether its next tick does. ``least`` is how many commands it needs to get anywhere,
    without those of a login. ``told`` False keeps even a failure from the account's state and from its runs:
    who asked is told of it, and the next tick finds out for itself; but for a rejected login and a plea for
    patience, which hold whoever meets them. ``refusal`` is asked once the lock is held, before a login. Lost
    turns are counted by ``kind``. With ``insists`` a person asks, so lost turns do not hold this one back.
    """

    steps: Callable[[Turn], None]
    trigger: str
    limit: float
    floor: float
    wait: float | None = None
    judged: bool = True
    reschedules: bool = True
    least: float = 1.0
    told: bool = True
    refusal: Callable[[Turn], MailsyncError | None] = lambda turn: None
    kind: str = "sync"
    insists: bool = False
