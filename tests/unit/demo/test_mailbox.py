"""The sample mailbox: reproducible, varied, and free of accidental defects."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

from mailsync.demo.mailbox import SampleMessage, new_message, sample_mailbox
from mailsync.mail.headers import parse_headers
from tests.support.bulk_messages import varied_message

MAILBOX = list(sample_mailbox())


def test_the_same_seed_makes_the_same_bytes() -> None:
    assert list(sample_mailbox()) == MAILBOX
    assert list(sample_mailbox(seed=21)) != MAILBOX
    assert [varied_message(n, random.Random(n)) for n in range(9)] == [
        varied_message(n, random.Random(n)) for n in range(9)
    ]


def test_it_fills_all_folders_each_from_old_to_new() -> None:
    folders = Counter(sample.folder for sample in MAILBOX)
    assert list(folders) == [
        "INBOX",
        "Sent",
        "Drafts",
        "Archive/2025",
        "Junk",
        "Newsletter",
        "Projekte/Übersicht",
    ]
    assert 200 < folders.total() < 600
    assert all(sample.internal_date.tzinfo is not None for sample in MAILBOX)
    for folder in folders:
        dates = [sample.internal_date for sample in MAILBOX if sample.folder == folder]
        assert dates == sorted(dates)


def test_lines_end_in_crlf_and_no_line_is_longer_than_smtp_allows() -> None:
    for sample in MAILBOX:
        lines = sample.raw.split(b"\r\n")
        assert not any(b"\n" in line or b"\r" in line for line in lines)
        assert max(map(len, lines)) < 998 or b"never ends" in sample.raw


def test_it_holds_all_kinds_of_mail() -> None:
    parsed = [(sample, parse_headers(sample.raw)) for sample in MAILBOX]
    subjects = " ".join(headers.subject or "" for _, headers in parsed)
    for script in ("Prüf", "Réunion", "見積書", "Προσφορά", "🎂", "Łódź", "Grüße von überall"):
        assert script in subjects
    flags = {flag for sample in MAILBOX for flag in sample.flags}
    assert flags == {"\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Forwarded"}
    assert any(len(headers.reference_ids) >= 3 for _, headers in parsed)
    assert any(headers.list_id for _, headers in parsed)
    assert any(headers.message_id is None for _, headers in parsed)
    errors = {error for _, headers in parsed for error in headers.errors}
    assert errors == {"date", "charset", "subject_truncated", "cc_truncated"}
    types = {part.get_content_type() for sample in MAILBOX for part in message_from_bytes(sample.raw).walk()}
    wanted = {
        "text/html",
        "application/pdf",
        "image/png",
        "text/csv",
        "message/rfc822",
        "message/delivery-status",
    }
    assert wanted < types


def test_automated_mail_is_marked_as_such() -> None:
    def share(folder: str) -> set[bool]:
        return {parse_headers(sample.raw).is_automated for sample in MAILBOX if sample.folder == folder}

    assert share("Newsletter") == {True}
    assert share("Sent") == {False}
    assert share("INBOX") == {True, False}


def test_proper_messages_parse_without_a_defect() -> None:
    proper = ("Sent", "Projekte/Übersicht", "Newsletter")
    for sample in (sample for sample in MAILBOX if sample.folder in proper):
        message = message_from_bytes(sample.raw, policy=policy.default)
        assert isinstance(message, EmailMessage)
        assert not [defect for part in message.walk() for defect in part.defects]
        body = message.get_body(("plain",))
        assert body is not None and body.get_content().strip()


def test_message_ids_are_unique() -> None:
    ids = [parse_headers(sample.raw).message_id for sample in MAILBOX]
    assert ids.count(None) == 1
    assert len(set(ids)) == len(ids)


def test_new_messages_are_unread_in_inbox_and_all_different() -> None:
    when = datetime(2025, 7, 1, 12, 0, tzinfo=UTC)
    messages = [new_message(number, when) for number in range(100)]
    assert {(message.folder, message.flags, message.internal_date) for message in messages} == {
        ("INBOX", (), when)
    }
    assert len({parse_headers(message.raw).message_id for message in messages}) == 100
    assert messages[7] == new_message(7, when)
    assert all(parse_headers(message.raw).sent_at == when for message in messages)


def test_messages_in_bulk_have_headers_of_a_real_size_and_their_own_senders() -> None:
    rng = random.Random(5)
    raws = [varied_message(number, rng) for number in range(500)]
    sizes = [raw.index(b"\r\n\r\n") for raw in raws]
    assert 3_500 < sum(sizes) / len(sizes) < 4_100
    parsed = [parse_headers(raw) for raw in raws]
    assert len({headers.from_email for headers in parsed}) == 500
    assert len({headers.message_id for headers in parsed}) == 500
    assert {headers.errors for headers in parsed} == {()}


def test_a_sample_message_is_made_of_plain_values() -> None:
    first = MAILBOX[0]
    assert isinstance(first, SampleMessage)
    assert [type(value) for value in first[:3]] == [str, bytes, tuple]
