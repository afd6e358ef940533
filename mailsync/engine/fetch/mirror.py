"""From UIDs to rows: the one loop of new mail, backfill and reconcile (SPEC §9.4, §10.4).

Postgres writes a batch while the next one is read and parsed. One bad message costs no other: a batch that
came back incomplete is completed by :mod:`mailsync.engine.fetch.single_messages` before it is written.
"""

from __future__ import annotations

from contextlib import closing

from mailsync.engine.fetch.batches import BatchPlan, Request
from mailsync.engine.fetch.commit import BatchWriter, Cursor
from mailsync.engine.fetch.pipeline import FetchPipeline
from mailsync.engine.fetch.single_messages import isolate, recording_failure, refetch
from mailsync.engine.steps import window
from mailsync.engine.turn import Turn
from mailsync.errors import TurnOver
from mailsync.imap import Batch
from mailsync.imap.bounds import largest_batch
from mailsync.model import FolderState
from mailsync.store import attempts
from mailsync.uidset import UidSet

_BATCH_SECONDS = 1.0
_SMALLEST = 25


def mirror(
    turn: Turn,
    folder: FolderState,
    uids: UidSet,
    *,
    newest_first: bool,
    announce: bool,
    cursor: Cursor | None = None,
) -> UidSet:
    """Fetch `uids` of the EXAMINEd folder in batches, and commit each with its `cursor`.

    Returns the UIDs that the turn did not reach; it fetches at least one batch. A UID that the server does
    not answer is gone only if a search agrees. `announce` emits one event a message. Raises TurnOver when a
    message has to be asked for again on another connection. Whatever is raised, the batches that were
    complete before are stored.
    """
    open_attempts = attempts.open_attempts(turn.conn, folder)
    plan = BatchPlan(uids, open_attempts, newest_first=newest_first)
    with (
        closing(FetchPipeline(turn, folder)) as fetch,
        BatchWriter(turn, folder, announce=announce) as writer,
        recording_failure(turn, folder),
    ):
        fetch.send(_next_request(turn, plan))
        while request := fetch.in_flight:
            batch = received = fetch.receive()
            # a cursor must not pass over a batch that was not stored
            writer.finish_commit()
            if _unread(batch):
                # nothing is in flight now, so the server can be asked about single messages
                batch = _complete(turn, folder, plan, request, batch)
            if not batch.unanswered:
                # the next command goes out before this batch is written
                fetch.send(_next_request(turn, plan))
            _tune_batch_size(turn, received)
            if batch.requested:
                writer.write(batch, window.inside(turn, batch.messages), cursor)
                plan.done(batch.requested)
            turn.env.on_progress(turn)
            if batch.unanswered:
                raise TurnOver("a message that the server refused is asked for again on another connection")
        if open_attempts and not plan.remaining:
            attempts.forget_batches(turn.conn, folder, uids)
    return plan.remaining


def _next_request(turn: Turn, plan: BatchPlan) -> Request | None:
    # Always fetch one batch. EXAMINE and SEARCH are already spent, and a worker that starts late would never
    # make progress.
    is_over = turn.is_over() if plan.has_begun else turn.env.stop
    return None if is_over else plan.next(turn.batch_size)


def _unread(batch: Batch) -> UidSet:
    return UidSet.of(batch.unparsable).union(batch.unanswered)


def _complete(turn: Turn, folder: FolderState, plan: BatchPlan, request: Request, batch: Batch) -> Batch:
    """Ask again for what `batch` lacks.

    Messages that have to be asked for on another connection are ``unanswered`` in the batch that is returned,
    which ends before the first of them.
    """
    with turn.session.deadline(turn.settings.backfill_batch_timeout):
        if request.isolate:
            messages, refused = isolate(turn, folder, batch.requested)
        else:
            messages, refused = refetch(turn, folder, _unread(batch))
    if refused and not request.isolate:
        # the batch as a whole ended no turn
        attempts.forget_batches(turn.conn, folder, batch.requested)
    elif request.isolate and any("unfetchable" in message.parse_errors for message in messages):
        # the cause of the failed batches is known now: no other message in them is suspected
        attempts.forget_batches(turn.conn, folder, batch.requested)
        plan.forget_attempts(batch.requested)
    asked = plan.before(refused, batch.requested)
    messages = [message for message in (*batch.messages, *messages) if message.uid in asked]
    return Batch(asked, messages, unanswered=refused)


def _tune_batch_size(turn: Turn, batch: Batch) -> None:
    if batch.seconds > 0 and batch.messages:
        size = int(len(batch.messages) / batch.seconds * _BATCH_SECONDS)
        # half of the size that ends the session
        size = min(
            size, len(batch.messages) * largest_batch(len(batch.requested)) // max(1, 2 * batch.weight)
        )
        turn.batch_size = max(min(_SMALLEST, turn.settings.fetch_batch), min(size, turn.settings.fetch_batch))
