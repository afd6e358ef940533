"""Bodies, attachments and raw messages, fetched on demand (SPEC §14).

Everything goes to a file on this side before it is read, so that a slow reader never holds an account's
lock. A body is parsed and stored after the lock is released, and later requests read it from the table.
Attachments and raw messages are not stored.

The environment's connection holds the locks, so it must not belong to a pool.
"""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO

from mailsync.bodies.download import Download, run
from mailsync.bodies.refusals import another_mailbox, held_back
from mailsync.engine.runner import TurnEnvironment
from mailsync.errors import Gone, NotFound, Paused, ProtocolError
from mailsync.mail import mime
from mailsync.model import Attachment
from mailsync.store import bodies, db
from mailsync.store.bodies import Body, MessageLocation
from mailsync.store.locks import body_lock

__all__ = ["Body", "Spooled", "fetch_attachment", "fetch_body", "fetch_raw"]

_IN_MEMORY = 1024 * 1024
# as much as a socket usually accepts at once
_READ = 16 * 1024
_MOST = 1024 * 1024 * 1024
_NEVER_BACK = frozenset({"expunged", "uidvalidity_reset", "folder_missing"})


class Spooled:
    """Bytes in a temporary file, to be read once: iterate, then close.

    ``size`` is their number; ``attachment`` describes them, None for a whole message.
    """

    def __init__(self, attachment: Attachment | None) -> None:
        self.attachment = attachment
        self.size = 0
        self._file: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115

    def write(self, data: bytes) -> None:
        """Append `data`; not allowed once reading has begun."""
        self._file.write(data)
        self.size += len(data)

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while data := self._file.read(_READ):
            yield data

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def __enter__(self) -> Spooled:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fetch_body(env: TurnEnvironment, account_id: int, message_id: int) -> Body:
    """Return the message's body: the stored one, even of a tombstone, else fetch and store it.

    If several processes ask for the same body at once, one of them fetches it and the others read what it
    stored. Raises NotFound, and the errors of :func:`mailsync.bodies.download.run`.
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
        # the message may have been deleted, or its account paused, while this waited
        location = _locate(env, account_id, message_id)
        download = Download(location, "", spool.write, most=settings.body_max_bytes, size=location.size_bytes)
        run(env, download)
        spool.seek(0)
        parsed = mime.parse(spool, truncated=download.is_cut)
        with db.transaction(conn):
            bodies.save(
                conn,
                account_id,
                message_id,
                text=parsed.text,
                html=parsed.html,
                attachments=parsed.attachments,
                raw_bytes=download.offset,
                truncated=download.is_cut,
                warnings=parsed.warnings,
            )
            # The account's lock was released before, and a change of the account drops only stored bodies.
            if download.mailbox != bodies.lock_mailbox(conn, account_id):
                raise another_mailbox(message_id)
    body = bodies.load(conn, account_id, message_id)
    if body is None:
        raise NotFound(f"message {message_id} was removed meanwhile")
    return body


def fetch_attachment(env: TurnEnvironment, account_id: int, message_id: int, part: str) -> Spooled:
    """Return one attachment of any size, with its transfer encoding decoded; the caller closes it.

    `part` is the part number of one of the message's attachments. Raises as :func:`fetch_body`.
    """
    location = _locate(env, account_id, message_id)
    stored = bodies.load_attachment(env.conn, account_id, message_id, part)
    if stored is None:
        raise NotFound(f"message {message_id} no longer has an attachment in part {part}")
    attachment, encoding = stored
    return _spool(env, location, attachment.part, attachment.size_bytes, encoding, attachment)


def fetch_raw(env: TurnEnvironment, account_id: int, message_id: int) -> Spooled:
    """Return the message as the server has it (RFC 5322), of any size; the caller closes it.

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
        download = Download(location, section, spooled.write, most=_MOST, size=size, encoding=encoding)
        run(env, download)
        if download.is_cut:
            raise ProtocolError(f"FETCH: the server sends more than {_MOST} bytes")
    except BaseException:
        spooled.close()
        raise
    return spooled


def _locate(env: TurnEnvironment, account_id: int, message_id: int) -> MessageLocation:
    """Return where the message is; raises if its server must not be asked for it now."""
    location = bodies.locate(env.conn, account_id, message_id)
    if location is None:
        raise NotFound(f"there is no message {message_id}")
    if location.deleted_reason in _NEVER_BACK:
        raise Gone(f"message {message_id} is no longer on the server")
    if location.paused:
        raise Paused(f"account {location.email} is paused")
    if refusal := held_back(
        location.sync_state, location.sync_state_reason, location.sync_state_message, location.backoff
    ):
        raise refusal
    return location
