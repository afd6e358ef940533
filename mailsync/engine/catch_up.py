"""Sync one account until it is complete: hot pass, backfill to the end, hot pass again (SPEC §7, §20).

This takes many turns, so that others get the lock in between: a process that waits for it at every batch, and
this account's fresh mail at every tick. Backoff is ignored. The command budget is not: if it is used up, this
waits without the lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from mailsync.engine.cycle import backfill_turn, hot, hot_turn
from mailsync.engine.runner import take_turn
from mailsync.engine.turn import Turn
from mailsync.engine.turn_kind import TurnEnvironment, TurnKind
from mailsync.engine.turn_state import Tally
from mailsync.errors import MailsyncError, OutOfTokens, Stopped, TurnOver
from mailsync.imap.token_bucket import burst, refill
from mailsync.store import folders

_LONGEST_NAP = 60.0
_MOST_ROUNDS = 3
_MOST_SHORT_PAUSES = 2
"""Turns that may run out of commands before one gets all that can be saved up: a step may need many."""


@dataclass
class Progress:
    """The sum of what the turns so far have done."""

    tallies: dict[int, Tally] = field(default_factory=dict)
    turn: Turn | None = None

    def update(self, turn: Turn) -> None:
        """Add what `turn` has done until now."""
        self.turn = turn
        self.tallies[id(turn.tally)] = turn.tally

    def total(self, name: str) -> int:
        """The sum of one figure of :class:`~mailsync.engine.turn_state.Tally` over all turns."""
        return sum(getattr(tally, name) for tally in self.tallies.values())


def catch_up(
    env: TurnEnvironment,
    account_id: int,
    *,
    wait: float,
    full: bool = False,
    on_pause: Callable[[float], None] = lambda seconds: None,
) -> Progress:
    """Sync the account until its folders are complete and compared; returns what was done.

    `wait` is how many seconds to queue for the lock before Busy is raised. `full` forces discovery, and a
    flag scan and a reconcile of every folder. `on_pause` is called with the seconds of each wait for
    commands. Raises Stopped on request, and any error that ends a turn.
    """
    progress = Progress()
    show = env.on_progress

    def on_progress(turn: Turn) -> None:
        progress.update(turn)
        show(turn)

    def counted(work: Callable[[Turn], None]) -> Callable[[Turn], None]:
        def steps(turn: Turn) -> None:
            # a turn that ends early may never report progress
            progress.update(turn)
            work(turn)

        return steps

    env = replace(env, on_progress=on_progress)
    settings = env.settings
    fill_turn = replace(
        backfill_turn(settings),
        run=counted(backfill_turn(settings).run),
        trigger="cli",
        max_seconds=max(5.0, settings.sync_interval),
        lock_timeout=wait,
        insists=True,
    )

    def hot_turns(full: bool = False) -> Turn:
        # a turn of the full pass may be long: it yields to waiters at every batch
        limit = settings.backfill_batch_timeout if full else settings.hot_turn_max
        steps = counted(partial(hot, full=full, done={}))
        kind = replace(
            hot_turn(settings), run=steps, trigger="cli", max_seconds=limit, lock_timeout=wait, insists=True
        )
        return take_turns(env, account_id, kind, on_pause)

    folders.forget_retries(env.conn, account_id)
    turn = hot_turns(full)
    on_progress(turn)
    # A reconcile may leave missing messages to another backfill, and a large deletion to another turn.
    for _ in range(_MOST_ROUNDS):
        if _is_unfinished(turn):
            # a folder whose messages break connections gets further with each round, without waiting a tick
            folders.forget_retries(env.conn, account_id)
            _fill(env, account_id, fill_turn, hot_turns, on_pause)
        elif not any(folder.suspect_deletion for folder in turn.folders.tracked()):
            break
        turn = hot_turns()
    return progress


def _fill(
    env: TurnEnvironment,
    account_id: int,
    fill_turn: TurnKind,
    hot_turns: Callable[[], Turn],
    on_pause: Callable[[float], None],
) -> None:
    """Backfill to the end; a hot turn every tick fetches new mail meanwhile."""
    hot_at = time.monotonic()
    while True:
        try:
            _attempt(env, account_id, fill_turn)
            return
        except OutOfTokens as error:
            _pause(env, error, on_pause)
        except Stopped:
            raise
        except TurnOver:
            pass
        if time.monotonic() - hot_at >= env.settings.sync_interval:
            hot_turns()
            hot_at = time.monotonic()


def take_turns(
    env: TurnEnvironment,
    account_id: int,
    kind: TurnKind,
    on_pause: Callable[[float], None] = lambda seconds: None,
) -> Turn:
    """Take turns of one kind until one is not cut short; others may take the lock in between."""
    pauses = 0
    while True:
        try:
            return _attempt(env, account_id, kind)
        except OutOfTokens as error:
            pauses += 1
            _pause(env, error, on_pause, until_full=pauses > _MOST_SHORT_PAUSES)
        except Stopped:
            raise
        except TurnOver:
            continue


def _attempt(env: TurnEnvironment, account_id: int, kind: TurnKind) -> Turn:
    if env.stop:
        raise Stopped("asked to stop")
    turn = take_turn(env, account_id, kind)
    if turn is None:
        raise MailsyncError("the account is paused; resume it with `mailsync resume-account`")
    return turn


def _pause(
    env: TurnEnvironment, error: OutOfTokens, on_pause: Callable[[float], None], *, until_full: bool = False
) -> None:
    """Wait, without the lock, until the budget should allow some commands, or all that can be saved up."""
    limit = env.settings.imap_max_commands_per_minute
    seconds = min(_LONGEST_NAP, max(error.retry_after, burst(limit) / refill(limit) if until_full else 0.0))
    on_pause(seconds)
    until = time.monotonic() + seconds
    while not env.stop and time.monotonic() < until:
        time.sleep(0.2)


def _is_unfinished(turn: Turn) -> bool:
    return any(not folder.is_complete for folder in turn.folders.tracked())
