"""The columns of header blocks, case by case."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailsync.mail.headers import HEADER_FIELDS, parse_headers


def test_an_ordinary_block_fills_every_column() -> None:
    headers = parse_headers(
        b"Date: Fri, 21 Nov 1997 09:55:06 -0600\r\n"
        b"From: Jo Doe <Jo@Example.com>\r\n"
        b'To: "Smith, Ann" <ANN@example.org>,\r\n\tbob@example.org\r\n'
        b"Cc: team@example.org (The team)\r\n"
        b"Bcc: hidden@example.org\r\n"
        b"Reply-To: desk@example.com\r\n"
        b"Subject: Saying\r\n hello\r\n"
        b"Message-ID: <3456@Example.Net>\r\n"
        b"In-Reply-To: <1234@local.example>\r\n"
        b"References: <1@x>\r\n <1234@local.example>\r\n\r\n"
    )
    assert headers == (
        "3456@Example.Net",
        "1234@local.example",
        "<1@x> <1234@local.example>",
        ("1@x", "1234@local.example"),
        datetime(1997, 11, 21, 15, 55, 6, tzinfo=UTC),
        "Saying hello",
        "jo@example.com",
        "Jo Doe",
        ("jo@example.com",),
        ("desk@example.com",),
        ("ann@example.org", "bob@example.org"),
        ("Smith, Ann", None),
        ("team@example.org",),
        ("The team",),
        ("hidden@example.org",),
        None,
        False,
        (),
    )


def test_an_empty_block_has_no_values_and_no_errors() -> None:
    headers = parse_headers(b"")
    assert headers.errors == ()
    assert {headers.subject, headers.from_email, headers.sent_at, headers.message_id} == {None}
    assert headers.to_emails == headers.reference_ids == ()


@pytest.mark.parametrize(
    "block",
    [
        b"Subject: one\r\nFrom: a@b.example\r\n\r\n",
        b"Subject: one\nFrom: a@b.example\n",
        b"Subject: one\rFrom: a@b.example\r",
        b"Subject: one\r\nFrom: a@b.example",
        b"\r\nsubject:one\r\nFROM:a@b.example\r\n",
        b"Subject : one  \r\nFrom:\r\n a@b.example\r\n\r\nBody: not: a field\r\n",
        b"Subject: one\r\nno field here\r\nFrom: a@b.example\r\n",
    ],
)
def test_line_ends_order_and_case_do_not_matter(block: bytes) -> None:
    headers = parse_headers(block)
    assert (headers.subject, headers.from_email, headers.errors) == ("one", "a@b.example", ())


def test_the_body_is_ignored() -> None:
    assert parse_headers(b"From: a@b.example\r\n\r\nSubject: in the body\r\n").subject is None


def test_the_first_of_repeated_fields_counts_and_recipients_are_joined() -> None:
    headers = parse_headers(
        b"From: first@x.example\nFrom: second@x.example\nSubject: \nSubject: one\nSubject: two\n"
        b"To: a@x.example\nTo: b@x.example,\nCc: c@x.example\nCc: d@x.example\n"
    )
    assert (headers.from_email, headers.subject) == ("first@x.example", "one")
    assert headers.to_emails == ("a@x.example", "b@x.example")
    assert headers.cc_emails == ("c@x.example", "d@x.example")


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"=?utf-8?b?R3LDvMM=?=\r\n =?utf-8?b?n2U=?=", "Grüße"),
        (b"=?utf-8?b?R3LDvMM=?= =?UTF-8?q?=9Fe?=", "Grüße"),
        (b"=?iso-8859-1?q?a?= =?utf-8?q?b?=", "ab"),
        (b"Re: =?utf-8?q?one?= and =?utf-8?q?two?=!", "Re: one and two!"),
        (b"x=?utf-8?q?y?=z", "xyz"),
        (b"=?utf-8?Q?Are_you_there??=", "Are you there?"),
        (b"=?utf-8?Q?spaces in words?=", "spaces in words"),
        (b"=?utf-8*de?q?f=C3=BCr?=", "für"),
        (b"=?windows-1252?q?=80_5?=", "€ 5"),
        (b"=?iso-8859-1?q?=80_5?=", "€ 5"),
        (b"=?gb2312?B?xOO6ww==?=", "你好"),
        (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?ks_c_5601-1987?B?vsiz5w==?=", "안녕"),
        (b"=?utf-8?b?R3LDvMOfZQ?=", "Grüße"),
        (b"=?utf-8?b?R3L DvMOf*ZQ?=", "Grüße"),
        (b"=?utf-8?b?A?=", ""),
        (b"=?utf-8?q?a=?=", "a"),
        (b"=?utf-8?x?none?= =?half", "=?utf-8?x?none?= =?half"),
        (b"=?utf-8?q?a=00b?=", "a\ufffdb"),
        (b"=?utf-7?q?+2AA-?=", "\ufffd"),
        (b"=?utf-8?q?line=0D=0Abreak=09tab?=", "line break tab"),
        (b"a\0b", "a\ufffdb"),
        ("Grüße".encode(), "Grüße"),
        ("Grüße €".encode("cp1252"), "Grüße €"),
        (b"\x81 is unused", "\ufffd is unused"),
    ],
)
def test_subjects_are_decoded(value: bytes, subject: str) -> None:
    headers = parse_headers(b"Subject: " + value + b"\r\n\r\n")
    assert (headers.subject, headers.errors) == (subject, ())


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        (b"=?x-martian?q?caf=E9?=", "café"),
        (b"=?x-martian?q?caf=C3=A9?=", "café"),
        (b"=?hex?q?61?= =?rot13?q?uryyb?=", "61uryyb"),
        (b"=?idna?q?xn--caf-dma?=", "xn--caf-dma"),
        (b"=?unicode_escape?q?=5Cq?=", "\\q"),
        (b"=?utf-8?q?caf=E9?=", "café"),
        (b"=??q?empty?=", "empty"),
    ],
)
def test_text_in_an_unknown_charset_is_named_and_decoded_as_far_as_possible(
    value: bytes, subject: str
) -> None:
    headers = parse_headers(b"Subject: " + value + b"\n")
    assert (headers.subject, headers.errors) == (subject, ("charset",))


def test_each_field_has_its_own_raw_encoding() -> None:
    headers = parse_headers("Subject: größer\n".encode("latin-1") + "From: Łucja à <l@x.example>\n".encode())
    assert (headers.subject, headers.from_name) == ("größer", "Łucja à")


def test_a_subject_of_more_than_4_kib_is_cut_and_named() -> None:
    headers = parse_headers("Subject: {}\n".format("é" * 3_000).encode())
    assert headers.subject == "é" * 2_048
    assert headers.errors == ("subject_truncated",)


@pytest.mark.parametrize(
    ("value", "emails", "names"),
    [
        (b"g: a@x.example, B <b@x.example>;", ("a@x.example", "b@x.example"), (None, "B")),
        (b"undisclosed-recipients:;", (), ()),
        (b"", (), ()),
        (b",, a@x.example ;b@x.example,", ("a@x.example", "b@x.example"), (None, None)),
        (b'"Doe, Jo" <jo@x.example>', ("jo@x.example",), ("Doe, Jo",)),
        (b'"say \\"hi\\"" <jo@x.example>', ("jo@x.example",), ('say "hi"',)),
        (b"=?utf-8?Q?Doe,_J=C3=B6?= <jo@x.example>", ("jo@x.example",), ("Doe, Jö",)),
        (b'"=?utf-8?q?J=C3=B6?=" <jo@x.example>', ("jo@x.example",), ("Jö",)),
        (b"jo@x.example (Jo (the) Doe)", ("jo@x.example",), ("Jo (the) Doe",)),
        (b"Jo (comment) Doe <jo@x.example>", ("jo@x.example",), ("Jo Doe",)),
        (b"<@relay.example,@r2.example:jo@x.example>", ("jo@x.example",), (None,)),
        (b"jo @ x.example", ("jo@x.example",), (None,)),
        (b"< jo@x.example >", ("jo@x.example",), (None,)),
        (b"Jo <jo@x.example", ("jo@x.example",), ("Jo",)),
        (b"Jo jo@x.example", ("jo@x.example",), ("Jo",)),
        (b"<<jo@x.example>>", ("jo@x.example",), (None,)),
        (b"a@x.example b@x.example", ("a@x.example", "b@x.example"), (None, None)),
        (b"A <a@x.example> B <b@x.example>", ("a@x.example", "b@x.example"), ("A", "B")),
        (b"jo@x.example <jo@x.example>", ("jo@x.example",), ("jo@x.example",)),
        (b"'jo@x.example'", ("jo@x.example",), (None,)),
        (b"mailto:jo@x.example", ("jo@x.example",), (None,)),
        (b'"jo doe"@x.example', ('"jo doe"@x.example',), (None,)),
        (b"jo@[192.0.2.1]", ("jo@[192.0.2.1]",), (None,)),
        (b"root", ("root",), (None,)),
        (b"Root <root>", ("root",), ("Root",)),
        ("Jö <jö@bücher.example>".encode(), ("jö@bücher.example",), ("Jö",)),
        (b'"unclosed <jo@x.example>, b@x.example', ("jo@x.example", "b@x.example"), ("unclosed", None)),
        (b"(unclosed jo@x.example, b@x.example", ("jo@x.example", "b@x.example"), ("unclosed", None)),
    ],
)
def test_address_lists_are_parsed_leniently(
    value: bytes, emails: tuple[str, ...], names: tuple[str | None, ...]
) -> None:
    headers = parse_headers(b"To: " + value + b"\n")
    assert (headers.to_emails, headers.to_names, headers.errors) == (emails, names, ())


@pytest.mark.parametrize(
    ("value", "emails", "name"),
    [
        (b"Jo <Jo@x.example>, ann@x.example", ("jo@x.example", "ann@x.example"), "Jo"),
        (b"team: ann@x.example, Jo <jo@x.example>;", ("ann@x.example", "jo@x.example"), None),
        (b"Roth, Ida <ida@x.example>", ("ida@x.example",), "Roth, Ida"),
        (b"Mail System <>", (), "Mail System"),
        (b"", (), None),
    ],
)
def test_all_authors_are_kept_in_their_order(value: bytes, emails: tuple[str, ...], name: str | None) -> None:
    headers = parse_headers(b"From: " + value + b"\n")
    assert (headers.from_emails, headers.from_name) == (emails, name)
    assert headers.from_email == (emails[0] if emails else None)


def test_a_sender_without_an_address_keeps_the_name_and_is_named() -> None:
    headers = parse_headers(b"From: Mail Delivery System <>\nTo: Some One\n")
    assert (headers.from_email, headers.from_name) == (None, "Mail Delivery System")
    assert (headers.to_emails, headers.to_names) == ((), ())
    assert headers.errors == ("from", "to")


@pytest.mark.parametrize("common", [b"p%d@x.example", b"P <p%d@x.example>", b"(c) p%d@x.example"])
def test_a_list_of_more_than_a_thousand_addresses_is_cut_and_named(common: bytes) -> None:
    whole = b", ".join(common % number for number in range(1_000))
    assert parse_headers(b"To: " + whole + b", \n").errors == ()
    headers = parse_headers(b"To: " + whole + b", one@more.example\n")
    assert len(headers.to_emails) == len(headers.to_names) == 1_000
    assert headers.errors == ("to_truncated",)


@pytest.mark.parametrize(
    ("value", "message_id"),
    [
        (b"<a@b>", "a@b"),
        (b"a@b", "a@b"),
        (b"<a\r\n b@c>", "ab@c"),
        (b"  < A@b > (comment)", "A@b"),
        (b"<<a@b>>", "a@b"),
        (b"a", "a"),
        (b"<[uuid]@x>", "[uuid]@x"),
        (b"=?utf-8?q?=3Ca=40b=3E?=", "a@b"),
    ],
)
def test_message_ids_lose_their_brackets_and_keep_their_case(value: bytes, message_id: str) -> None:
    headers = parse_headers(b"Message-ID: " + value + b"\n")
    assert (headers.message_id, headers.errors) == (message_id, ())


def test_a_message_id_field_without_an_id_is_named() -> None:
    headers = parse_headers(b"Message-ID: <>\n")
    assert (headers.message_id, headers.errors) == (None, ("message_id",))


def test_in_reply_to_is_the_first_id_and_ignores_sentences() -> None:
    assert parse_headers(b"In-Reply-To: Your message of Monday <a@b> <c@d>\n").in_reply_to == "a@b"
    assert parse_headers(b"In-Reply-To: Your message of Monday\n").in_reply_to is None


def test_references_are_unfolded_and_their_ids_are_distinct() -> None:
    headers = parse_headers(b"References: <a@b>\n\t<c@d><a@b>\n <e@\n f>\n")
    assert headers.references_header == "<a@b> <c@d><a@b> <e@ f>"
    assert headers.reference_ids == ("a@b", "c@d", "e@f")


def test_many_references_keep_the_first_and_the_last() -> None:
    headers = parse_headers(
        b"References: " + b" ".join(b"<%d@x>" % number for number in range(3_000)) + b"\n"
    )
    assert len(headers.reference_ids) == 1_000
    assert (headers.reference_ids[0], headers.reference_ids[-1]) == ("0@x", "2999@x")
    assert headers.errors == ("references_truncated",)


def test_long_ids_and_addresses_are_clamped_so_that_equal_ones_stay_equal() -> None:
    long_id = "é" * 9_000
    first = parse_headers(
        f"Message-ID: <{long_id}1@x>\nFrom: {long_id}@x.example\nReferences: <{long_id}2@x>\n".encode()
    )
    second = parse_headers(
        f"Message-ID: <{long_id}2@x>\nIn-Reply-To: <{long_id}1@x>\nList-Id: <{long_id}>\n".encode()
    )
    assert first.message_id is not None and second.message_id is not None
    assert first.message_id != second.message_id
    assert first.message_id == second.in_reply_to
    assert first.reference_ids == (second.message_id,)
    for text in (first.message_id, first.from_email, second.message_id, second.list_id):
        assert text is not None and len(text.encode()) <= 1_000
    assert set(first.errors) == {"from_truncated", "references_truncated", "message_id_truncated"}
    assert set(second.errors) == {"list_id_truncated", "message_id_truncated", "in_reply_to_truncated"}


@pytest.mark.parametrize(
    ("value", "list_id"),
    [
        (b"The list <The.List.example.org>", "the.list.example.org"),
        (b"the.list.example.org", "the.list.example.org"),
        (b"=?utf-8?q?f=C3=BCr_alle?= <alle.example.org>", "alle.example.org"),
        (b"<>", None),
    ],
)
def test_list_ids_lose_their_description(value: bytes, list_id: str | None) -> None:
    assert parse_headers(b"List-Id: " + value + b"\n").list_id == list_id


@pytest.mark.parametrize(
    ("field", "is_automated"),
    [
        (b"Auto-Submitted: auto-generated", True),
        (b"Auto-Submitted: auto-replied; owner=x", True),
        (b"Auto-Submitted: no", False),
        (b"Auto-Submitted: No (really)", False),
        (b"Precedence: Bulk", True),
        (b"Precedence: list", True),
        (b"Precedence: junk", True),
        (b"Precedence: first-class", False),
        (b"List-Id: <x.example>", True),
        (b"List-Unsubscribe: <https://x.example>", True),
        (b"X-Auto-Response-Suppress: OOF, AutoReply", True),
        (b"X-Auto-Response-Suppress: None", False),
        (b"Return-Path: < >", True),
        (b"Return-Path: <jo@x.example>", False),
        (b"Subject: Auto-Submitted: yes", False),
    ],
)
def test_the_header_shows_whether_mail_is_automated(field: bytes, is_automated: bool) -> None:
    assert parse_headers(field + b"\n").is_automated is is_automated


def test_every_column_comes_from_a_field_that_is_fetched() -> None:
    fetched = {name.lower() for name in HEADER_FIELDS}
    assert len(fetched) == len(HEADER_FIELDS)
    assert {"from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "list-id"} <= fetched


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        ("=?utf-8*en?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ('=?"utf-8"?Q?Gr=C3=BC=C3=9Fe?=', "Grüße"),
        ("=?utf-8 ?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe an alle?=", "Grüße an alle"),
        # one character in two words, in two encodings, under two names of a charset
        ("=?UTF-8?Q?Gr=C3?= =?utf8?B?vMOfZQ==?=", "Grüße"),
        # no end
        ("Re: =?utf-8?Q?Gr=C3=BC=C3=9Fe", "Re: Grüße"),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe=", "Grüße"),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe=2", "Grüße"),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?", "Grüße"),
        ("=?utf-8?B?R3LDvMOf", "Grüß"),
        ("=?utf-8?Q?Gr=C3=BC =?utf-8?Q?=C3=9Fe?= an alle", "Grüße an alle"),
        ("=?x-martian?Q?Gr=C3=BC", "=?x-martian?Q?Gr=C3=BC"),
        # question marks that are not encoded
        ("=?utf-8?Q?Kommst_du?=20=C3=BCbermorgen?=", "Kommst du? übermorgen"),
        ("=?utf-8?Q?a=C3=BC?= b?=20", "aü b?=20"),
        ("see http://a.example/?=20&b=?=", "see http://a.example/?=20&b=?="),
        # text without blanks around words
        ("a=?utf-8?Q?=C3=BC?=b(=?utf-8?Q?=C3=BC?=)", "aüb(ü)"),
        # ISO-2022-JP: each word begins in ASCII, but a text that was cut anywhere goes on
        ("=?iso-2022-jp?B?GyRCMnE1RA==?= =?iso-2022-jp?Q?abcd?=", "会議abcd"),
        ("=?iso-2022-jp?B?GyRCMnE=?= =?iso-2022-jp?B?NUQbKEI=?=", "会議"),
        ("=?iso-2022-jp?B?GyRCQmgtITJzJE4kNDBGRmIbKEI=?=", "第①回のご案内"),
        ("\x1b$BBh-!2s$N$40FFb\x1b(B", "第①回のご案内"),
        ("Fwd: \x1b$B2q5D\x1b(B / \x1b(I123\x1b(B", "Fwd: 会議 / ｱｲｳ"),
    ],
)
def test_encoded_words_as_programs_write_them(value: str, subject: str) -> None:
    headers = parse_headers(f"Subject: {value}\n".encode())
    assert (headers.subject, headers.errors) == (subject, ())
