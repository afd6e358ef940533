"""The content of a text part becomes text: its transfer encoding and then its charset are removed."""

from __future__ import annotations

import re

from mailsync.mail import transfer_encoding
from mailsync.mail.mime_part import Part
from mailsync.mail.text import decode_charset

_META = re.compile(
    rb"<meta\b[^>]{0,500}?\bcharset\s{0,9}=\s{0,9}[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE
)


def decode_part(part: Part, warnings: set[str]) -> str:
    """Decode the content of `part`, which is given up; what does not fit is named in `warnings`."""
    data, part.data = bytes(part.data or b""), None
    if not transfer_encoding.is_known(part.encoding):
        warnings.add("transfer_encoding")
    data = transfer_encoding.decode(data, part.encoding)
    charset = part.charset
    if not charset and part.type == "text/html" and (meta := _META.search(data[:4096])):
        charset = meta[1].decode("ascii")
    text, fits = decode_charset(data, charset[:64])
    if not fits:
        warnings.add("charset")
    return text.removeprefix("\ufeff").replace("\r\n", "\n")
