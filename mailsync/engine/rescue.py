"""Single messages that a batch did not bring: asked for again, alone, for less and less (SPEC §9.5)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mailsync.engine.turn import Turn
from mailsync.errors import ProtocolError, Transient
from mailsync.imap import Detail
from mailsync.logs import redact
from mailsync.model import FolderState, Headers, Message
from mailsync.store import messages as store
from mailsync.uids import UidSet

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
_LADDER = (Detail.FULL, Detail.NO_STRUCTURE, Detail.BASIC)

NO_HEADERS = Headers(None, None, None, (), None, None, None, None, (), (), (), (), (), (), None, False, ())


def rescue(turn: Turn, folder: FolderState, uids: UidSet) -> list[Message]:
    """Get what can be had of `uids`, which were asked for and not answered, or not readably.

    Those that a SEARCH no longer shows are gone and left out. All others come back, at worst as a stub that
    says ``unfetchable``. Nothing may be in flight.
    """
    if not uids:
        return []
    alive = turn.session.search(uids=uids)
    found: list[Message] = []
    for batch in turn.session.fetch_messages([alive] if alive else [], prefetch=False):
        found += batch.messages
    for uid in alive.minus(UidSet.of(m.uid for m in found)):
        found.append(_alone(turn, folder, uid))
        turn.alive()
    return found


@contextmanager
def blaming(turn: Turn, folder: FolderState) -> Iterator[None]:
    """Note in ``fetch_attempts`` what the server's failure is that ends a fetch."""
    try:
        yield
    except (Transient, ProtocolError) as error:
        store.blame_attempts(turn.conn, folder, redact(str(error)))
        raise


def stub(uid: int) -> Message:
    """The row of a live message that cannot be had; it is tried again at reconcile."""
    return Message(
        uid, None, None, None, None, None, None, None, False, None, (), NO_HEADERS, ("unfetchable",)
    )


def bare(message: Message, why: str) -> Message:
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


def _alone(turn: Turn, folder: FolderState, uid: int) -> Message:
    only = UidSet([(uid, uid)])
    store.note_attempt(turn.conn, folder, only)
    with blaming(turn, folder):
        for detail in _LADDER:
            for batch in turn.session.fetch_messages([only], detail=detail, prefetch=False):
                if batch.messages:
                    return batch.messages[0]
    log.warning(
        "A message cannot be fetched",
        extra={"action": "fetch", "account_id": folder.account_id, "folder_id": folder.id, "uid": uid},
    )
    return stub(uid)
