"""Which lines of a part are base64, and what they decode to (RFC 2045 §6.8).

The encoding is believed where it can be true. A line can be base64 if it holds only characters of the
alphabet. A line of words, or with punctuation, is text. Between lines of base64, a line with a few other
bytes is a damaged one and not text, and the part does not fit its encoding.
"""

from __future__ import annotations

import binascii
import re
from binascii import a2b_base64

from mailsync.mail.base64_decoding import decode_base64, decode_groups, decode_padded
from mailsync.mail.encoded_lines import Piece
from mailsync.mail.line_blocks import lines_in_block
from mailsync.mail.readable_text import has_no_controls, is_text, is_text_in

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_ALPHABET = bytes(set(range(256)) - set(_ALPHABET))
_STRAYS_AS_A = bytes(byte if byte in _ALPHABET else ord("A") for byte in range(256))
_URL_ALPHABET = _ALPHABET + b"-_"
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t"

_TOKEN = re.compile(rb"[A-Za-z0-9]+")
_WORD = re.compile(rb"[A-Z]?[a-z]{0,23}|[A-Z]{1,11}|[0-9]{1,11}")

_SURE = 24
"""Characters of a line that can hardly be anything but base64."""
_FEWEST_DAMAGED = 6
"""Characters that words rarely have if they happen to decode to a text."""
_LOOKED_AT = 1000
"""Bytes of a line that are searched for words."""
_LONGEST_WORDS = 40
"""Characters of a line that may be words without a blank between them."""


class Base64Reader:
    """Reads lines that should be base64; see :class:`mailsync.mail.encoded_lines.LineReader`."""

    def __init__(self, *, is_shown: bool = False, charset: str = "") -> None:
        """`is_shown` says that the part is text in `charset`, whose other lines are kept."""
        self.pieces: list[Piece] = []
        self.is_sure = False
        self.has_text = False
        self.fits = True
        self._is_shown = is_shown
        self._charset = charset
        self._has_base64 = False
        self._blank = bytearray()
        self._after_blank = False
        # characters of the lines of the current run of base64; 0 outside of one
        self._width = 0
        self._is_spaced = False
        self._pending = b""
        self._likely_lines = 0
        # how many lines ended with a whole number of bytes; None if the lines of this encoder do not
        self._whole_lines: int | None = 0

    def read_block(self, block: bytes) -> None:
        """Read whole lines, as :meth:`read_line` would one by one."""
        start = self._read_regular(block) if self.is_sure else self._read_until_sure(block)
        for line in lines_in_block(block[start:]):
            self.read_line(line)

    def _read_until_sure(self, block: bytes) -> int:
        """Read lines until one is surely base64, and then those that are like it; returns their length."""
        length = 0
        for line in lines_in_block(block):
            self.read_line(line)
            length += len(line)
            if self.is_sure:
                return length + self._read_regular(block[length:])
        return length

    def read_line(self, line: bytes) -> None:
        """Read one line with its end, or a piece of a very long one."""
        body = line.strip()
        if not body or (self._has_base64 and not body.strip(b"> ")):
            self._after_blank = True
            if self._is_shown:
                self._blank += line
            return
        characters = self._base64_in(body)
        if characters is None:
            self._end_run()
            self.has_text, self.fits = True, False
            if self._is_shown:
                self.pieces.append(Piece(bytes(self._blank) + line, was_encoded=False))
        else:
            if self.has_text and self._is_shown and not self._has_base64:
                self.pieces.append(Piece(bytes(self._blank), was_encoded=False))
            self._decode(characters)
        self._blank.clear()
        self._after_blank = False

    def finish(self) -> None:
        """Decode the rest."""
        self._end_run()
        if self._is_shown and self._blank and self.has_text and not self._has_base64:
            self.pieces.append(Piece(bytes(self._blank), was_encoded=False))

    # -- which lines ---------------------------------------------------------------------------------

    @property
    def _is_inside(self) -> bool:
        return self._width > 0 and (self._is_spaced or not self._after_blank)

    def _base64_in(self, body: bytes) -> bytes | None:
        """Return the characters of a line that are base64; None if the line is text."""
        if not body.translate(None, _ALPHABET):
            return body if self._can_be_base64(body) else None
        if body.startswith(b">"):
            unquoted = body.lstrip(b"> \t")
            if unquoted.translate(None, _ALPHABET) or not (self._is_inside or self._is_clear(unquoted)):
                return None
            self.fits = False
            return unquoted
        is_spaced = any(blank in body for blank in _BLANKS)
        if is_spaced:
            return self._without_blanks(body)
        if not body.translate(None, _URL_ALPHABET) and (characters := self._from_url(body)):
            return characters
        return self._without_strays(body)

    def _can_be_base64(self, body: bytes) -> bool:
        if self._is_inside:
            # a name below the last line of base64 is as short as that line can be, but rarely as long
            is_name = self._is_shown and (len(self._pending) + len(body)) % 4 and _is_words(body)
            return not is_name
        if not body.strip(b"="):
            return self._has_base64 and len(body) < 4
        if self._is_clear(body):
            return True
        if self.has_text:
            return False
        decoded = decode_base64(body) if self._is_shown else b""
        if _is_words(body):
            # "Rosa" can be base64, but the words of a person are more likely than such bytes
            return not self._has_base64 and len(body) % 4 == 0 and self._is_text_of_words(body, decoded)
        is_whole = len(body) % 4 == 0 and (has_no_controls(decoded) or body.endswith(b"="))
        return is_whole or len(body) >= _SURE or is_text_in(decoded, self._charset)

    def _is_text_of_words(self, body: bytes, decoded: bytes) -> bool:
        if (b"/" in body or b"+" in body) and body.lower() != body != body.upper():
            return is_text_in(decoded, self._charset)
        return is_text(decoded)

    def _is_clear(self, body: bytes) -> bool:
        """Whether a line is base64 whatever surrounds the line; control characters make no first line."""
        return looks_encoded(body) and (
            not self._is_shown or self._likely_lines > 1 or has_no_controls(decode_base64(body))
        )

    def _without_blanks(self, body: bytes) -> bytes | None:
        joined = body.translate(None, _BLANKS)
        if joined.translate(None, _ALPHABET) or _is_prose(body):
            return None
        if self._is_inside or self._is_clear(joined):
            return joined
        is_alone = not self.has_text and len(joined) % 4 == 0
        return joined if is_alone and is_text(decode_base64(joined)) else None

    def _from_url(self, body: bytes) -> bytes | None:
        """Translate a line from the alphabet for URLs (RFC 4648 §5); None for rulers and words."""
        # a ruler may be as long as the lines of base64
        is_like_others = self._is_inside and len(body) == self._width and len(set(body)) > 1
        is_ruler = len(body.translate(None, b"-_")) * 2 < len(body)
        is_believed = body.endswith(b"=") or (self._is_inside and not self._is_shown)
        if not is_like_others and (is_ruler or (_is_prose(body) and not is_believed)):
            return None
        characters = body.translate(_FROM_URL)
        return characters if is_like_others or self._can_be_base64(characters) else None

    def _without_strays(self, body: bytes) -> bytes | None:
        """Return the base64 of a line that holds a few other bytes; None if the line is text."""
        if body.endswith(b"!") and self._is_inside and not body[:-1].translate(None, _ALPHABET):
            # some mailers cut a long line by an exclamation mark
            return body[:-1]
        characters = body.translate(None, _NOT_ALPHABET)
        strays = len(body) - len(characters)
        if _is_prose(body):
            return None
        if self._is_inside:
            is_damaged = strays * 8 <= len(body) <= 2 * self._width
        else:
            is_damaged = not self._has_base64 and strays * 16 <= len(body) and len(body) >= _LONGEST_WORDS
        if is_damaged:
            self.fits = False
            # a byte that replaced another one must not move those after it
            return body.translate(_STRAYS_AS_A) if len(body) % 4 == 0 else characters
        if self._has_base64 or not self._is_damaged_text(characters, strays):
            return None
        self.fits = False
        return characters

    def _is_damaged_text(self, characters: bytes, strays: int) -> bool:
        """Whether the only line of a text becomes readable without a few other bytes."""
        is_enough = len(characters) > max(_FEWEST_DAMAGED, 4 * strays - 1)
        return is_enough and not self.has_text and is_text(decode_base64(characters))

    # -- decoding ------------------------------------------------------------------------------------

    def _decode(self, characters: bytes) -> None:
        was_inside = self._is_inside
        self._is_spaced = self._is_spaced or (self._after_blank and self._width > 0)
        if not self.is_sure and looks_encoded(characters):
            self._likely_lines += 1
            # the only such line of a text may be a token or a checksum
            self.is_sure = self._likely_lines > 1 or (
                self._is_clear(characters) and not (self.has_text and not is_text(decode_base64(characters)))
            )
        self._has_base64 = True
        if self._pending:
            self._align(len(characters))
        data = self._pending + characters
        decoded, self._pending = decode_groups(data)
        self.pieces.append(Piece(decoded, was_encoded=True))
        if self._whole_lines is not None:
            if not self._pending:
                self._whole_lines += 1
            elif not self._whole_lines:
                self._whole_lines = None
        is_last = characters.endswith(b"=") or (was_inside and len(characters) < self._width)
        self._width = 0 if is_last else max(self._width if was_inside else 0, len(characters))

    def _align(self, count: int) -> None:
        """Give up incomplete characters before a line of `count` ones that begins with a whole byte."""
        if self._whole_lines and count % 4 == 0:
            self._flush()
            self.fits = False
        elif (len(self._pending) + count) % 4:
            self._whole_lines = None

    def _end_run(self) -> None:
        if self._pending:
            self._flush()
        self._width = 0

    def _flush(self) -> None:
        self.pieces.append(Piece(decode_padded(self._pending), was_encoded=True))
        self._pending = b""

    def _read_regular(self, block: bytes) -> int:
        """Decode the lines at the beginning of a block that are all alike, at once; returns their length."""
        stride, width = block.find(b"\n") + 1, self._width
        line_break = stride - width
        if not width or width % 4 or line_break not in (1, 2) or self._pending or self._after_blank:
            return 0
        ends = block[stride - 1 :: stride]
        count = len(ends) - len(ends.lstrip(b"\n"))
        lines = block[: count * stride]
        if line_break == 2 and lines[stride - 2 :: stride].strip(b"\r"):
            return 0
        characters = lines.translate(None, b"\r\n")
        if len(characters) != count * width or b"=" in characters:
            return 0
        try:
            decoded = a2b_base64(characters, strict_mode=True)
        except binascii.Error:
            return 0
        self.pieces.append(Piece(decoded, was_encoded=True))
        if self._whole_lines is not None:
            self._whole_lines += count
        return len(lines)


def looks_encoded(body: bytes) -> bool:
    """Whether a line looks like base64 and like nothing else."""
    if len(body) < _SURE or len(body) % 4 or body.translate(None, _ALPHABET):
        return False
    # one case alone may be the digits of a checksum
    return b"=" not in body[:-2] and body.lower() != body != body.upper() and not _is_words(body)


def _is_words(body: bytes) -> bool:
    return len(body) < _LONGEST_WORDS and b"=" not in body and _is_prose(body)


def _is_prose(body: bytes) -> bool:
    """Whether most letters and digits at the beginning of a line are in words and numbers."""
    tokens = _TOKEN.findall(body[:_LOOKED_AT])
    in_words = sum(len(token) for token in tokens if _WORD.fullmatch(token))
    return in_words * 2 > sum(map(len, tokens))
