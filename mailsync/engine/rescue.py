"""Single messages that a batch did not bring: asked for again, alone, for less and less (SPEC §9.5).

A message is blamed for nothing but what happens while it is the only one that is asked for. One that the
server fails to give on two connections gets a placeholder.
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
    Transient,
)
from mailsync.imap import Detail
from mailsync.logs import redact
from mailsync.model import FolderState, Headers, Message
from mailsync.store import attempts
from mailsync.uids import UidSet

log = logging.getLogger(__name__)

_CONNECTIONS = 2
_MOST_DEATHS = 3
_LADDER = (Detail.FULL, Detail.NO_STRUCTURE, Detail.BASIC)

NO_HEADERS = Headers(None, None, None, (), None, None, None, None, (), (), (), (), (), (), None, False, ())


def refetch(turn: Turn, folder: FolderState, uids: UidSet) -> tuple[list[Message], UidSet]:
    """Get what can be had of `uids`, which were asked for and not answered, or not readably.

    Those that a SEARCH no longer shows are gone and left out. Returns the messages, at worst placeholders,
    and the UIDs that have to be asked for on another connection first. Nothing may be in flight.
    """
    if not uids:
        return [], UidSet()
    alive = turn.session.search(uids=uids)
    found: list[Message] = []
    for batch in turn.session.fetch_messages([alive] if alive else [], prefetch=False):
        found += batch.messages
    left = []
    for uid in alive.minus(UidSet.of(m.uid for m in found)):
        message = _ask_alone(turn, folder, uid)
        if message is None:
            left.append(uid)
        else:
            found.append(message)
        turn.alive()
    return found, UidSet.of(left)


def isolate(turn: Turn, folder: FolderState, uid: int) -> tuple[list[Message], UidSet]:
    """Get the message that was alone in a request that did not end; returns as :func:`refetch` does.

    The search before it shows that the connection is good, and that the message is there at all.
    """
    only = UidSet([(uid, uid)])
    if not turn.session.search(uids=only):
        return [], UidSet()
    message = _ask_alone(turn, folder, uid)
    return ([], only) if message is None else ([message], UidSet())


def ask(turn: Turn, uid: int, *, least: bool = False) -> Message | None:
    """Ask for one message, for less and less, or for the `least` at once; None without a readable answer."""
    for detail in _LADDER[-1:] if least else _LADDER:
        for batch in turn.session.fetch_messages([UidSet([(uid, uid)])], detail=detail, prefetch=False):
            if batch.messages:
                return batch.messages[0]
    return None


@contextmanager
def recording_failure(turn: Turn, folder: FolderState) -> Iterator[None]:
    """Note in ``fetch_attempts`` what the server's failure is that ends a fetch; this is no blame."""
    try:
        yield
    except (Transient, ProtocolError) as error:
        attempts.explain_attempts(turn.conn, folder, redact(str(error)))
        raise


def placeholder(uid: int) -> Message:
    """The row of a live message that cannot be had; it is asked for again (§9.5)."""
    return Message(
        uid, None, None, None, None, None, None, None, False, None, (), NO_HEADERS, ("unfetchable",)
    )


def without_content(message: Message, why: str = "unstorable") -> Message:
    """`message` without what a hostile one could hide anything in."""
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
    """The message, or a placeholder; None if another connection has to prove that it is to blame."""
    # what is not even asked for must not count
    turn.session.check_budget()
    key = _key(folder, uid)
    if key in turn.to_take_back:
        attempts.take_back_isolation(turn.conn, folder, uid)
        turn.to_take_back.discard(key)
    known = attempts.note_isolation(turn.conn, folder, uid)
    if known.failures >= _CONNECTIONS:
        return _given_up(folder, uid)
    # a process that dies of its size would do so for ever: this asks for a few bytes
    deadly = known.tries - 1 - known.failures >= _MOST_DEATHS
    with _blaming(turn, folder, uid):
        message = ask(turn, uid, least=deadly)
        if message is not None:
            # what happens from here on, a refused commit for one, says nothing about the message
            attempts.forget_attempts(turn.conn, folder, uid, uid)
    if message is not None:
        return without_content(message, "unfetchable") if deadly else message
    turn.needs_new_session = True
    failures = attempts.blame_message(turn.conn, folder, uid, "no readable answer")
    return _given_up(folder, uid) if failures >= _CONNECTIONS else None


@contextmanager
def _blaming(turn: Turn, folder: FolderState, uid: int) -> Iterator[None]:
    try:
        yield
    except (Transient, ProtocolError) as error:
        # a refusal leaves the connection open, and the second proof needs another one
        turn.needs_new_session = True
        attempts.blame_message(turn.conn, folder, uid, redact(str(error)))
        raise
    except (DatabaseUnavailable, LockLost) as error:
        if isinstance(error, DatabaseSlow):
            # the connection is kept, so that this can be written
            attempts.take_back_isolation(turn.conn, folder, uid)
        else:
            turn.to_take_back.add(_key(folder, uid))
        raise
    except MailsyncError:
        attempts.take_back_isolation(turn.conn, folder, uid)
        raise


def _key(folder: FolderState, uid: int) -> IsolationKey:
    return folder.account_id, folder.id, folder.uidvalidity, uid


def _given_up(folder: FolderState, uid: int) -> Message:
    log.warning(
        "A message cannot be fetched",
        extra={"action": "fetch", "account_id": folder.account_id, "folder_id": folder.id, "uid": uid},
    )
    return placeholder(uid)
