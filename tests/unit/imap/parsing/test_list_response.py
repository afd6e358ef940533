"""Rows of LIST and STATUS, mailbox names, and SEARCH responses."""

from __future__ import annotations

import random

import pytest

from mailsync.imap.parsing.list_response import parse_list, parse_status
from mailsync.imap.parsing.mailbox_name import decode_name
from mailsync.imap.parsing.search_response import parse_search
from mailsync.model import MailboxStatus
from mailsync.uidset import UidSet


@pytest.mark.parametrize(
    ("parts", "wire_name", "path", "delimiter"),
    [
        ([b'* LIST (\\HasNoChildren) "/" "Sent Items"'], b"Sent Items", "Sent Items", "/"),
        ([b'* LIST () "." Drafts'], b"Drafts", "Drafts", "."),
        ([b'* LIST () "." Sent Items'], b"Sent Items", "Sent Items", "."),
        ([b'* LIST () NIL "flat"'], b"flat", "flat", None),
        ([b"* LIST () nil flat"], b"flat", "flat", None),
        ([b'* LIST () "\\\\" "a\\\\b"'], b"a\\b", "a\\b", "\\"),
        ([b'* LIST () "/" "say \\"hi\\""'], b'say "hi"', 'say "hi"', "/"),
        ([b'* LIST () "/" ', b'a "b" c', b""], b'a "b" c', 'a "b" c', "/"),
        ([b'* LIST () "/" ', b"Caf\xc3\xa9", b' ("CHILDINFO" ("SUBSCRIBED"))'], b"Caf\xc3\xa9", "Café", "/"),
        ([b'* LIST () "/" "x" ("CHILDINFO" ("SUBSCRIBED"))'], b"x", "x", "/"),
        ([b'* LIST () "/" x ("CHILDINFO" ("SUBSCRIBED"))'], b"x", "x", "/"),
        ([b'* LIST () "/" A B (c)'], b"A B (c)", "A B (c)", "/"),
        ([b'* LIST () "/" inbox'], b"INBOX", "INBOX", "/"),
        ([b'* LIST () "/" "Inbox"'], b"INBOX", "INBOX", "/"),
        ([b'* LIST () "." INBOX.INBOX'], b"INBOX.INBOX", "INBOX.INBOX", "."),
        ([b'* LIST () "/" "Entw&APw-rfe"'], b"Entw&APw-rfe", "Entwürfe", "/"),
        ([b'* list () "/" "x"'], b"x", "x", "/"),
        ([b'* LIST () "/" "unterminated'], b"unterminated", "unterminated", "/"),
    ],
)
def test_each_form_of_a_row_becomes_its_folder(
    parts: list[bytes], wire_name: bytes, path: str, delimiter: str | None
) -> None:
    row = parse_list(parts)
    assert row is not None
    assert (row.wire_name, row.path, row.delimiter) == (wire_name, path, delimiter)


def test_attributes_are_lower_case() -> None:
    row = parse_list([b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"'])
    assert row is not None
    assert row.attributes == {"\\hasnochildren", "\\sent"}


@pytest.mark.parametrize(
    "text", [b"* LIST", b"* LIST ()", b'* LIST () "/"', b'* LIST () "/" ""', b"* LSUBX () a"]
)
def test_a_row_without_a_name_is_none(text: bytes) -> None:
    assert parse_list([text]) is None


@pytest.mark.parametrize(
    ("wire_name", "text"),
    [
        (b"R & D", "R & D"),
        (b"R &- D", "R & D"),
        (b"&", "&"),
        (b"a&b-c", "a&b-c"),  # one base64 character is no UTF-16
        (b"&ZeVnLIqe-", "日本語"),
        (b"&2D3eAA-", "😀"),
        (b"&2D0-", "\ufffd"),  # a lone surrogate
        (b"x&AAA-y", "x\ufffdy"),  # NUL
        (b"&AOQ", "&AOQ"),  # no end
        (b"&Jjo!", "&Jjo!"),
        ("Ünïcödé".encode(), "Ünïcödé"),
        (b"Entw\xfcrfe", "Entwürfe"),
    ],
)
def test_names_are_decoded_even_if_malformed(wire_name: bytes, text: str) -> None:
    assert decode_name(wire_name) == text


def test_any_bytes_become_text_that_postgres_accepts() -> None:
    rng = random.Random(3)
    for _ in range(5000):
        name = bytes(rng.choice(b"&&--,+/ABCDxyz\x00\xd8\xff\xc3") for _ in range(rng.randrange(1, 12)))
        decoded = decode_name(name)
        decoded.encode()
        assert "\0" not in decoded


@pytest.mark.parametrize(
    ("parts", "name", "status"),
    [
        (
            [b'* STATUS "a b" (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 1 UNSEEN 2 HIGHESTMODSEQ 7 MAILBOXID (F1))'],
            b"a b",
            MailboxStatus(3, 9, 1, 2, 7, "F1"),
        ),
        ([b"* STATUS ", b'x "y" (z)', b" (messages 3)"], b'x "y" (z)', MailboxStatus(messages=3)),
        ([b"* STATUS A B (c) (MESSAGES 3)"], b"A B (c)", MailboxStatus(messages=3)),
        ([b"* STATUS inbox (MESSAGES 3)"], b"INBOX", MailboxStatus(messages=3)),
        ([b"* STATUS x (MESSAGES -1 UIDNEXT 99999999999999999999 UNSEEN NIL)"], b"x", MailboxStatus()),
        ([b"* STATUS x ()"], b"x", MailboxStatus()),
    ],
)
def test_each_form_of_status_is_parsed(parts: list[bytes], name: bytes, status: MailboxStatus) -> None:
    assert parse_status(parts) == (name, status)


def test_other_responses_are_not_status() -> None:
    assert parse_status([b"* OK x"]) is None
    assert parse_status([b"* STATUS x"]) is None


@pytest.mark.parametrize(
    ("line", "uids"),
    [
        (b"* SEARCH", ""),
        (b"* SEARCH 3 1 2 9", "1:3,9"),
        (b"* SEARCH 1,2,3", "1:3"),
        (b"* SEARCH 0 5", "5"),
        (b"* SEARCH 2 5 (MODSEQ 917)", "2,5"),
        (b'* ESEARCH (TAG "a1") UID', ""),
        (b'* ESEARCH (TAG "a1") UID ALL 1:3,7', "1:3,7"),
        (b'* ESEARCH (TAG "a1") UID COUNT 3 ALL 0:3', "1:3"),
        (b'* esearch (tag "a1") uid all 4', "4"),
    ],
)
def test_each_form_of_a_search_response_is_parsed(line: bytes, uids: str) -> None:
    assert parse_search([line]) == UidSet.parse(uids)


def test_other_responses_are_not_search() -> None:
    assert parse_search([b"* SEARCHES 1"]) is None
    assert parse_search([b"* 5 EXISTS"]) is None
