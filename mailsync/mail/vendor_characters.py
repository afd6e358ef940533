"""The characters that vendors added to the charsets of East Asia; pure.

Python's codecs know the standards. Where a codec refuses a pair of bytes, the handlers here, which
``bytes.decode`` takes by name, look the pair up in the vendor's set: the circled numbers of NEC in EUC-JP and
ISO-2022-JP, JIS X 0213, the additions of Windows to Big5 and GBK.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import lru_cache

VENDOR = "mailsync.vendor"
"""The handler that decodes vendors' characters, and raises UnicodeDecodeError for all other bytes."""
VENDOR_OR_REPLACE = "mailsync.vendor_or_replace"
"""The handler that decodes vendors' characters, and returns U+FFFD for all other bytes."""

_MOST_PAIRS = 500
_SINGLE_SHIFT_3 = 0x8F


def _vendor(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError) and (decoded := _decoded(error)):
        return decoded
    raise error


def _vendor_or_replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    if decoded := _decoded(error):
        return decoded
    # a byte of ASCII is never part of a broken pair, as in browsers (WHATWG Encoding §13.1.3)
    second = error.object[error.start + 1 : error.start + 2]
    return "\ufffd", error.start + (1 if second.isascii() else 2)


codecs.register_error(VENDOR, _vendor)
codecs.register_error(VENDOR_OR_REPLACE, _vendor_or_replace)


def _decoded(error: UnicodeDecodeError) -> tuple[str, int] | None:
    """Return the vendor's characters where `error` begins, and the index after them."""
    lookup = _LOOKUPS.get(error.encoding)
    if lookup is None:
        return None
    data, start = error.object, error.start
    size = 3 if data[start] == _SINGLE_SHIFT_3 and error.encoding == "euc_jp" else 2
    characters: list[str] = []
    i = start
    while len(characters) < _MOST_PAIRS:
        # a run of such characters is decoded at once: each call of the handler costs time
        character, used = lookup(data[i : i + size])
        if not used:
            break
        characters.append(character)
        i += used
    return ("".join(characters), i) if characters else None


@lru_cache(maxsize=4096)
def _euc_jp(pair: bytes) -> tuple[str, int]:
    """Look up NEC's rows 13 and 89 to 92, IBM's rows 115 to 119 and JIS X 0213."""
    if len(pair) == 2 and pair[0] != _SINGLE_SHIFT_3 and 0xA1 <= pair[1] <= 0xFE:
        # rows above 94 come from ISO-2022-JP, where their first byte has eight bits
        row = pair[0] - (0xA0 if pair[0] > 0xA0 else 0x20)
        if 1 <= row <= 94 or 115 <= row <= 119:
            cell = pair[1] - 0xA0
            first = (row - 1) // 2 + (0x81 if row <= 62 else 0xC1)
            second = cell + (0x9E if row % 2 == 0 else 0x3F if cell <= 63 else 0x40)
            if character := _decode(bytes((first, second)), "cp932"):
                return character, 2
    character = _decode(pair, "euc_jis_2004")
    return character, len(pair) if character else 0


@lru_cache(maxsize=4096)
def _shift_jis(pair: bytes) -> tuple[str, int]:
    """Look up JIS X 0213."""
    character = _decode(pair, "shift_jis_2004")
    return character, len(pair) if character else 0


@lru_cache(maxsize=4096)
def _big5(pair: bytes) -> tuple[str, int]:
    """Look up what Windows added to Big5."""
    character = _decode(pair, "cp950")
    return character, len(pair) if character else 0


def _gb18030(pair: bytes) -> tuple[str, int]:
    """Read the byte that is the euro sign in Windows' code page 936."""
    return ("€", 1) if pair[:1] == b"\x80" else ("", 0)


def _decode(pair: bytes, codec: str) -> str:
    try:
        return pair.decode(codec) if pair[:1] > b"\x7f" else ""
    except UnicodeDecodeError:
        return ""


_LOOKUPS: dict[str, Callable[[bytes], tuple[str, int]]] = {
    "big5hkscs": _big5,
    "cp932": _shift_jis,
    "euc_jp": _euc_jp,
    "gb18030": _gb18030,
}
