"""ISO-2022-JP, -KR and -CN: seven-bit texts whose escapes switch the charset (RFC 1468, 1557, 1922); pure.

Python's codecs read what conforms to the RFCs. The reader here also takes vendors' characters, half-width
katakana, lines that end without an escape back to ASCII, and stray 8-bit bytes.
"""

from __future__ import annotations

import re

from mailsync.mail.vendor_characters import VENDOR, VENDOR_OR_REPLACE

_ESCAPE = b"\x1b"

# A terminal's escapes, in logs that people send, have other forms.
_TELLTALE = re.compile(rb"\x1b(?:\$[@AB][!-~]{2}|\$\([@-DO-Q][!-~]{2}|\$\)[ACEG]|\([IJ])")
_SWITCHES = rb"\x1b(?:\$[@AB]|\$\([@-DO-Q]|\$\)[A-M]|\([ABHIJR]|&@)|[\x0e\x0f]"
_SWITCH_IN_LINE = re.compile(_SWITCHES)
_SWITCH = re.compile(_SWITCHES + rb"|\n")
_OPEN_LINE = re.compile(rb"\x1b\$[@B][!-~]*+[\r\n]")
_PAIR = re.compile(rb"[\xa1-\xfe]{2}")
_NO_KANA = re.compile(rb"[\x80-\xa0\xe0-\xff]")
# only these bytes belong to a set; blanks and line breaks stay as they are
_HIGH = bytes(byte | 0x80 if 0x21 <= byte <= 0x7E else byte for byte in range(256))

_TWO_BYTES = {
    b"$@": "euc_jp",
    b"$B": "euc_jp",
    b"$(@": "euc_jp",
    b"$(B": "euc_jp",
    b"$(D": "jis_x_0212",
    b"$(O": "euc_jis_2004",
    b"$(P": "jis_x_0213_plane_2",
    b"$(Q": "euc_jis_2004",
    b"$A": "gb18030",
    b"$(A": "gb18030",
    b"$(C": "cp949",
}
_WITH_SHIFT_3 = {"jis_x_0212": "euc_jp", "jis_x_0213_plane_2": "euc_jis_2004"}
_SHIFTED = {b"A": "gb18030", b"C": "cp949", b"E": "gb18030"}
_ONE_BYTE = {b"(I": "kana", b"(J": "roman"}
_SHIFTED_BY_LABEL = {"iso2022_kr": "cp949", "iso2022_cn": "gb18030"}
_ASCII, _KANA, _ROMAN, _UNKNOWN = "ascii", "kana", "roman", "unknown"
_SHIFT_OUT, _SHIFT_IN = b"\x0e", b"\x0f"


def is_iso2022(data: bytes) -> bool:
    """Whether `data` holds an escape that only ISO-2022-JP, -KR or -CN has."""
    return _ESCAPE in data and _TELLTALE.search(data) is not None


def decode_iso2022(data: bytes, codec: str = "iso2022_jp") -> tuple[str, bool]:
    """Decode `data`, and return whether all of it was valid; U+FFFD replaces what was not.

    `codec` says which set SO (0x0E) shifts to, unless an escape in `data` does.
    """
    if codec != "iso2022_cn" and not _misleads_python(data):
        try:
            return data.decode(codec), True
        except UnicodeError:
            pass
    reader = _Reader(_SHIFTED_BY_LABEL.get(codec, _KANA))
    reader.read(data)
    return "".join(reader.texts), reader.fits


def _misleads_python(data: bytes) -> bool:
    """Whether Python's codecs misread `data` without an error: as pairs after an open line, or as ASCII."""
    if _SHIFT_OUT in data and b"\x1b$)" not in data:
        return True
    return _OPEN_LINE.search(data) is not None


def continues(data: bytes, earlier: bytes) -> bool:
    """Whether the encoded word `data` continues in the set in which the word `earlier` ended.

    Each word begins in ASCII (RFC 2047 §3), but some programs cut a text anywhere. The first escape of such
    a word leads back to ASCII.
    """
    last, first = earlier.rfind(_ESCAPE), data.find(_ESCAPE)
    return earlier[last : last + 2] == b"\x1b$" and data[first : first + 2] == b"\x1b(" and first > 0


class _Reader:
    """Decodes piece by piece; `shifted` is the set that SO shifts to."""

    def __init__(self, shifted: str) -> None:
        self.texts: list[str] = []
        self.fits = True
        self._current = _ASCII
        self._shifted = shifted
        self._is_shifted = False

    def read(self, data: bytes) -> None:
        """Decode `data`."""
        end = 0
        while switch := self._next_switch(data, end):
            self._add(data[end : switch.start()])
            end = switch.end()
            if switch[0] == b"\n":
                self._end_line(_SWITCH.search(data, end))
            else:
                self._switch(switch[0])
        self._add(data[end:])

    def _next_switch(self, data: bytes, start: int) -> re.Match[bytes] | None:
        is_plain = self._current == _ASCII and not self._is_shifted
        return (_SWITCH_IN_LINE if is_plain else _SWITCH).search(data, start)

    def _end_line(self, following: re.Match[bytes] | None) -> None:
        self.texts.append("\n")
        self._is_shifted = False
        is_wrapped = following is not None and following[0].startswith(b"\x1b(")
        if self._current != _ASCII and not is_wrapped:
            # the escape at the end of the line is missing
            self._current, self.fits = _ASCII, False

    def _switch(self, switch: bytes) -> None:
        name = switch[1:]
        if switch in (_SHIFT_OUT, _SHIFT_IN):
            self._is_shifted = switch == _SHIFT_OUT
        elif name.startswith(b"$)"):
            self._shifted = _SHIFTED.get(name[2:], _UNKNOWN)
        elif name != b"&@":
            self._current = _TWO_BYTES.get(name) or _ONE_BYTE.get(name, _ASCII)

    def _add(self, data: bytes) -> None:
        if data:
            text, fits = _decode_set(data, self._shifted if self._is_shifted else self._current)
            self.texts.append(text)
            self.fits = self.fits and fits


def _decode_set(data: bytes, name: str) -> tuple[str, bool]:
    if name in (_ASCII, _ROMAN):
        text, fits = (data.decode("ascii"), True) if data.isascii() else (_decode_stray(data), False)
        return (text.replace("\\", "¥").replace("~", "‾") if name == _ROMAN else text), fits
    data = data.translate(_HIGH)
    if name == _KANA:
        return data.decode("cp932", "replace"), not _NO_KANA.search(data)
    if name == _UNKNOWN:
        return _PAIR.sub(b"\xff", data).decode("ascii", "replace"), False
    if name in _WITH_SHIFT_3:
        data, name = _PAIR.sub(b"\x8f\\g<0>", data), _WITH_SHIFT_3[name]
    try:
        return data.decode(name, VENDOR), True
    except UnicodeDecodeError:
        return data.decode(name, VENDOR_OR_REPLACE), False


def _decode_stray(data: bytes) -> str:
    """Decode a text with 8-bit bytes where only ASCII may be: katakana, UTF-8, EUC-JP, Shift_JIS, cp1252."""
    if not _NO_KANA.search(data):
        return data.decode("cp932", "replace")
    for codec in ("utf_8", "euc_jp", "cp932"):
        try:
            return data.decode(codec)
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", "replace")
