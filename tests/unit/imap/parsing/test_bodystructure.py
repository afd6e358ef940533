"""BODYSTRUCTURE becomes JSON and attachments: all of its forms, any depth; garbage raises BadStructure."""

from __future__ import annotations

import json
import random

import pytest

from mailsync.imap.parsing.bodystructure import BadStructure, parse_structure
from mailsync.imap.parsing.bodystructure_template import DEEPEST

PLAIN = b'("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 1152 23 NIL NIL NIL NIL)'
HTML = b'("text" "html" ("charset" "utf-8") NIL NIL "quoted-printable" 99 3 NIL NIL NIL NIL)'


def attachment(name: bytes = b"a.pdf", disposition: bytes = b'("attachment" ("filename" "a.pdf"))') -> bytes:
    return b'("application" "pdf" ("name" "%s") NIL NIL "base64" 4096 NIL %s NIL NIL)' % (name, disposition)


def test_a_single_text_is_part_1_and_no_attachment() -> None:
    structure = parse_structure([PLAIN])
    assert json.loads(structure.json) == {
        "part": "1",
        "type": "text/plain",
        "params": {"charset": "utf-8"},
        "encoding": "7bit",
        "size": 1152,
        "lines": 23,
    }
    assert structure.attachments == ()
    assert not structure.truncated


def test_parts_are_numbered_as_in_fetch() -> None:
    alternative = b"(" + PLAIN + HTML + b' "alternative" ("boundary" "x") NIL NIL NIL)'
    structure = parse_structure(
        [b"(" + alternative + attachment() + b' "mixed" ("boundary" "y") NIL NIL NIL)']
    )
    tree = json.loads(structure.json)
    assert tree["type"] == "multipart/mixed"
    assert [part["part"] for part in tree["parts"]] == ["1", "2"]
    assert [part["part"] for part in tree["parts"][0]["parts"]] == ["1.1", "1.2"]
    [part] = structure.attachments
    assert part == ("2", "a.pdf", "application/pdf", 4096, None, False)


def test_an_attached_message_is_one_attachment_whose_parts_are_numbered_below_it() -> None:
    envelope = b'("date" "subject" NIL NIL NIL NIL NIL NIL NIL "<id@x>")'
    inner = b"(" + PLAIN + attachment() + b' "mixed")'
    message = (
        b'("message" "rfc822" NIL NIL NIL "7bit" 900 '
        + envelope
        + b" "
        + inner
        + b' 40 NIL ("attachment" NIL))'
    )
    structure = parse_structure([b"(" + PLAIN + message + b' "mixed")'])
    tree = json.loads(structure.json)
    assert [part["part"] for part in tree["parts"][1]["parts"][0]["parts"]] == ["2.1", "2.2"]
    assert [part.part for part in structure.attachments] == ["2"]
    assert structure.attachments[0].content_type == "message/rfc822"


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (b'("image" "png" NIL "<cid@x>" NIL "base64" 10 NIL NIL NIL NIL)', (None, True)),
        (b'("image" "png" ("name" "i.png") "<cid@x>" NIL "base64" 10 NIL ("inline" NIL))', ("i.png", True)),
        (b'("image" "png" NIL "<cid@x>" NIL "base64" 10 NIL ("attachment" NIL) NIL)', (None, False)),
        (b'("application" "pgp-signature" ("name" "signature.asc") NIL NIL "7bit" 10)', None),
        (b'("message" "delivery-status" NIL NIL NIL "7bit" 10)', None),
        (b'("text" "calendar" ("name" "invite.ics") NIL NIL "7bit" 10 2)', ("invite.ics", False)),
        (b'("text" "calendar" ("method" "REQUEST") NIL NIL "7bit" 10 2)', (None, False)),
        (b'("text" "x-amp-html" NIL NIL NIL "7bit" 10 2)', (None, False)),
        (b'("text" "rfc822-headers" NIL NIL NIL "7bit" 10 2)', None),
        (b'("" "" NIL NIL NIL "7bit" 10)', None),
        (b'("" "" ("name" "a.bin") NIL NIL "7bit" 10)', ("a.bin", False)),
        (b'("application" "pdf name=a.pdf" NIL NIL NIL "7bit" 10)', ("a.pdf", False)),
        (b'("application" "x" (" name " "a.pdf") NIL NIL "7bit" 10)', ("a.pdf", False)),
        (b'("application" "x" ("name" "\\"a.pdf\\"") NIL NIL "7bit" 10)', ("a.pdf", False)),
        (b'("application" "x" ("name*00" "a" "name*01" ".pdf") NIL NIL "7bit" 10)', ("a.pdf", False)),
        (b'("text" "plain" NIL NIL NIL "7bit" 10 2 NIL ("\\"attachment\\"" NIL))', (None, False)),
        (b'("text" "plain" NIL NIL NIL "7bit" 10 2 NIL "attachment")', (None, False)),
        (b'("application" "octet-stream" NIL NIL NIL "base64" 10)', (None, False)),
        (b'("application" "x" ("name" "=?utf-8?q?=C3=BC=2Epdf?=") NIL NIL "base64" 1)', ("ü.pdf", False)),
        (b'("application" "x" ("name*" "utf-8\'\'%c3%bc.pdf") NIL NIL "base64" 1)', ("ü.pdf", False)),
        (b'("application" "x" ("name" "\xfcber\x00.pdf") NIL NIL "base64" 1)', ("über\ufffd.pdf", False)),
    ],
)  # fmt: skip
def test_which_leaves_are_attachments(leaf: bytes, expected: tuple[object, bool] | None) -> None:
    structure = parse_structure([b"(" + HTML + leaf + b' "related" NIL NIL NIL NIL)'])
    assert [(part.filename, part.is_inline) for part in structure.attachments] == [expected] * (
        expected is not None
    )


def test_literals_escapes_and_atoms_are_strings() -> None:
    pieces = [
        b'("application" "pdf" ("name" ',
        b'a "quoted" \\ name.pdf',
        b') NIL "back\\\\slash \\"q\\"" base64 12 NIL NIL NIL)',
    ]
    structure = parse_structure(pieces)
    assert structure.attachments[0].filename == 'a "quoted" \\ name.pdf'
    tree = json.loads(structure.json)
    assert tree["description"] == 'back\\slash "q"'
    assert tree["encoding"] == "base64"
    assert tree["params"]["name"] == 'a "quoted" \\ name.pdf'


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        (b'("text" "plain" NIL NIL NIL "7bit" 0012 3)', "size", 12),
        (b'("text" "plain" NIL NIL NIL "7bit" 0 0)', "size", 0),
        (b'("text" "plain" NIL NIL NIL "7bit" -5 3)', "size", None),
        (b'("text" "plain" NIL NIL NIL "7bit" NIL 3)', "size", None),
        (b'("text" "plain" NIL NIL NIL "7bit" 99999999999999999999999 3)', "size", 999999999999999999),
        (b'("text" "plain" nil nil nil nil 5 3)', "size", 5),
        (b'(NIL NIL NIL NIL NIL NIL 5)', "type", "application/octet-stream"),
        (b'("text" "plain")', "type", "text/plain"),
        (b'("text" "plain" ("a" NIL "b" 7 "c") NIL NIL "7bit" 5 3)', "params", {"b": "7"}),
        (b'("text" "plain" ("100%" "%s%d") NIL NIL "7bit" 5 3)', "params", {"100%": "%s%d"}),
        (b'("text" "plain" ("x" "a\tb") NIL NIL "7bit" 5 3)', "params", {"x": "a\tb"}),
        (b"(" + PLAIN + b")", "type", "multipart/mixed"),
        (b"(" + PLAIN + b" NIL NIL)", "type", "multipart/mixed"),
        (b"()", "type", "application/octet-stream"),
        (b'("text" "html charset=utf-8" NIL NIL NIL "7bit" 5)', "type", "text/html"),
        (b'("\\"text/html\\"" "" NIL NIL NIL "7bit" 5)', "type", "text/html"),
        (b'("\'text" "html\'" NIL NIL NIL "7bit" 5)', "type", "text/html"),
        (b'("text" "" NIL NIL NIL "7bit" 5)', "type", "text/plain"),
        (b'("text" NIL NIL NIL NIL "7bit" 5)', "type", "text/plain"),
        (b'("html" "" NIL NIL NIL "7bit" 5)', "type", "text/html"),
        (b'("" "" NIL NIL NIL "7bit" 5)', "type", "text/plain"),
        (b'("" "" ("name" "a.bin") NIL NIL "7bit" 5)', "type", "application/octet-stream"),
        (b'("image" "*" NIL NIL NIL "7bit" 5)', "type", "application/octet-stream"),
        (b"(" + PLAIN + b' "*")', "type", "multipart/mixed"),
        (b"(" + PLAIN + b' "Alternative boundary=b")', "type", "multipart/alternative"),
    ],
)  # fmt: skip
def test_malformed_values_are_tolerated(text: bytes, key: str, value: object) -> None:
    assert json.loads(parse_structure([text]).json).get(key) == value


@pytest.mark.parametrize(
    "text",
    [b"", b"(", b")", b"NIL", b'"x"', b'("text"', b'("a))', b"(()", b"() ()", b'("text" "pl', b'("a" "\\")'],
)
def test_garbage_raises_bad_structure(text: bytes) -> None:
    with pytest.raises(BadStructure):
        parse_structure([text])


@pytest.mark.parametrize("depth", [300, 5000])
def test_deep_structures_are_cut_to_what_postgres_can_parse(depth: int) -> None:
    structure = parse_structure([b"(" * depth + PLAIN + b' "mixed")' * depth])
    assert structure.truncated
    assert structure.json.count("[") == DEEPEST
    json.loads(structure.json)
    message = b'("message" "rfc822" NIL NIL NIL "7bit" 900 ("d") '
    structure = parse_structure([message * depth + PLAIN + b" 4)" * depth])
    assert structure.truncated


def test_a_structure_with_very_many_parts_is_cut() -> None:
    structure = parse_structure([b"(" + attachment() * 1500 + b' "mixed")'])
    assert structure.truncated
    assert len(structure.attachments) == 1000
    json.loads(structure.json)


def test_a_structure_that_is_too_long_is_refused() -> None:
    with pytest.raises(BadStructure):
        parse_structure([b"(" + PLAIN * 20_000 + b' "mixed")'])


def test_mutilated_structures_become_json_or_raise_bad_structure() -> None:
    rng = random.Random(11)
    whole = (
        b"(" + PLAIN + b"(" + HTML + attachment() + b' "related" NIL NIL NIL)' + attachment() + b' "mixed")'
    )
    parsed = 0
    for _ in range(4000):
        text = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            start = rng.randrange(len(text))
            text[start : start + rng.randrange(4)] = rng.choice(
                [b"(", b")", b'"', b"\\", b" NIL ", b"", b"7", b"\xfc"]
            )
        try:
            structure = parse_structure([bytes(text)])
        except BadStructure:
            continue
        parsed += 1
        json.loads(structure.json)
    assert parsed > 100


def test_structures_with_the_same_skeleton_keep_their_own_values() -> None:
    for number in range(50):
        name = b"file%d.pdf" % number
        text = b'("application" "pdf" ("name" "%s") NIL NIL "base64" %d)' % (name, number)
        [part] = parse_structure([text]).attachments
        assert (part.filename, part.size_bytes) == (name.decode(), number)


def test_raw_names_in_different_charsets_are_decoded_one_by_one() -> None:
    [first, second] = parse_structure(
        [
            b"("
            + attachment("für.pdf".encode(), b"NIL")
            + attachment("für.pdf".encode("latin-1"), b"NIL")
            + b")"
        ]
    ).attachments
    assert (first.filename, second.filename) == ("für.pdf", "für.pdf")
