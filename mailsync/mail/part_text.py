"""The content of a text part becomes text: its transfer encoding and then its charset are removed."""

from __future__ import annotations

from mailsync.mail import transfer_encoding
from mailsync.mail.encoded_lines import Piece
from mailsync.mail.mime_part import Part
from mailsync.mail.text import decode_charset


def decode_part(part: Part, warnings: set[str]) -> str:
    """Decode the content of `part`, which is given up; what does not fit is named in `warnings`."""
    data, part.data = bytes(part.data or b""), None
    charset = part.charset[:64]
    pieces, fits = transfer_encoding.decode_shown(data, part.encoding, charset)
    if not fits:
        warnings.add("transfer_encoding")
    texts = [_decode(piece, part, charset, warnings) for piece in pieces]
    return "".join(texts).replace("\r\n", "\n")


def _decode(piece: Piece, part: Part, charset: str, warnings: set[str]) -> str:
    # a footer that a program added to an encoded text need not be in the charset of that text
    is_footer = not piece.was_encoded and piece.data.isascii()
    text, fits = decode_charset(piece.data, "" if is_footer else charset, is_html=part.type == "text/html")
    if not fits:
        warnings.add("charset")
    return text.removeprefix("\ufeff")
