"""Single messages that a batch did not bring: asked for again, alone, for less and less (SPEC §9.5).

A message is blamed only for what happens while nothing else is asked for. If the server fails to give it on
two connections, it gets a placeholder.
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

NO_HEADERS = Headers(None, None, None, (), None, None, None, None, (), (), (), (), (), (), None, False, ())


def refetch(turn: Turn, folder: FolderState, uids: UidSet) -> tuple[list[Message], UidSet]:
    """Fetch `uids` again, which were asked for and not answered, or not readably.

    Those that a SEARCH no longer shows are gone and left out. Returns the messages, at worst placeholders,
    and the UIDs that have to be asked for again on another connection. Nothing may be in flight.
    """
    if not uids:
        return [], UidSet()
    alive = turn.session.search(uids=uids)
    found: list[Message] = []
    size = 0
    for batch in turn.session.fetch_messages([alive] if alive else [], prefetch=False):
        found += batch.messages
        size += batch.weight
    left = []
    for uid in alive.minus(UidSet.of(m.uid for m in found)):
        message = _ask_alone(turn, folder, uid)
        if message is None:
            left.append(uid)
        else:
            found.append(message)
            size += weight(message, len(repr(message)))
            if size > 2 * LARGEST_BATCH:
                # as a batch that is too large: the next turn asks for half as many
                turn.session.close()
                raise SentTooMuch(
                    f"FETCH: the server sends more than {size // 2**20} MiB of data on {len(found)} messages"
                )
        turn.keep_alive()
    return found, UidSet.of(left)


def isolate(turn: Turn, folder: FolderState, uids: UidSet) -> tuple[list[Message], UidSet]:
    """Fetch the one message of `uids`, which alone ended an earlier turn; returns as :func:`refetch` does.

    A SEARCH comes first: it shows that the connection works, and whether the message still exists.
    """
    if not turn.session.search(uids=uids):
        return [], UidSet()
    message = _ask_alone(turn, folder, uids.lowest)
    return ([], uids) if message is None else ([message], UidSet())


def ask(turn: Turn, uid: int, *, least: bool = False) -> Message | None:
    """Ask for one message, for less and less of it; None if no answer is readable.

    `least` asks for flags, date and size at once.
    """
    for detail in _LADDER[-1:] if least else _LADDER:
        for batch in turn.session.fetch_messages([UidSet([(uid, uid)])], detail=detail, prefetch=False):
            if batch.messages:
                return batch.messages[0]
    return None


@contextmanager
def recording_failure(turn: Turn, folder: FolderState) -> Iterator[None]:
    """Note in ``fetch_attempts`` the server's error that ends a fetch, without blaming any message."""
    try:
        yield
    except (Transient, ProtocolError) as error:
        attempts.explain_attempts(turn.conn, folder, str(error))
        raise


def placeholder(uid: int) -> Message:
    """The row of a live message that the server does not give; it is asked for again (§9.5)."""
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
    """The message, or a placeholder; None if it has to be asked for on another connection first."""
    # before the attempt is noted: a message that is not asked for must not count one
    turn.session.check_budget()
    key = _key(folder, uid)
    if key in turn.env.to_take_back:
        attempts.take_back_isolation(turn.conn, folder, uid)
        turn.env.to_take_back.discard(key)
    known = attempts.note_isolation(turn.conn, folder, uid)
    if known.failures >= _CONNECTIONS:
        return _given_up(folder, uid)
    # a try that neither failed nor was taken back ended with its process; if the message killed it, the full
    # request would kill the next ones too
    crashes = known.tries - 1 - known.failures
    least = crashes >= _MOST_CRASHES
    with _blaming(turn, folder, uid):
        message = ask(turn, uid, least=least)
        if message is not None:
            # a later failure, such as a refused commit, says nothing about the message
            attempts.forget_attempts(turn.conn, folder, uid, uid)
    if message is not None:
        return without_content(message, "unfetchable") if least else message
    turn.result.needs_new_session = True
    failures = attempts.blame_message(turn.conn, folder, uid, "no readable answer")
    return _given_up(folder, uid) if failures >= _CONNECTIONS else None


@contextmanager
def _blaming(turn: Turn, folder: FolderState, uid: int) -> Iterator[None]:
    try:
        yield
    except (Transient, ProtocolError) as error:
        # the server may have refused and kept the connection; the second try needs another one
        turn.result.needs_new_session = True
        attempts.blame_message(turn.conn, folder, uid, str(error))
        raise
    except (DatabaseUnavailable, LockLost) as error:
        if isinstance(error, DatabaseSlow):
            # only then is the connection still there to write on
            attempts.take_back_isolation(turn.conn, folder, uid)
        else:
            turn.env.to_take_back.add(_key(folder, uid))
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
