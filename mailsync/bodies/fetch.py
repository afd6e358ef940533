"""Bodies, attachments and raw messages, fetched on demand (SPEC §14).

Everything goes to a file on this side before it is read, so that a slow reader never holds an account's
lock. A body is parsed and stored after the lock is released, and later requests read it from the table until
the parser has a newer version. Attachments and raw messages are not stored.

The environment's connection holds the locks, so it must not belong to a pool.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from tempfile import SpooledTemporaryFile
from typing import IO

from mailsync.bodies.download import Download, run
from mailsync.bodies.refusals import another_mailbox, held_back
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.errors import (
    DatabaseUnavailable,
    FolderError,
    Gone,
    LockLost,
    MailsyncError,
    NotFound,
    Paused,
    ProtocolError,
)
from mailsync.mail import mime, transfer_encoding
from mailsync.mail.mime import PARSER_VERSION
from mailsync.model import Attachment
from mailsync.store import bodies, db
from mailsync.store.bodies import Body, MessageLocation
from mailsync.store.locks import body_lock

log = logging.getLogger(__name__)

__all__ = ["Body", "Spooled", "fetch_attachment", "fetch_body", "fetch_raw", "is_current"]

REFRESH_LOCK_WAIT = 1.0
"""Seconds that the refresh of an old body waits for a lock; the old body is at hand."""

_IN_MEMORY = 1024 * 1024
# as much as a socket usually accepts at once
_READ = 16 * 1024
_MOST = 1024 * 1024 * 1024
# bytes of encoded content that are decoded at once
_DECODED_AT_ONCE = 64 * 1024
# warnings of a parser that has not seen each part
_LEFT_OUT = frozenset({"truncated", "too_deep", "too_many_parts"})
_NEVER_BACK = frozenset({"expunged", "uidvalidity_reset", "folder_missing"})


class Spooled:
    """Bytes in a temporary file, to be read once: iterate, then close.

    ``size`` is their number; ``attachment`` describes them, None for a whole message. ``warnings`` holds
    ``transfer_encoding`` if the content is not encoded as it says.
    """

    def __init__(self, attachment: Attachment | None) -> None:
        self.attachment = attachment
        self.size = 0
        self.warnings: tuple[str, ...] = ()
        self._file: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115

    def write(self, data: bytes) -> None:
        """Append `data`; not allowed once reading has begun."""
        self._file.write(data)
        self.size += len(data)

    def rewound(self, offset: int = 0) -> IO[bytes]:
        """Return the file, positioned at an offset."""
        self._file.seek(offset)
        return self._file

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


def is_current(body: Body) -> bool:
    """Whether this parser made a stored body, or the server no longer has the message."""
    return body.parser_version >= PARSER_VERSION or body.deleted_reason in _NEVER_BACK


def fetch_body(env: TurnEnvironment, account_id: int, message_id: int) -> Body:
    """Return the message's body: the stored one, even of a tombstone, else fetch and store it.

    A stored body that an older parser made is fetched again, and returned as it is if that fails. If several
    processes ask for the same body at once, one of them fetches it and the others read what it stored. Raises
    NotFound, and the errors of :func:`mailsync.bodies.download.run`.
    """
    stored = bodies.load(env.conn, account_id, message_id)
    if stored is None:
        return _fetch_and_store(env, account_id, message_id, env.settings.body_lock_wait)
    return stored if is_current(stored) else _refresh(env, stored)


def _refresh(env: TurnEnvironment, old: Body) -> Body:
    """Fetch a body again that an older parser made; returns the old one if that fails for any reason."""
    location = bodies.locate(env.conn, old.account_id, old.message_id)
    if location is None or location.backoff is not None or location.sync_state == "broken":
        return old
    wait = min(REFRESH_LOCK_WAIT, env.settings.body_lock_wait)
    try:
        return _fetch_and_store(env, old.account_id, old.message_id, wait)
    except MailsyncError as error:
        log.debug("Kept the stored body: %s", error, extra={"action": "body", "account_id": old.account_id})
        with suppress(DatabaseUnavailable, LockLost):
            # the message may have become a tombstone, or have been removed
            if (stored := bodies.load(env.conn, old.account_id, old.message_id)) is None:
                raise
            return stored
    return old


def _fetch_and_store(env: TurnEnvironment, account_id: int, message_id: int, wait: float) -> Body:
    conn = env.conn
    _locate(env, account_id, message_id)
    with (
        body_lock(conn, account_id, message_id, wait=wait),
        SpooledTemporaryFile(max_size=_IN_MEMORY) as spool,
    ):
        if (body := bodies.load(conn, account_id, message_id)) and is_current(body):
            return body
        # the message may have been deleted, or its account paused, while this waited
        location = _locate(env, account_id, message_id)
        most = env.settings.body_max_bytes
        download = Download(location, "", spool.write, most=most, size=location.size_bytes)
        run(env, download, lock_wait=wait)
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
                files_in_text=parsed.files_in_text,
                raw_bytes=download.offset,
                truncated=download.is_cut,
                is_complete=_LEFT_OUT.isdisjoint(parsed.warnings),
                warnings=parsed.warnings,
                parser_version=PARSER_VERSION,
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

    `part` is the part number of one of the message's attachments. A part that the server does not have, or
    does not send, is taken out of the whole message. Raises as :func:`fetch_body`.
    """
    location = _locate(env, account_id, message_id)
    stored = bodies.load_attachment(env.conn, account_id, message_id, part)
    if stored is None:
        raise NotFound(f"message {message_id} no longer has an attachment in part {part}")
    attachment = stored.attachment
    if stored.from_content:
        if (spooled := _take_out(env, location, attachment)) is None:
            raise NotFound(f"message {message_id} no longer has an attachment in part {part}")
        return spooled
    # some servers say 7bit for each encoding that they cannot read
    encoding = None if transfer_encoding.is_as_it_is(stored.encoding or "") else stored.encoding
    try:
        spooled = _spool(
            env, location, part, attachment.size_bytes, encoding, attachment, otherwise=stored.encoding or ""
        )
    except (FolderError, ProtocolError):
        if (taken := _take_out(env, location, attachment)) is None:
            raise
        return taken
    if spooled.size == 0 and attachment.size_bytes and (taken := _take_out(env, location, attachment)):
        spooled.close()
        return taken
    return spooled


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
    *,
    otherwise: str = "",
) -> Spooled:
    spooled = Spooled(attachment)
    try:
        download = Download(
            location,
            section,
            spooled.write,
            most=_MOST,
            size=size,
            encoding=encoding,
            otherwise=otherwise,
        )
        run(env, download)
        if download.is_cut:
            raise ProtocolError(f"FETCH: the server sends more than {_MOST} bytes")
    except BaseException:
        spooled.close()
        raise
    spooled.warnings = _warnings(download.fits)
    return spooled


def _take_out(env: TurnEnvironment, location: MessageLocation, attachment: Attachment) -> Spooled | None:
    """Fetch the whole message and take one attachment out; None if the message has no such part."""
    with _spool(env, location, "", location.size_bytes, "", None) as message:
        section = mime.locate(message.rewound(), attachment.part)
        if section is None:
            return None
        decoder = transfer_encoding.decoder(section.encoding)
        file, left = message.rewound(section.start), section.end - section.start
        with ExitStack() as on_error:
            spooled = on_error.enter_context(Spooled(attachment))
            while left > 0 and (data := file.read(min(left, _DECODED_AT_ONCE))):
                left -= len(data)
                spooled.write(decoder.feed(data))
            spooled.write(decoder.finish())
            on_error.pop_all()
        spooled.warnings = _warnings(decoder.fits)
        return spooled


def _warnings(fits: bool) -> tuple[str, ...]:
    return () if fits else ("transfer_encoding",)


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
