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
    """Return the oldest ``internal_date`` to mirror; None for all mail."""
    if turn.account.sync_since is not None:
        return turn.account.sync_since
    if turn.account.sync_window_days:
        return turn.now() - timedelta(days=turn.account.sync_window_days)
    return None


def search_since(turn: Turn) -> date | None:
    """Return the day for SEARCH SINCE, one day early: servers compare days in a time zone of their own."""
    begins = start(turn)
    return None if begins is None else (begins - timedelta(days=1)).date()


def inside(turn: Turn, messages: Iterable[Dated]) -> list[Dated]:
    """Return the messages that are not older than the window; one without a date is inside."""
    begins = start(turn)
    return [m for m in messages if begins is None or m.internal_date is None or m.internal_date >= begins]


def apply_window(turn: Turn) -> None:
    """Bring ``mirrored_since`` in line with the window, if a person moved the window or it rolled on.

    After the window was widened or removed, the backfill pass fetches the older mail. After it was narrowed,
    ``mirrored_since`` moves at once, since folders that are filled from now on reach no further back;
    retention, which is made due, expires the older rows. Retention also moves ``mirrored_since`` along a
    rolling window.
    """
    begins, reached = start(turn), turn.account.mirrored_since
    if begins is None and reached is None:
        return
    if reached is not None and (begins is None or reached - begins > _slack(turn)):
        turn.ensure_run()
        retention.backfill_window(turn.conn, turn.account.id, begins)
        turn.folders.reload_all()
        log.info(
            "Window widened; fetching older mail",
            extra={"action": "window", "account_id": turn.account.id, "since": str(begins or "all mail")},
        )
    elif begins is not None and (reached is None or begins - reached > _DAY):
        retention.set_mirrored_since(turn.conn, turn.account.id, begins)
        retention.make_due(turn.conn)


def _slack(turn: Turn) -> timedelta:
    # A rolling window follows the clock, which may be set back a little; a person widens it by whole days.
    return timedelta() if turn.account.sync_since is not None else _CLOCK_STEP
