"""Characters that cannot be seen, and how they are shown."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from mailsync.cli import common
from mailsync.cli.terminal import printable
from mailsync.unprintable import CONTROLS, DIRECTIONS, INVISIBLE, JOINERS, escaped

# visible signs of Arabic, Syriac, Kaithi and Egyptian, which Unicode counts as format characters
VISIBLE = frozenset(
    map(
        chr,
        (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13460)),
    )
)


def test_every_format_character_of_unicode_is_known() -> None:
    known = CONTROLS | DIRECTIONS | INVISIBLE | JOINERS
    for char in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") and char not in VISIBLE:
            assert char in known, f"U+{ord(char):04X}"


@pytest.mark.parametrize("char", sorted(CONTROLS | DIRECTIONS | INVISIBLE | JOINERS))
def test_each_is_escaped_in_a_log(char: str) -> None:
    shown = escaped(f"a{char}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert shown == f"a{repr(char)[1:-1]}b"


@pytest.mark.parametrize("char", sorted(CONTROLS | DIRECTIONS | INVISIBLE))
def test_each_is_marked_on_a_terminal_and_escaped_in_json(char: str) -> None:
    assert printable(f"a{char}b") in ("a\ufffdb", "a b")
    document = common.as_json({"name": f"a{char}b"})
    assert document.isascii()
    assert json.loads(document) == {"name": f"a{char}b"}


def test_joiners_inside_words_stay_on_a_terminal() -> None:
    for name in ("\u0646\u0627\u0645\u0647\u200c\u0647\u0627", "\U0001f468\u200d\U0001f469\u200d\U0001f467"):
        assert printable(name) == name
