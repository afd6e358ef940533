"""Japanese, Korean and Chinese mail as programs write it, beyond what the RFCs allow."""

from __future__ import annotations

import pytest

from mailsync.mail.charsets import decode_bytes, decode_raw
from mailsync.mail.iso2022 import is_iso2022

MEETING = "会議は十時からです"
JIS = MEETING.encode("iso2022_jp")
NEC_1 = b"\x1b$B-!\x1b(B"
"""① in row 13, which NEC added."""


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("iso-2022-jp", NEC_1 + b" ok", "① ok"),
        ("iso-2022-jp", b"\x1b$B-!-j-6\x1b(B", "①㈱Ⅱ"),
        ("iso-2022-jp", "第".encode("iso2022_jp")[:-3] + b"-!" + "回".encode("iso2022_jp")[3:], "第①回"),
        ("iso-2022-jp", b"\x1b$By!\x1b(B", "纊"),
        ("iso-2022-jp", b"\x1b(I123\x1b(B", "ｱｲｳ"),
        ("iso-2022-jp", b"\x1b(I123\x1b$B$G$9\x1b(B.", "ｱｲｳです."),
        ("iso-2022-jp", b"\x1b$@$G$9\x1b(J.", "です."),
        ("iso-2022-jp", b"\x1b&@\x1b$B$G$9\x1b(B", "です"),
        ("iso-2022-jp", b"\x1b$(D0!\x1b(B", "丂"),
        ("iso-2022-jp", b"\x1b$(Q-!\x1b(B", "①"),
        ("iso-2022-jp", "会議".encode("iso2022_jp_2004"), "会議"),
        ("iso-2022-jp", b"a \x0e123\x0f b", "a ｱｲｳ b"),
        ("cp50221", NEC_1, "①"),
        ("iso-2022-jp", JIS[:-3], MEETING),
        ("iso-2022-kr", "서울 회의".encode("iso2022_kr"), "서울 회의"),
        ("iso-2022-kr", b"\x0e" + bytes(b & 0x7F for b in "서울".encode("euc_kr")) + b"\x0f.", "서울."),
        (
            "iso-2022-cn",
            b"\x1b$)A\x0e" + bytes(b & 0x7F for b in "会议".encode("gb2312")) + b"\x0f.",
            "会议.",
        ),
        ("euc-jp", "第".encode("euc_jp") + b"\xad\xa1" + "回".encode("euc_jp"), "第①回"),
        ("euc-jp", b"\xad\xa1\xad\xea\xad\xb6\xf9\xa1 ok", "①㈱Ⅱ纊 ok"),
        ("euc-jp", b"\x8e\xb1\x8e\xb2", "ｱｲ"),
        ("shift_jis", b"\x87\x40\xfa\x5c\xed\x40", "①纊纊"),
    ],
)
def test_characters_that_vendors_added(charset: str, data: bytes, text: str) -> None:
    assert decode_bytes(data, charset) == (text, True)


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        # the last escape of a line is missing
        ("iso-2022-jp", JIS[:-3] + b"\nHell", MEETING + "\nHell"),
        ("iso-2022-jp", JIS[:-3] + b"\r\nHello\r\n" + JIS, f"{MEETING}\r\nHello\r\n{MEETING}"),
        # 8-bit bytes: katakana, and other charsets under this name
        ("iso-2022-jp", JIS + b" \xb1\xb2\xb3", MEETING + " ｱｲｳ"),
        ("iso-2022-jp", MEETING.encode("cp932"), MEETING),
        ("iso-2022-jp", MEETING.encode("euc_jp"), MEETING),
        ("iso-2022-jp", b"caf\xe9", "café"),
        ("iso-2022-jp", JIS[:-4] + b"\x1b(B.", MEETING[:-1] + "\ufffd."),
        # escapes under the name of another charset
        ("us-ascii", JIS, MEETING),
        ("iso-8859-1", JIS + b" ok", MEETING + " ok"),
        ("utf-8", b"> " + NEC_1, "> ①"),
        ("utf-8", JIS + b" caf\xe9", MEETING + " café"),
        ("x-unknown", JIS, MEETING),
        ("shift_jis", JIS, MEETING),
        ("gb2312", JIS, MEETING),
        ("utf-8", b"\x1b(I123\x1b(B", "ｱｲｳ"),
        ("us-ascii", "서울 회의".encode("iso2022_kr"), "서울 회의"),
        ("euc-jp", b"\xc2\xe8\xad\xff ok", "第\ufffd ok"),
    ],
)
def test_faults_that_leave_the_text_readable(charset: str, data: bytes, text: str) -> None:
    assert decode_bytes(data, charset) == (text, False)


def test_a_character_that_a_line_break_cut_from_its_escape() -> None:
    wrapped = JIS[:9] + b"\r\n" + JIS[9:]
    assert decode_bytes(wrapped, "iso-2022-jp")[0] == f"{MEETING[:3]}\r\n{MEETING[3:]}"


@pytest.mark.parametrize(
    "data", [b"\x1b[1mbold\x1b[0m", b"\x1b(B", b"\x1b(0lqqk\x1b(B", b"\x1b$", b"$B", b""]
)
def test_escapes_of_a_terminal_are_no_japanese(data: bytes) -> None:
    assert not is_iso2022(data)
    assert decode_raw(data) == data.decode()
