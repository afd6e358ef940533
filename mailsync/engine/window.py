"""The window of an account: how far back its mail is mirrored (``sync_since`` or ``sync_window_days``)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import TypeVar

from mailsync.engine.turn import Turn
from mailsync.model import Message, MessageState

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
