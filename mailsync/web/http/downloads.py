"""Sends files from mail as downloads that no browser executes, under names that are safe on every system.

Mail is untrusted. So every file is an attachment (RFC 6266) and never shown inline, its type is never one
that a browser executes, browsers must not guess another, and a file that is displayed nevertheless runs
without scripts and without an origin.
"""

from __future__ import annotations

import logging
import re
import select
import socket
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from urllib.parse import quote

from flask import Response, g, request

from mailsync.bodies.fetch import Spooled

log = logging.getLogger(__name__)

ANY = "application/octet-stream"

DOWNLOAD_STALL_TIMEOUT = 30.0
"""Seconds that a client may read nothing of a file before it counts as gone."""

_MAX_NAME_BYTES = 200
_MAX_NORMALISED = 1000
_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"
# types that no browser executes, with the extension for a file that has no name
_SAFE = {
    "application/gzip": ".gz", "application/json": ".json", "application/msword": ".doc",
    "application/pdf": ".pdf", "application/rtf": ".rtf", "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-outlook": ".msg", "application/vnd.ms-powerpoint": ".ppt",
    f"{_OPEN}.presentation": ".odp", f"{_OPEN}.spreadsheet": ".ods", f"{_OPEN}.text": ".odt",
    f"{_OFFICE}.presentationml.presentation": ".pptx", f"{_OFFICE}.spreadsheetml.sheet": ".xlsx",
    f"{_OFFICE}.wordprocessingml.document": ".docx",
    "application/x-7z-compressed": ".7z", "application/x-tar": ".tar", "application/zip": ".zip",
    "audio/aac": ".aac", "audio/flac": ".flac", "audio/mp4": ".m4a", "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg", "audio/wav": ".wav", "audio/webm": ".weba", "audio/x-wav": ".wav",
    "image/avif": ".avif", "image/bmp": ".bmp", "image/gif": ".gif", "image/heic": ".heic",
    "image/heif": ".heif", "image/jpeg": ".jpg", "image/png": ".png", "image/tiff": ".tiff",
    "image/webp": ".webp", "message/rfc822": ".eml", "text/calendar": ".ics", "text/csv": ".csv",
    "text/plain": ".txt", "text/vcard": ".vcf", "video/mp4": ".mp4", "video/mpeg": ".mpeg",
    "video/ogg": ".ogv", "video/quicktime": ".mov", "video/webm": ".webm", "video/x-msvideo": ".avi",
}  # fmt: skip
# special to file systems, in a quoted string, or (%) to browsers that decode names
_SPECIAL = re.compile(r'[/\\:*?"<>|%]')


def safe_type(content_type: str) -> str:
    """The Content-Type for a part's own type: the same if no browser executes it, else octet-stream.

    >>> safe_type("IMAGE/PNG"), safe_type("text/html"), safe_type("image/svg+xml")
    ('image/png', 'application/octet-stream', 'application/octet-stream')
    """
    media = content_type.strip().lower()
    return media if media in _SAFE else ANY


def safe_name(filename: str | None, otherwise: str) -> str:
    """A safe file name: no directory, only visible characters, at most 200 bytes of UTF-8.

    Removes control and format characters (which can also reverse the writing direction), and dots and blanks
    at either end. Shortening keeps the extension. Returns `otherwise` if nothing is left.
    """
    visible = "".join(
        " " if c.isspace() else "" if unicodedata.category(c)[0] == "C" else c for c in filename or ""
    ).strip(" .")
    if len(visible) > _MAX_NORMALISED + _MAX_NAME_BYTES:
        # normalising takes more than linear time, and only the beginning and end are kept below anyway
        visible = visible[:_MAX_NORMALISED] + visible[-_MAX_NAME_BYTES:]
    name = _SPECIAL.sub("_", unicodedata.normalize("NFC", visible)).strip(" .")
    name = name if name.strip("_ .") else otherwise
    stem, dot, extension = name.rpartition(".")
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    if not stem or len(extension.encode()) > _MAX_NAME_BYTES // 10:
        return _cut(name, _MAX_NAME_BYTES)
    return _cut(stem, _MAX_NAME_BYTES - len(extension.encode()) - 1) + dot + extension


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore").rstrip(" .")


def extension_of(content_type: str) -> str:
    """The extension for a file with this type and no name: ``.png``; ``.bin`` for types that are not safe."""
    return _SAFE.get(safe_type(content_type), ".bin")


def disposition(name: str) -> str:
    """``Content-Disposition`` for a name from :func:`safe_name` (RFC 6266; ``filename*`` by RFC 8187).

    >>> disposition("Übersicht.pdf")
    'attachment; filename="Ubersicht.pdf"; filename*=UTF-8\\'\\'%C3%9Cbersicht.pdf'
    """
    # for clients that know only ASCII: drop accents, replace all other characters by _
    letters = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    ascii_name = _SPECIAL.sub("_", "".join(c if c.isascii() else "_" for c in letters))
    return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"


def headers_for(name: str, size: int | None = None) -> dict[str, str]:
    """The headers of a download; without `size` (bytes) there is no Content-Length."""
    headers = {
        "Content-Disposition": disposition(name),
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "none",
    }
    return headers if size is None else {**headers, "Content-Length": str(size)}


def stream(spooled: Spooled, resources: ExitStack, content_type: str, name: str) -> Response:
    """Send a file in pieces; closes `resources` at the end, or when the client disconnects."""
    pieces = _within_time(spooled, request.environ.get("gunicorn.socket"), g.request_id)
    headers = headers_for(name, spooled.size)
    if spooled.warnings:
        headers["X-Content-Warning"] = ", ".join(spooled.warnings)
    response = Response(pieces, headers=headers, content_type=content_type)
    response.call_on_close(resources.close)
    return response


def announce(content_type: str, name: str) -> Response:
    """The response to HEAD: like :func:`stream`, but without a length, because nothing is fetched."""
    return Response(iter(()), headers=headers_for(name), content_type=content_type)


def _within_time(pieces: Iterable[bytes], connection: object, request_id: str) -> Iterator[bytes]:
    # without a limit, a client that reads nothing would occupy one of gunicorn's threads forever
    poll = select.poll()
    if isinstance(connection, socket.socket):
        connection.settimeout(DOWNLOAD_STALL_TIMEOUT)
        poll.register(connection, select.POLLOUT)
    for piece in pieces:
        if isinstance(connection, socket.socket) and not poll.poll(DOWNLOAD_STALL_TIMEOUT * 1000):
            extra = {"action": "http", "request_id": request_id}
            log.info(
                "Closed a download: the client read nothing for %g s", DOWNLOAD_STALL_TIMEOUT, extra=extra
            )
            connection.shutdown(socket.SHUT_RDWR)
            return
        yield piece
