"""The parser agrees with the standard library on ordinary mail."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime

from mailsync.demo.mailbox import sample_mailbox
from mailsync.mail.headers import parse_headers
from tests.support.header_blocks import fields_of, varied_blocks

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
        str(message["Message-ID"]).strip("<> "),
        (message["In-Reply-To"] or "").strip("<> ") or None,
        tuple(dict.fromkeys(id_.strip("<>") for id_ in references.split())),
        parsedate_to_datetime(date).astimezone(UTC) if date else None,
        " ".join(_decoded(message["Subject"].replace("\r\n", "")).split()),
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
