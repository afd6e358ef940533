"""Dates of placeholders for which the server gives none: those of the nearest messages; pure (SPEC §9.5)."""

from __future__ import annotations

from collections.abc import Mapping

from mailsync.model import Message


def with_estimated_dates(messages: Mapping[int, Message], last: Message | None) -> dict[int, Message]:
    """Return `messages`, by UID, in which placeholders without a date have the one of their neighbour.

    Servers number messages in the order of their arrival, so the message with the nearest UID arrived at
    about the same time. `last` is the message that was fetched before, if any. ``parse_errors`` keeps naming
    ``internal_date``. Without any neighbour the date stays unknown.
    """
    undated = [
        m.uid for m in messages.values() if m.internal_date is None and "unfetchable" in m.parse_errors
    ]
    if not undated:
        return dict(messages)
    dated = [m for m in (*messages.values(), *([last] if last else [])) if m.internal_date is not None]
    result = dict(messages)
    for uid in undated:
        nearest = min(dated, key=lambda m: abs(m.uid - uid), default=None)
        if nearest is not None:
            result[uid] = result[uid]._replace(internal_date=nearest.internal_date)
    return result
