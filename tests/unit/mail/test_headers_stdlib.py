"""On ordinary mail the reader agrees with the standard library."""

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
    found = getaddresses([" ".join(value.split()) for value in message.get_all(name, [])])
    return tuple(email.lower() for _, email in found), tuple(_decoded(shown) or None for shown, _ in found)


def by_stdlib(block: bytes) -> Answer:
    """What the standard library reads of a message's header."""
    message = message_from_bytes(block)
    sender = _mailboxes(message, "From")
    references = " ".join(message.get("References", "").split())
    date = message["Date"]
    return (
        str(message["Message-ID"]).strip("<> "),
        (message["In-Reply-To"] or "").strip("<> ") or None,
        tuple(dict.fromkeys(one.strip("<>") for one in references.split())),
        parsedate_to_datetime(date).astimezone(UTC) if date else None,
        " ".join(_decoded(message["Subject"].replace("\r\n", "")).split()),
        sender[0][0],
        sender[1][0],
        *_mailboxes(message, "To"),
        *_mailboxes(message, "Cc"),
    )


def _by_us(block: bytes) -> Answer:
    found = parse_headers(block)
    assert found.errors == ()
    return (
        found.message_id,
        found.in_reply_to,
        found.reference_ids,
        found.sent_at,
        " ".join((found.subject or "").split()),
        found.from_email,
        found.from_name,
        found.to_emails,
        found.to_names,
        found.cc_emails,
        found.cc_names,
    )


def test_3000_generated_messages_read_as_the_standard_library_reads_them() -> None:
    for block in varied_blocks(3_000, seed=1):
        assert _by_us(block) == by_stdlib(block), block.decode()


def test_the_proper_part_of_the_sample_mailbox_reads_as_the_standard_library_reads_it() -> None:
    blocks = [fields_of(one.raw) for one in sample_mailbox() if one.folder not in ("Junk", "INBOX")]
    assert len(blocks) > 200
    for block in blocks:
        assert _by_us(block) == by_stdlib(block), block.decode()


def test_a_date_of_either_has_a_zone() -> None:
    moment = parse_headers(varied_blocks(1, seed=3)[0]).sent_at
    assert isinstance(moment, datetime) and moment.tzinfo is UTC
