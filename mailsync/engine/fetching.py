"""Messages by the batch, whatever a server answers: nothing is lost for one bad message (SPEC §9.5).

A batch is counted in ``fetch_attempts`` before it is fetched. A row that is still there when a turn begins
tells what an earlier turn died of: those UIDs come in batches half as large, until the message that kills
is alone and, after three attempts, gets a row without content.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import closing

from mailsync.engine import rescue
from mailsync.engine.turn import Turn
from mailsync.imap import Batch
from mailsync.model import FolderState, Message
from mailsync.store import messages as store
from mailsync.uids import UidSet

log = logging.getLogger(__name__)

_BATCH_SECONDS = 1.0
_SMALLEST = 25


def fetch(
    turn: Turn, folder: FolderState, uids: UidSet, *, newest_first: bool
) -> Generator[tuple[UidSet, list[Message]], None, None]:
    """Fetch `uids` in batches: yields (UIDs asked for, their messages), in order, complete.

    Those that the server leaves out are asked for again, and are gone only if a search agrees. Ends early,
    after one batch at least, when the turn is over. A batch that takes longer than
    ``BACKFILL_BATCH_TIMEOUT`` ends the session.
    """
    suspects = store.open_attempts(turn.conn, folder)
    deadly = _deadly(uids, suspects)
    stubs = _stubs(turn, deadly)
    if deadly:
        suspects = [s for s in suspects if not deadly.between(s[0], s[1])]
        store.forget_batches(turn.conn, folder, deadly)
    rest = uids.minus(deadly)
    with closing(_fetch(turn, folder, rest, suspects, newest_first)) as fetched, rescue.blaming(turn, folder):
        for asked, found in fetched:
            rest = rest.minus(asked)
            passed = deadly.between(*((asked.lowest, deadly.highest) if newest_first else (1, asked.highest)))
            deadly = deadly.minus(passed)
            yield asked.union(passed), found + [stub for stub in stubs if stub.uid in passed]
    if deadly and not rest:
        yield deadly, [stub for stub in stubs if stub.uid in deadly]
    if suspects and not rest:
        store.forget_batches(turn.conn, folder, uids)


def _fetch(
    turn: Turn, folder: FolderState, uids: UidSet, suspects: list[tuple[int, int, int]], newest_first: bool
) -> Generator[tuple[UidSet, list[Message]], None, None]:
    timeout = turn.settings.backfill_batch_timeout
    first = True
    # one batch always: EXAMINE and SEARCH are paid for, and a worker that is late would never get to any
    while uids and not (turn.stop if first else turn.is_over()):
        first = False
        held: list[Batch] = []
        batches = _batches(turn, folder, uids, suspects, newest_first, held)
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
                rescued = rescue.rescue(turn, folder, _leftovers(batch))
            yield batch.asked, batch.messages + rescued


def _batches(
    turn: Turn,
    folder: FolderState,
    uids: UidSet,
    suspects: list[tuple[int, int, int]],
    newest_first: bool,
    held: list[Batch],
) -> Iterator[UidSet]:
    """Cut `uids` into batches while the turn lasts and nothing is `held` back; each is counted first."""
    rest, begun = uids, False
    while rest and (not begun or (not held and not turn.is_over())):
        begun = True
        batch = rest.newest(turn.batch_size) if newest_first else rest.oldest(turn.batch_size)
        size = _careful_size(batch, suspects, turn.batch_size)
        if size < len(batch):
            batch = batch.newest(size) if newest_first else batch.oldest(size)
        # what is not even asked for must not count as an attempt
        turn.session.check_budget()
        store.note_attempt(turn.conn, folder, batch)
        rest = rest.minus(batch)
        yield batch


def _deadly(uids: UidSet, suspects: list[tuple[int, int, int]]) -> UidSet:
    """The messages that ended as many turns as is allowed, each alone."""
    return UidSet.of(
        first for first, last, n in suspects if first == last and n >= rescue.MOST_ATTEMPTS and first in uids
    )


def _stubs(turn: Turn, deadly: UidSet) -> list[Message]:
    return [rescue.stub(uid) for uid in turn.session.search(uids=deadly)] if deadly else []


def _careful_size(batch: UidSet, suspects: list[tuple[int, int, int]], size: int) -> int:
    failures = sum(n for first, last, n in suspects if first <= batch.highest and last >= batch.lowest)
    return max(1, min(len(batch), size) >> failures)


def _adapt(turn: Turn, batch: Batch) -> None:
    if batch.seconds > 0 and batch.messages:
        fits = int(len(batch.messages) / batch.seconds * _BATCH_SECONDS)
        turn.batch_size = max(min(_SMALLEST, turn.settings.fetch_batch), min(fits, turn.settings.fetch_batch))


def _leftovers(batch: Batch) -> UidSet:
    return UidSet.of(batch.unparsable).union(batch.unanswered)
