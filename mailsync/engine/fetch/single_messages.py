"""Single messages that a batch lacks: asked for again, alone, with less and less detail (SPEC §9.5).

A message is blamed only for a failure that happens while nothing else is in flight. If the server fails to
give it on two connections, it gets a placeholder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mailsync.engine.turn import IsolationKey, Turn
from mailsync.errors import (
    DatabaseSlow,
    DatabaseUnavailable,
    LockLost,
    MailsyncError,
    ProtocolError,
    SentTooMuch,
    Transient,
)
from mailsync.imap import Detail
from mailsync.imap.bounds import LARGEST_BATCH, weight
from mailsync.model import FolderState, Headers, Message
from mailsync.store import attempts
from mailsync.uidset import UidSet

log = logging.getLogger(__name__)

_CONNECTIONS = 2
_MOST_CRASHES = 3
_LADDER = (Detail.FULL, Detail.NO_STRUCTURE, Detail.BASIC)

NO_HEADERS = Headers(
    None, None, None, (), None, None, None, None, (), (), (), (), (), (), (), None, False, ()
)


def refetch(turn: Turn, folder: FolderState, uids: UidSet) -> tuple[list[Message], UidSet]:
    """Fetch `uids` again, which were not answered, or not readably. Nothing may be in flight.

    Returns the messages, at worst placeholders, and the UIDs that have to be asked for again on another
    connection. Messages that a SEARCH no longer finds are gone, and in neither.
    """
    if not uids:
        return [], UidSet()
    existing = turn.session.search(uids=uids)
    messages: list[Message] = []
    size = 0
    for batch in turn.session.fetch_messages([existing] if existing else [], prefetch=False):
        messages += batch.messages
        size += batch.weight
    refused = []
    for uid in existing.minus(UidSet.of(m.uid for m in messages)):
        message = _ask_alone(turn, folder, uid)
        if message is None:
            refused.append(uid)
        else:
            messages.append(message)
            size += weight(message, len(repr(message)))
            if size > 2 * LARGEST_BATCH:
                # like a batch that is too large: the next turn asks for half as many
                turn.session.close()
                raise SentTooMuch(
                    f"FETCH: the server sends more than {size // 2**20} MiB on {len(messages)} messages"
                )
        turn.keep_alive()
    return messages, UidSet.of(refused)


def isolate(turn: Turn, folder: FolderState, uids: UidSet) -> tuple[list[Message], UidSet]:
    """Fetch the one message of `uids`, which alone ended an earlier turn; returns as :func:`refetch` does.

    A SEARCH comes first: it shows that the connection works, and whether the message still exists.
    """
    if not turn.session.search(uids=uids):
        return [], UidSet()
    message = _ask_alone(turn, folder, uids.lowest)
    return ([], uids) if message is None else ([message], UidSet())


def ask(turn: Turn, uid: int, *, least: bool = False) -> Message | None:
    """Fetch one message, with less detail after each answer that is not readable; None if none is.

    `least` asks for flags, date and size only.
    """
    for detail in _LADDER[-1:] if least else _LADDER:
        for batch in turn.session.fetch_messages([UidSet([(uid, uid)])], detail=detail, prefetch=False):
            if batch.messages:
                return batch.messages[0]
    return None


@contextmanager
def recording_failure(turn: Turn, folder: FolderState) -> Iterator[None]:
    """Record a server's error that ends a fetch in ``fetch_attempts``, without blaming any message."""
    try:
        yield
    except (Transient, ProtocolError) as error:
        attempts.record_attempt_error(turn.conn, folder, str(error))
        raise


def placeholder(uid: int) -> Message:
    """Return the row of a message that exists and cannot be fetched; it is asked for again later (§9.5)."""
    return Message(
        uid, None, None, None, None, None, None, None, False, None, (), NO_HEADERS, ("unfetchable",)
    )


def without_content(message: Message, why: str = "unstorable") -> Message:
    """Return `message` without any field that the sender controls."""
    return message._replace(
        provider_message_id=None,
        provider_thread_id=None,
        labels=None,
        flags=tuple(f for f in message.flags or () if f.startswith("\\")),
        has_attachments=False,
        mime_structure=None,
        attachments=(),
        headers=NO_HEADERS,
        parse_errors=(why,),
    )


def _ask_alone(turn: Turn, folder: FolderState, uid: int) -> Message | None:
    """Return the message, or a placeholder; None if it has to be asked for on another connection first."""
    # checked before the attempt is counted: a message that is not asked for must not count one
    turn.session.check_budget()
    key = _key(folder, uid)
    if key in turn.env.to_take_back:
        attempts.uncount_isolation(turn.conn, folder, uid)
        turn.env.to_take_back.discard(key)
    isolation = attempts.note_isolation(turn.conn, folder, uid)
    if isolation.failures >= _CONNECTIONS:
        return _given_up(folder, uid)
    # A try that neither failed nor was taken back ended with its process. If the message killed the process,
    # the full request would kill the next ones, too.
    crashes = isolation.tries - 1 - isolation.failures
    least = crashes >= _MOST_CRASHES
    with _blaming_message(turn, folder, uid):
        message = ask(turn, uid, least=least)
        if message is not None:
            # a later failure, such as a refused commit, is not the message's fault
            attempts.forget_attempts(turn.conn, folder, uid, uid)
    if message is not None:
        return without_content(message, "unfetchable") if least else message
    turn.result.needs_new_session = True
    failures = attempts.count_failure(turn.conn, folder, uid, "no readable answer")
    return _given_up(folder, uid) if failures >= _CONNECTIONS else None


@contextmanager
def _blaming_message(turn: Turn, folder: FolderState, uid: int) -> Iterator[None]:
    try:
        yield
    except (Transient, ProtocolError) as error:
        # the connection may still be open, but the second try needs another one
        turn.result.needs_new_session = True
        attempts.count_failure(turn.conn, folder, uid, str(error))
        raise
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


def _key(folder: FolderState, uid: int) -> IsolationKey:
    return folder.account_id, folder.id, folder.uidvalidity, uid


def _given_up(folder: FolderState, uid: int) -> Message:
    log.warning(
        "A message cannot be fetched",
        extra={"action": "fetch", "account_id": folder.account_id, "folder_id": folder.id, "uid": uid},
    )
    return placeholder(uid)
