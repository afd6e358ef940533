"""The parser agrees with the standard library, or a named rule explains the difference."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime

from mailsync.demo.mailbox import sample_mailbox
from mailsync.mail.headers import parse_headers
from tests.support.header_blocks import fields_of, odd_blocks, varied_blocks

Answer = tuple[object, ...]


def _decoded(text: str) -> str:
    return str(make_header(decode_header(text)))


def _mailboxes(message: Message, name: str) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    addresses = getaddresses([" ".join(value.split()) for value in message.get_all(name, [])])
    return tuple(email.lower() for _, email in addresses), tuple(
        _decoded(name) or None for name, _ in addresses
    )


def by_stdlib(block: bytes) -> Answer:
    """Parse a message's header by the standard library."""
    message = message_from_bytes(block)
    sender = _mailboxes(message, "From")
    references = " ".join(message.get("References", "").split())
    date = message["Date"]
    return (
        str(message["Message-ID"]).strip("<> \r\n\t"),
        (message["In-Reply-To"] or "").strip("<> \r\n\t") or None,
        tuple(dict.fromkeys(id_.strip("<>") for id_ in references.split())),
        parsedate_to_datetime(date).astimezone(UTC) if date else None,
        " ".join(_decoded(" ".join(message["Subject"].split())).split()),
        sender[0][0],
        sender[1][0],
        *_mailboxes(message, "To"),
        *_mailboxes(message, "Cc"),
    )


def _by_us(block: bytes) -> Answer:
    headers = parse_headers(block)
    assert headers.errors == ()
    return (
        headers.message_id,
        headers.in_reply_to,
        headers.reference_ids,
        headers.sent_at,
        " ".join((headers.subject or "").split()),
        headers.from_email,
        headers.from_name,
        headers.to_emails,
        headers.to_names,
        headers.cc_emails,
        headers.cc_names,
    )


def test_3000_generated_messages_agree_with_the_standard_library() -> None:
    for block in varied_blocks(3_000, seed=1):
        assert _by_us(block) == by_stdlib(block), block.decode()


def test_ordinary_sample_messages_agree_with_the_standard_library() -> None:
    blocks = [fields_of(sample.raw) for sample in sample_mailbox() if sample.folder not in ("Junk", "INBOX")]
    assert len(blocks) > 200
    for block in blocks:
        assert _by_us(block) == by_stdlib(block), block.decode()


def test_dates_of_both_have_a_zone() -> None:
    moment = parse_headers(varied_blocks(1, seed=3)[0]).sent_at
    assert isinstance(moment, datetime) and moment.tzinfo is UTC


# -- odd headers ---------------------------------------------------------------------------------------


def _without_other_lines(block: bytes) -> bytes:
    """Remove the lines that are no fields, and those that continue them."""
    kept, is_kept = [], False
    for line in re.findall(rb"[^\r\n]*(?:\r*\n|\r|$)", block):
        if line[:1] not in (b" ", b"\t"):
            is_kept = not line.strip() or re.match(rb"(?!--)[!-9;-~]+[ \t]*:", line) is not None
        if is_kept:
            kept.append(line)
    return b"".join(kept)


RULES: dict[str, tuple[set[str], Callable[[bytes], bytes]]] = {
    "a byte order mark is no part of the first field": ({"BOM"}, lambda block: block.lstrip(b"\xef\xbb\xbf")),
    "any number of CRs before an LF is one line end": (
        {"CR CR LF"},
        lambda block: re.sub(rb"\r+\n", b"\r\n", block),
    ),
    "a CR is a blank where LFs end the lines": (
        {"CR inside a value"},
        lambda block: re.sub(rb"\r(?!\n)", b" ", block),
    ),
    "a line that is no field costs only itself": (
        {"unindented", "8-bit name", "boundary", "mbox line"},
        _without_other_lines,
    ),
    "blanks may stand before the colon (RFC 5322 §4.5)": (
        {"blanks before the colon"},
        lambda block: re.sub(rb"(\A|[\r\n])([!-9;-~]+)[ \t]+:", rb"\1\2:", block),
    ),
}
"""Where we differ from the standard library: the odd kinds, and what the rule makes of a block."""


def _by_stdlib_or_error(block: bytes) -> Answer | Exception:
    try:
        return by_stdlib(block)
    except Exception as error:
        return error


def test_rules_explain_each_difference_from_the_standard_library_on_odd_headers() -> None:
    used, explained_kinds = set(), {kind for kinds, _ in RULES.values() for kind in kinds}
    for block, kinds in odd_blocks(3_000, seed=4):
        ours, theirs = _by_us(block), _by_stdlib_or_error(block)
        if ours == theirs:
            continue
        assert kinds & explained_kinds, (kinds, block)
        for rule, (kinds_of_rule, apply) in RULES.items():
            if kinds & kinds_of_rule:
                used.add(rule)
                block = apply(block)
        assert ours == _by_stdlib_or_error(block), (kinds, block)
    assert used == RULES.keys()
