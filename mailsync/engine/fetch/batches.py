"""Messages by the batch, whatever a server answers: nothing is lost for one bad message (SPEC §9.5).

A batch is noted in ``fetch_attempts`` before it is fetched. A row that is still there when a turn begins says
what was being fetched when an earlier turn ended, for whatever reason: those UIDs are fetched in batches half
as large, until a message is alone. That one is isolated, and only then can it be to blame
(:mod:`mailsync.engine.fetch.single_messages`).
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import closing

from mailsync.engine.fetch import single_messages
from mailsync.engine.turn import Turn
from mailsync.errors import TurnOver
from mailsync.imap import Batch
from mailsync.imap.bounds import largest_batch
from mailsync.model import FolderState, Message
from mailsync.store import attempts
from mailsync.store.attempts import OpenAttempt
from mailsync.uidset import UidSet

log = logging.getLogger(__name__)

_BATCH_SECONDS = 1.0
_SMALLEST = 25


def fetch(
    turn: Turn, folder: FolderState, uids: UidSet, *, newest_first: bool
) -> Generator[tuple[UidSet, list[Message]], None, None]:
    """Fetch `uids` in batches: yields (UIDs asked for, their messages), in order, complete.

    Those that the server leaves out are asked for again, and are gone only if a search agrees. Ends early,
    after one batch at least, when the turn is over. A batch that takes longer than
    ``BACKFILL_BATCH_TIMEOUT`` ends the session. Raises TurnOver when a message has to be asked for on
    another connection first.
    """
    suspects = attempts.open_attempts(turn.conn, folder)
    rest = uids
    with (
        closing(_fetch(turn, folder, uids, suspects, newest_first)) as fetched,
        single_messages.recording_failure(turn, folder),
    ):
        for asked, found in fetched:
            rest = rest.minus(asked)
            yield asked, found
    if suspects and not rest:
        attempts.forget_batches(turn.conn, folder, uids)


def _fetch(
    turn: Turn, folder: FolderState, uids: UidSet, suspects: list[OpenAttempt], newest_first: bool
) -> Generator[tuple[UidSet, list[Message]], None, None]:
    timeout = turn.settings.backfill_batch_timeout
    isolated = UidSet.of(s.first for s in suspects if s.first == s.last and s.first in uids)
    first = True
    # one batch always: EXAMINE and SEARCH are paid for, and a worker that is late would never get to any
    while uids and not (turn.stop if first else turn.is_over()):
        first = False
        stretch = _before(isolated, uids, newest_first)
        if not stretch:
            uid = uids.highest if newest_first else uids.lowest
            asked = UidSet([(uid, uid)])
            with turn.session.deadline(timeout):
                messages, left = single_messages.isolate(turn, folder, uid)
            if left:
                raise _on_another_connection()
            if any("unfetchable" in m.parse_errors for m in messages):
                # the cause of the failed batches is known now: no other message in them is suspected
                attempts.forget_batches(turn.conn, folder, asked)
                suspects = [s for s in suspects if not s.first <= uid <= s.last]
            uids, isolated = uids.minus(asked), isolated.minus(asked)
            yield asked, messages
            continue
        held: list[Batch] = []
        batches = _batches(turn, folder, stretch, suspects, newest_first, held)
        with closing(turn.session.fetch_messages(batches)) as stream:
            while True:
                with turn.session.deadline(timeout):
                    batch = next(stream, None)
                if batch is None:
                    break
                uids = uids.minus(batch.asked)
                _adapt(turn, batch)
                if held or _leftovers(batch):
                    held.append(batch)
                else:
                    yield batch.asked, batch.messages
        # nothing is in flight now, so the server can be asked about what is missing
        for batch in held:
            with turn.session.deadline(timeout):
                messages, left = single_messages.refetch(turn, folder, _leftovers(batch))
            asked = _before(left, batch.asked, newest_first)
            if asked:
                yield asked, [m for m in (*batch.messages, *messages) if m.uid in asked]
            if left:
                # the batch as a whole ended no turn
                attempts.forget_batches(turn.conn, folder, batch.asked)
                raise _on_another_connection()


def _before(stops: UidSet, uids: UidSet, newest_first: bool) -> UidSet:
    """Those of `uids` that are fetched before the first of `stops` is."""
    stops = stops.both(uids)
    if not stops:
        return uids
    if newest_first:
        return uids.between(stops.highest + 1, uids.highest)
    return uids.between(uids.lowest, stops.lowest - 1)


def _on_another_connection() -> TurnOver:
    return TurnOver("a message that the server did not give is asked for again on another connection")


def _batches(
    turn: Turn,
    folder: FolderState,
    uids: UidSet,
    suspects: list[OpenAttempt],
    newest_first: bool,
    held: list[Batch],
) -> Iterator[UidSet]:
    """Cut `uids` into batches while the turn lasts and nothing is `held` back; each is noted first."""
    rest, begun = uids, False
    while rest and (not begun or (not held and not turn.is_over())):
        begun = True
        batch = rest.newest(turn.batch_size) if newest_first else rest.oldest(turn.batch_size)
        size = _careful_size(batch, suspects, turn.batch_size)
        if size < len(batch):
            batch = batch.newest(size) if newest_first else batch.oldest(size)
        # what is not even asked for must not count as an attempt
        turn.session.check_budget()
        attempts.note_attempt(turn.conn, folder, batch)
        rest = rest.minus(batch)
        yield batch


def _careful_size(batch: UidSet, suspects: list[OpenAttempt], size: int) -> int:
    begun = sum(s.attempts for s in suspects if s.first <= batch.highest and s.last >= batch.lowest)
    return max(1, min(len(batch), size) >> begun)


def _adapt(turn: Turn, batch: Batch) -> None:
    if batch.seconds > 0 and batch.messages:
        fits = int(len(batch.messages) / batch.seconds * _BATCH_SECONDS)
        # half of the size that ends the session
        fits = min(fits, len(batch.messages) * largest_batch(len(batch.asked)) // max(1, 2 * batch.weight))
        turn.batch_size = max(min(_SMALLEST, turn.settings.fetch_batch), min(fits, turn.settings.fetch_batch))


def _leftovers(batch: Batch) -> UidSet:
    return UidSet.of(batch.unparsable).union(batch.unanswered)
