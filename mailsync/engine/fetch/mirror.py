"""From UIDs to rows: the one loop of new mail, backfill and reconcile (SPEC §9.4, §10.4).

Postgres writes a batch while the next one is read and parsed. One bad message costs no other: a batch that
came back incomplete is completed by :mod:`mailsync.engine.fetch.completion` before it is written.
"""

from __future__ import annotations

from contextlib import closing

from mailsync.engine.fetch.batches import BatchPlan, Request
from mailsync.engine.fetch.commit import BatchWriter, Cursor
from mailsync.engine.fetch.completion import Completion
from mailsync.engine.fetch.pipeline import FetchPipeline
from mailsync.engine.fetch.single_messages import recording_failure
from mailsync.engine.steps import window
from mailsync.engine.turn import Turn
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
    not answer is gone only if a search agrees. `announce` emits one event a message. No cursor passes a
    message that is left to a later turn, which :meth:`Completion.end` raises; the messages after it are
    stored all the same. Whatever is raised, the batches that were complete before are stored.
    """
    open_attempts = attempts.open_attempts(turn.conn, folder)
    plan = BatchPlan(uids, open_attempts, newest_first=newest_first)
    with (
        closing(FetchPipeline(turn, folder)) as fetch,
        BatchWriter(turn, folder, announce=announce) as writer,
        recording_failure(turn, folder),
    ):
        completion = Completion(turn, folder, plan, writer)
        fetch.send(_next_request(turn, plan))
        while request := fetch.in_flight:
            may_pass = not completion.left
            batch = received = fetch.receive()
            # a cursor must not pass over a batch that was not stored
            writer.finish_commit()
            if batch.unanswered or batch.unparsable:
                # nothing is in flight now, so the server can be asked about single messages
                batch = completion.complete(request, batch)
            completion.note_answer(batch)
            if not completion.is_over:
                # the next command goes out before this batch is written
                fetch.send(_next_request(turn, plan))
            _tune_batch_size(turn, received)
            _write(turn, plan, writer, batch, cursor if may_pass else None)
            turn.env.on_progress(turn)
        writer.finish_commit()
        completion.end()
        if open_attempts and not plan.remaining:
            attempts.forget_batches(turn.conn, folder, uids)
    return plan.remaining


def _write(turn: Turn, plan: BatchPlan, writer: BatchWriter, batch: Batch, cursor: Cursor | None) -> None:
    """Write `batch`; the cursor stops before the first message that is left to a later turn."""
    plan.done(batch.requested.minus(batch.unanswered))
    passed = plan.before(batch.unanswered, batch.requested) if cursor else batch.requested
    if not batch.unanswered or (cursor and passed):
        messages = [message for message in batch.messages if message.uid in passed]
        writer.write(Batch(passed, messages), window.inside(turn, messages), cursor)
    if batch.unanswered:
        # the attempts at what is left have to stay
        writer.write(Batch(UidSet()), window.inside(turn, batch.messages), None)


def _next_request(turn: Turn, plan: BatchPlan) -> Request | None:
    # Always fetch one batch. EXAMINE and SEARCH are already spent, and a worker that starts late would never
    # make progress.
    is_over = turn.is_over() if plan.has_begun else turn.env.stop
    return None if is_over else plan.next(turn.batch_size)


def _tune_batch_size(turn: Turn, batch: Batch) -> None:
    if batch.seconds > 0 and batch.messages:
        size = int(len(batch.messages) / batch.seconds * _BATCH_SECONDS)
        # half of the size that ends the session
        size = min(
            size, len(batch.messages) * largest_batch(len(batch.requested)) // max(1, 2 * batch.weight)
        )
        turn.batch_size = max(min(_SMALLEST, turn.settings.fetch_batch), min(size, turn.settings.fetch_batch))
