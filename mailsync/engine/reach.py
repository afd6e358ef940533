"""How far back a mirror reaches, against the account's window: a widened one is backfilled (SPEC §15)."""

from __future__ import annotations

import logging
from datetime import timedelta

from mailsync.engine import window
from mailsync.engine.turn import Turn
from mailsync.store import folders, retention

log = logging.getLogger(__name__)

_CLOCK_STEP = timedelta(hours=1)
_DAY = timedelta(days=1)


def follow(turn: Turn) -> None:
    """Bring ``mirrored_since`` in line with the window, which a person may have moved; quiet if it is.

    A window that begins earlier, or is gone, lets the backfill pass fetch what is missing. One that was
    narrowed is noted at once, since the folders that are filled from now on reach no further; its rows
    expire at the next retention, which is due at once then, and also moves a rolling window's reach along.
    """
    begins, reached = window.start(turn), turn.account.mirrored_since
    if begins is None and reached is None:
        return
    if reached is not None and (begins is None or reached - begins > _slack(turn)):
        turn.working()
        retention.reach_back(turn.conn, turn.account.id, begins)
        turn.folders = folders.load(turn.conn, turn.account.id)
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
