"""Requests for one message while nothing else is in flight, so that failures can be blamed on the message.

A message that fails for the first time is requested in full, then without its structure, then without the
choice of header fields, then for flags, date and size (:func:`_with_less`). The next time each request may
end the connection, so they begin with the smallest, and the best answer counts (:func:`_with_more`). A
message that fails on two connections gets a placeholder (SPEC §9.5).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from mailsync.engine.turn import IsolationKey, Turn
from mailsync.errors import (
    DatabaseSlow,
    DatabaseUnavailable,
    LockLost,
    MailsyncError,
    ProtocolError,
    Transient,
)
from mailsync.imap import Batch, Detail
from mailsync.model import FolderState, Headers, Message
from mailsync.store import attempts
from mailsync.store import messages as store
from mailsync.uidset import LARGEST_UID, UidSet

log = logging.getLogger(__name__)

_CONNECTIONS = 2
_MOST_CRASHES = 3
_NO_ANSWER = "no readable answer"

NO_HEADERS = Headers(
    None, None, None, (), None, None, None, None, (), (), (), (), (), (), (), None, False, ()
)


class Answer(NamedTuple):
    """The part of one message that the server gives.

    ``message`` has its content; None if the server gives none. ``basics`` has flags, date and size, as far as
    the server gives them. ``failure`` is why there is no content, or not all of it; None if the server simply
    left the message out, or its answer could not be read.
    """

    message: Message | None = None
    basics: Message | None = None
    failure: MailsyncError | None = None


class Isolated(NamedTuple):
    """The outcome of a request for one message: a ``message``, at worst a placeholder, or none yet.

    Without one, the message has to be requested on another connection if it ``is_blamed``, otherwise in a
    later turn. ``failure`` is as in :class:`Answer`.
    """

    message: Message | None
    failure: MailsyncError | None = None
    is_blamed: bool = True


def ask(turn: Turn, uid: int) -> Message | None:
    """Fetch one message, with less detail after each answer that is not readable; None if none has content.

    Raises the error of a refusal or of a broken connection.
    """
    answer = _with_less(turn, uid)
    if answer.message is None and answer.failure is not None:
        raise answer.failure
    return answer.message


def isolate(turn: Turn, folder: FolderState, uid: int, *, is_proven: bool) -> Isolated:
    """Fetch one message that exists and that a batch lacked. Nothing may be in flight.

    The try is counted before it begins, a failure of the server after it. The connection may be closed
    afterwards. `is_proven` says that the server gives other messages of the folder. Otherwise no message is
    blamed for an error that the server calls temporary, unless it gives a neighbour just then. Raises errors
    that no message can cause, after which neither try nor failure is counted.
    """
    # checked before the attempt is counted: a message that is not requested must not count one
    turn.session.check_budget()
    key = _key(folder, uid)
    if key in turn.env.to_take_back:
        attempts.uncount_isolation(turn.conn, folder, uid)
        turn.env.to_take_back.discard(key)
    isolation = attempts.note_isolation(turn.conn, folder, uid)
    if isolation.failures >= _CONNECTIONS:
        return Isolated(_given_up(folder, uid))
    # A try that neither failed nor was taken back ended with its process. If the message killed the process,
    # the full request would kill the next ones, too.
    crashes = isolation.tries - 1 - isolation.failures
    with _blaming_nobody(turn, folder, uid):
        if crashes >= _MOST_CRASHES:
            basics = _fetch(turn, uid, Detail.BASIC).messages
            answer = Answer(without_content(basics[0], "unfetchable") if basics else None)
        elif isolation.failures:
            answer = _with_more(turn, uid)
        else:
            answer = _with_less(turn, uid)
        if answer.message is not None:
            # a later failure, such as a refused commit, is not the message's fault
            attempts.forget_attempts(turn.conn, folder, uid, uid)
            return Isolated(answer.message, answer.failure)
        is_proven = is_proven or answer.basics is not None or turn.session.closed
        is_temporary = isinstance(answer.failure, Transient) and not is_proven
        if is_temporary and not _gives_neighbour(turn, folder, uid):
            attempts.uncount_isolation(turn.conn, folder, uid)
            return Isolated(None, answer.failure, is_blamed=False)
        turn.result.needs_new_session = True
        failures = attempts.count_failure(turn.conn, folder, uid, str(answer.failure or _NO_ANSWER))
        if failures < _CONNECTIONS:
            return Isolated(None, answer.failure)
        basics_given = answer.basics or _one_by_one(turn, uid)
    return Isolated(_given_up(folder, uid, basics_given), answer.failure)


def placeholder(uid: int) -> Message:
    """Return the row of a message that exists and cannot be fetched; it is asked for again later (§9.5)."""
    errors = ("unfetchable", "internal_date", "size")
    return Message(uid, None, None, None, None, None, None, None, False, None, (), NO_HEADERS, errors)


def without_content(message: Message, why: str = "unstorable") -> Message:
    """Return `message` without any field that the sender controls."""
    missing = {"internal_date": message.internal_date, "size": message.size_bytes}
    return message._replace(
        provider_message_id=None,
        provider_thread_id=None,
        labels=None,
        flags=tuple(f for f in message.flags or () if f.startswith("\\")),
        has_attachments=False,
        mime_structure=None,
        attachments=(),
        headers=NO_HEADERS,
        parse_errors=(why, *(name for name, value in missing.items() if value is None)),
    )


# -- what to ask for -------------------------------------------------------------------------------------


def _with_less(turn: Turn, uid: int) -> Answer:
    """Ask for everything, and for less after each refusal; ends with the connection."""
    failure: MailsyncError | None = None
    for detail in (Detail.FULL, Detail.NO_STRUCTURE):
        batch = _fetch(turn, uid, detail)
        if batch.messages:
            return Answer(batch.messages[0])
        failure = batch.failure
        if turn.session.closed:
            return Answer(failure=failure)
    # the header is too long to be read, or the server fails to select its fields
    batch = _fetch(turn, uid, Detail.FEW_FIELDS if batch.unparsable else Detail.WHOLE_HEADER)
    if batch.messages:
        return Answer(batch.messages[0])
    if turn.session.closed:
        return Answer(failure=batch.failure)
    basics = _fetch(turn, uid, Detail.BASIC)
    return Answer(None, basics.messages[0] if basics.messages else None, basics.failure or failure)


def _with_more(turn: Turn, uid: int) -> Answer:
    """Ask for flags, date and size, and for more after each answer; the last one before a failure counts."""
    answer = Answer()
    for detail in (Detail.BASIC, Detail.NO_STRUCTURE, Detail.FULL):
        batch = _fetch(turn, uid, detail)
        if batch.messages and detail is Detail.BASIC:
            answer = answer._replace(basics=batch.messages[0])
        elif batch.messages:
            answer = answer._replace(message=batch.messages[0], failure=None)
        else:
            answer = answer._replace(failure=batch.failure)
            if turn.session.closed or answer.message is not None:
                break
    return answer


def _one_by_one(turn: Turn, uid: int) -> Message | None:
    """Ask for date, size and flags in a request each, if the server refuses to send them together."""
    known: Message | None = None
    for detail in (Detail.DATE, Detail.SIZE, Detail.FLAGS):
        if turn.session.closed:
            break
        for message in _fetch(turn, uid, detail).messages:
            known = known or message
            known = known._replace(
                internal_date=known.internal_date or message.internal_date,
                size_bytes=message.size_bytes if known.size_bytes is None else known.size_bytes,
                flags=message.flags if known.flags is None else known.flags,
            )
    return known


def _fetch(turn: Turn, uid: int, detail: Detail) -> Batch:
    with turn.session.deadline(turn.settings.backfill_batch_timeout):
        return turn.session.fetcher(detail).fetch(UidSet([(uid, uid)]))


# -- who is to blame -------------------------------------------------------------------------------------


@contextmanager
def recording_failure(turn: Turn, folder: FolderState) -> Iterator[None]:
    """Record a server's error that ends a fetch in ``fetch_attempts``, without blaming any message."""
    try:
        yield
    except (Transient, ProtocolError) as error:
        attempts.record_attempt_error(turn.conn, folder, str(error))
        raise


@contextmanager
def _blaming_nobody(turn: Turn, folder: FolderState, uid: int) -> Iterator[None]:
    """Uncount the try if it ends for a reason that has nothing to do with the message."""
    try:
        yield
    except (DatabaseUnavailable, LockLost) as error:
        if isinstance(error, DatabaseSlow):
            # only then can the connection still write
            attempts.uncount_isolation(turn.conn, folder, uid)
        else:
            turn.env.to_take_back.add(_key(folder, uid))
        raise
    except MailsyncError:
        attempts.uncount_isolation(turn.conn, folder, uid)
        raise


def _gives_neighbour(turn: Turn, folder: FolderState, uid: int) -> bool:
    """Whether the server gives the next message below `uid` or above it that has a row."""
    others = store.live_uids(turn.conn, folder, 1, LARGEST_UID)
    others = others.minus(attempts.silent_uids(turn.conn, folder).union(UidSet.of([uid])))
    below, above = others.between(1, uid).newest(1), others.between(uid, LARGEST_UID).oldest(1)
    # an error that no message can cause ends the turn, as for the message itself
    return any(_fetch(turn, other.lowest, Detail.FULL).messages for other in (below, above) if other)


def _key(folder: FolderState, uid: int) -> IsolationKey:
    return folder.account_id, folder.id, folder.uidvalidity, uid


def _given_up(folder: FolderState, uid: int, basics: Message | None = None) -> Message:
    log.warning(
        "A message cannot be fetched",
        extra={"action": "fetch", "account_id": folder.account_id, "folder_id": folder.id, "uid": uid},
    )
    return placeholder(uid) if basics is None else without_content(basics, "unfetchable")
