"""Body fetch (SPEC §14): what the mirror does not hold is fetched when it is asked for.

Everything goes to a file on this side before anybody reads it: no slow reader ever holds an account's lock.
A body is parsed and stored after the lock is released, and comes from the table from then on. Attachments
and raw messages are not stored.

The connection of the engine has to be its own, not a pool's: it holds the locks.
"""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO

from mailsync.bodies import download
from mailsync.bodies.download import Download
from mailsync.engine.runner import TurnEnvironment
from mailsync.errors import Gone, NotFound, Paused, ProtocolError
from mailsync.mail import mime
from mailsync.model import Attachment
from mailsync.store import bodies, db
from mailsync.store.bodies import Body, MessageLocation
from mailsync.store.locks import body_lock

__all__ = ["Body", "Spooled", "fetch_attachment", "fetch_body", "fetch_raw"]

_IN_MEMORY = 1024 * 1024
# what a socket takes at once if it takes anything
_READ = 16 * 1024
_MOST = 1024 * 1024 * 1024
_NEVER_BACK = frozenset({"expunged", "uidvalidity_reset", "folder_missing"})


class Spooled:
    """Bytes that lie in a temporary file, to be read once: iterate, then close.

    ``size`` is how many there are; ``attachment`` tells of them, None for a whole message.
    """

    def __init__(self, attachment: Attachment | None) -> None:
        self.attachment = attachment
        self.size = 0
        self._file: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115

    def write(self, data: bytes) -> None:
        """Append; not after the first was read."""
        self._file.write(data)
        self.size += len(data)

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while data := self._file.read(_READ):
            yield data

    def close(self) -> None:
        """Drop the file."""
        self._file.close()

    def __enter__(self) -> Spooled:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fetch_body(env: TurnEnvironment, account_id: int, message_id: int) -> Body:
    """The message's body: the stored one, also of a tombstone, else from the server, and stored.

    Of several who ask for the same at once one fetches, the others find what it stored. Raises NotFound, and
    what :func:`mailsync.bodies.download.run` does.
    """
    conn, settings = env.conn, env.settings
    if body := bodies.load(conn, account_id, message_id):
        return body
    _locate(env, account_id, message_id)
    with (
        body_lock(conn, account_id, message_id, wait=settings.body_lock_wait),
        SpooledTemporaryFile(max_size=_IN_MEMORY) as spool,
    ):
        if body := bodies.load(conn, account_id, message_id):
            return body
        # it may have been deleted, or paused, while we waited
        location = _locate(env, account_id, message_id)
        wanted = Download(location, "", spool.write, most=settings.body_max_bytes, size=location.size_bytes)
        download.run(env, wanted)
        spool.seek(0)
        parsed = mime.parse(spool, truncated=wanted.is_cut)
        with db.transaction(conn):
            bodies.save(
                conn,
                account_id,
                message_id,
                text=parsed.text,
                html=parsed.html,
                attachments=parsed.attachments,
                raw_bytes=wanted.offset,
                truncated=wanted.is_cut,
                warnings=parsed.warnings,
            )
            # the lock was let go before, and whoever changes the account drops only bodies that are stored
            if wanted.mailbox != bodies.hold_mailbox(conn, account_id):
                raise download.another_mailbox(message_id)
    body = bodies.load(conn, account_id, message_id)
    if body is None:
        raise NotFound(f"message {message_id} was removed meanwhile")
    return body


def fetch_attachment(env: TurnEnvironment, account_id: int, message_id: int, part: str) -> Spooled:
    """One attachment, its transfer encoding undone, of any size; the caller closes it.

    `part` is one of those that the message's attachments name. Raises as :func:`fetch_body`.
    """
    location = _locate(env, account_id, message_id)
    found = bodies.load_attachment(env.conn, account_id, message_id, part)
    if found is None:
        raise NotFound(f"message {message_id} has no such attachment any more")
    attachment, encoding = found
    return _spool(env, location, attachment.part, attachment.size_bytes, encoding, attachment)


def fetch_raw(env: TurnEnvironment, account_id: int, message_id: int) -> Spooled:
    """The message as the server has it (RFC 5322), of any size; the caller closes it.

    Raises as :func:`fetch_body`.
    """
    location = _locate(env, account_id, message_id)
    return _spool(env, location, "", location.size_bytes, "", None)


def _spool(
    env: TurnEnvironment,
    location: MessageLocation,
    section: str,
    size: int | None,
    encoding: str | None,
    attachment: Attachment | None,
) -> Spooled:
    spooled = Spooled(attachment)
    try:
        wanted = Download(location, section, spooled.write, most=_MOST, size=size, encoding=encoding)
        download.run(env, wanted)
        if wanted.is_cut:
            raise ProtocolError(f"FETCH: the server sends more than {_MOST} bytes")
    except BaseException:
        spooled.close()
        raise
    return spooled


def _locate(env: TurnEnvironment, account_id: int, message_id: int) -> MessageLocation:
    """Where the message is, if its server may be asked for it now."""
    location = bodies.locate(env.conn, account_id, message_id)
    if location is None:
        raise NotFound(f"there is no message {message_id}")
    if location.deleted_reason in _NEVER_BACK:
        raise Gone(f"message {message_id} is no longer on the server")
    if location.paused:
        raise Paused(f"account {location.email} is paused")
    if refusal := download.held_back(
        location.sync_state, location.sync_state_reason, location.sync_state_message, location.backoff
    ):
        raise refusal
    return location
