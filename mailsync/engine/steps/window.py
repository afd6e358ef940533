"""The window of an account: how far back its mail is mirrored (``sync_since`` or ``sync_window_days``).

A window that a person widened is backfilled (SPEC §15).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import TypeVar

from mailsync.engine.turn import Turn
from mailsync.model import Message, MessageState
from mailsync.store import retention

log = logging.getLogger(__name__)

_CLOCK_STEP = timedelta(hours=1)
_DAY = timedelta(days=1)

Dated = TypeVar("Dated", Message, MessageState)


def start(turn: Turn) -> datetime | None:
    """The oldest ``internal_date`` that is mirrored; None for all mail."""
    if turn.account.sync_since is not None:
        return turn.account.sync_since
    if turn.account.sync_window_days:
        return turn.now() - timedelta(days=turn.account.sync_window_days)
    return None


def search_since(turn: Turn) -> date | None:
    """The day for SEARCH SINCE: one earlier, since servers compare days in a zone of their own."""
    begins = start(turn)
    return None if begins is None else (begins - timedelta(days=1)).date()


def inside(turn: Turn, messages: Iterable[Dated]) -> list[Dated]:
    """Those of `messages` that are not older than the window; one without a date is inside."""
    begins = start(turn)
    return [m for m in messages if begins is None or m.internal_date is None or m.internal_date >= begins]


def follow(turn: Turn) -> None:
    """Bring ``mirrored_since`` in line with the window, which a person may have moved; quiet if it is.

    A window that begins earlier, or is gone, lets the backfill pass fetch what is missing. One that was
    narrowed is noted at once, since the folders that are filled from now on reach no further; its rows
    expire at the next retention, which is due at once then, and also moves a rolling window's reach along.
    """
    begins, reached = start(turn), turn.account.mirrored_since
    if begins is None and reached is None:
        return
    if reached is not None and (begins is None or reached - begins > _slack(turn)):
        turn.ensure_run()
        retention.reach_back(turn.conn, turn.account.id, begins)
        turn.folders.reload_all()
        log.info(
            "Window widened, older mail is fetched",
            extra={"action": "window", "account_id": turn.account.id, "since": str(begins or "all mail")},
        )
    elif begins is not None and (reached is None or begins - reached > _DAY):
        retention.move_reach(turn.conn, turn.account.id, begins)
        retention.hasten(turn.conn)


def _slack(turn: Turn) -> timedelta:
    # a rolling window follows the clock, which may be set back a little; it widens by whole days
    return timedelta() if turn.account.sync_since is not None else _CLOCK_STEP
