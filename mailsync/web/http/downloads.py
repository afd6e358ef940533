"""How files of strangers go out: as downloads that no browser runs, under names that no system minds.

What is in a mail is hostile until proven otherwise. So nothing is shown in place (RFC 6266), no type is said
that a browser would run, none is guessed, and whatever is shown nevertheless has no origin and no scripts.
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

STALLED = 30.0
"""Seconds in which a client has to take something; one that does not is taken for gone."""

_LONGEST = 200
_LOOKED_AT = 1000
_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"
# what no browser runs, and the ending of a file that has the type but no name
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
# what means something to a file system, a quoted string or, as %, to a browser that decodes it
_ODD = re.compile(r'[/\\:*?"<>|%]')


def safe_type(content_type: str) -> str:
    """The type as it is said to the client: that of the part if nothing can run by it, else octets.

    >>> safe_type("IMAGE/PNG"), safe_type("text/html"), safe_type("image/svg+xml")
    ('image/png', 'application/octet-stream', 'application/octet-stream')
    """
    said = content_type.strip().lower()
    return said if said in _SAFE else ANY


def safe_name(filename: str | None, otherwise: str) -> str:
    """A file's name without a directory, of characters that are seen, and at most 200 bytes long.

    What is left out: control and format characters, which turn the writing direction too, dots and blanks at
    either end. `otherwise` is the name if nothing is left; the ending outlives a cut.
    """
    seen = "".join(
        " " if c.isspace() else "" if unicodedata.category(c)[0] == "C" else c for c in filename or ""
    ).strip(" .")
    if len(seen) > _LOOKED_AT + _LONGEST:
        # normalising takes more than linear time, and the cut below keeps only beginning and end anyway
        seen = seen[:_LOOKED_AT] + seen[-_LONGEST:]
    name = _ODD.sub("_", unicodedata.normalize("NFC", seen)).strip(" .")
    name = name if name.strip("_ .") else otherwise
    stem, dot, ending = name.rpartition(".")
    if len(name.encode()) <= _LONGEST:
        return name
    if not stem or len(ending.encode()) > _LONGEST // 10:
        return _cut(name, _LONGEST)
    return _cut(stem, _LONGEST - len(ending.encode()) - 1) + dot + ending


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore").rstrip(" .")


def ending_of(content_type: str) -> str:
    """The ending of a file that has this type and no name: ``.png``; ``.bin`` for all that is not safe."""
    return _SAFE.get(safe_type(content_type), ".bin")


def disposition(name: str) -> str:
    """``Content-Disposition`` for a name of :func:`safe_name` (RFC 6266, the second form RFC 8187).

    >>> disposition("Übersicht.pdf")
    'attachment; filename="Ubersicht.pdf"; filename*=UTF-8\\'\\'%C3%9Cbersicht.pdf'
    """
    # for clients that know only ASCII: letters without their accents, else a mark for each
    bare = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    plain = _ODD.sub("_", "".join(c if c.isascii() else "_" for c in bare))
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def headers_for(name: str, size: int | None = None) -> dict[str, str]:
    """The headers of a download; without `size` (bytes) none tells how long it is."""
    headers = {
        "Content-Disposition": disposition(name),
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "none",
    }
    return headers if size is None else {**headers, "Content-Length": str(size)}


def stream(spooled: Spooled, held: ExitStack, content_type: str, name: str) -> Response:
    """Send the file piece by piece, and close `held` at the end, or when the client goes away."""
    pieces = _within_time(spooled, request.environ.get("gunicorn.socket"), g.request_id)
    response = Response(pieces, headers=headers_for(name, spooled.size), content_type=content_type)
    response.call_on_close(held.close)
    return response


def announce(content_type: str, name: str) -> Response:
    """What HEAD answers: as :func:`stream`, but without a length, for nothing is fetched for it."""
    return Response(iter(()), headers=headers_for(name), content_type=content_type)


def _within_time(pieces: Iterable[bytes], connection: object, request_id: str) -> Iterator[bytes]:
    # gunicorn would wait for ever for a client that reads nothing, and one of its threads with it
    poll = select.poll()
    if isinstance(connection, socket.socket):
        connection.settimeout(STALLED)
        poll.register(connection, select.POLLOUT)
    for piece in pieces:
        if isinstance(connection, socket.socket) and not poll.poll(STALLED * 1000):
            extra = {"action": "http", "request_id": request_id}
            log.info("Gave up a client that took nothing for %g s", STALLED, extra=extra)
            connection.shutdown(socket.SHUT_RDWR)
            return
        yield piece
