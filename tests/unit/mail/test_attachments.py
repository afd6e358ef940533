"""Which parts are text and which are files; rows and bodies say the same."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsync.imap.parsing.bodystructure import parse_structure
from mailsync.mail import mime
from mailsync.mail.attachments import Kind, decide_roles, kind_of
from mailsync.model import Attachment
from tests.support.message_trees import Attached, Leaf, Multipart, Tree, message_of, structure_of

PLAIN = Leaf("text/plain", content="plain words")
HTML = Leaf("text/html", content="html words")
PDF = Leaf("application/pdf", "attachment", filename="a.pdf")
LOGO = Leaf("image/png", content_id="logo@x")
CALENDAR = Leaf("text/calendar", content="BEGIN:VCALENDAR")


def mixed(*parts: Tree) -> Multipart:
    return Multipart("mixed", list(parts))


def alternative(*parts: Tree) -> Multipart:
    return Multipart("alternative", list(parts))


def related(*parts: Tree) -> Multipart:
    return Multipart("related", list(parts))


def named(leaf: Leaf, name: str = "body.txt", disposition: str = "") -> Leaf:
    return Leaf(leaf.type, disposition, name, name, leaf.content_id, leaf.content)


CASES: dict[str, tuple[Tree, str | None, str | None, list[str]]] = {
    "a single text": (PLAIN, "plain words", None, []),
    "a single text with a name": (named(PLAIN), "plain words", None, []),
    "a single inline text with a name": (named(HTML, disposition="inline"), None, "html words", []),
    "a single attached text": (named(PLAIN, disposition="attachment"), "plain words", None, ["1"]),
    "alternatives": (alternative(PLAIN, HTML), "plain words", "html words", []),
    "alternatives with names": (alternative(named(PLAIN), named(HTML)), "plain words", "html words", []),
    "an alternative that is called inline": (
        alternative(PLAIN, named(HTML, disposition="inline")), "plain words", "html words", [],
    ),
    "named HTML with images in an alternative": (
        alternative(PLAIN, related(named(HTML), LOGO)), "plain words", "html words", ["2.2"],
    ),
    "named HTML in mixed in an alternative": (
        alternative(PLAIN, mixed(named(HTML), PDF)), "plain words", "html words", ["2.2"],
    ),
    "a text file behind HTML in an alternative": (
        alternative(PLAIN, mixed(HTML, named(PLAIN, "notes.txt", "inline"))),
        "plain words", "html words", ["2.2"],
    ),
    "an attached alternative": (
        alternative(PLAIN, named(HTML, disposition="attachment")), "plain words", None, ["2"],
    ),
    "a text and a patch": (
        mixed(PLAIN, named(PLAIN, "fix.patch", "inline")), "plain words", None, ["2"],
    ),
    "texts around an image": (
        mixed(PLAIN, LOGO, Leaf("text/plain", content="more")), "plain words\nmore", None, ["2"],
    ),
    "HTML and the footer of a list": (
        mixed(HTML, Leaf("text/plain", "inline", content="footer")), "footer", "html words", [],
    ),
    "the only text is named, beside a file": (mixed(named(PLAIN), PDF), "plain words", None, ["2"]),
    "two named texts": (
        mixed(named(PLAIN, "a.txt"), named(PLAIN, "b.txt")), "plain words\nplain words", None, ["1", "2"],
    ),
    "two attached texts": (
        mixed(named(PLAIN, "a.txt", "attachment"), named(HTML, "b.html", "attachment")),
        None, None, ["1", "2"],
    ),
    "an invitation in an alternative": (
        alternative(PLAIN, HTML, CALENDAR), "plain words", "html words", ["3"],
    ),
    "an invitation twice": (
        mixed(alternative(PLAIN, CALENDAR), named(CALENDAR, "invite.ics", "attachment")),
        "plain words", None, ["1.2", "2"],
    ),
    "an invitation alone": (CALENDAR, "BEGIN:VCALENDAR", None, ["1"]),
    "a named invitation alone": (named(CALENDAR, "invite.ics"), None, None, ["1"]),
    "tables, cards and the like": (
        mixed(PLAIN, Leaf("text/csv"), Leaf("text/x-vcard"), Leaf("text/rtf"), Leaf("text/markdown")),
        "plain words", None, ["2", "3", "4", "5"],
    ),
    "AMP and watch": (
        alternative(PLAIN, Leaf("text/x-amp-html"), Leaf("text/watch-html"), HTML),
        "plain words", "html words", [],
    ),
    "AMP outside of an alternative": (mixed(PLAIN, Leaf("text/x-amp-html")), "plain words", None, ["2"]),
    "enriched text in an alternative": (alternative(PLAIN, Leaf("text/enriched")), "plain words", None, []),
    "enriched text alone": (Leaf("text/enriched", content="<bold>x"), "<bold>x", None, ["1"]),
    "a signature": (
        Multipart("signed", [PLAIN, Leaf("application/pgp-signature", name="signature.asc")]),
        "plain words", None, [],
    ),
    "a bounce": (
        Multipart("report", [PLAIN, Leaf("message/delivery-status"), Leaf("text/rfc822-headers")]),
        "plain words", None, [],
    ),
    "a bounce with the message": (
        Multipart("report", [PLAIN, Leaf("message/delivery-status"), Attached(HTML, "")]),
        "plain words", None, ["3"],
    ),
    "a TNEF file": (
        mixed(PLAIN, Leaf("application/ms-tnef", name="winmail.dat")), "plain words", None, ["2"],
    ),
    "an attached message": (mixed(PLAIN, Attached(alternative(PLAIN, HTML))), "plain words", None, ["2"]),
    "no text": (mixed(PDF, LOGO), None, None, ["1", "2"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_text_and_files_of_a_message(case: str) -> None:
    tree, text, html, files = CASES[case]
    parsed = mime.parse(io.BytesIO(message_of(tree)))
    assert (parsed.text, parsed.html) == (text, html)
    assert [part.part for part in parsed.attachments] == files
    assert [part.part for part in parse_structure([structure_of(tree)]).attachments] == files


_TYPES = (
    "text/plain", "text/html", "text/calendar", "text/csv", "text/x-amp-html", "text/enriched",
    "text/rfc822-headers", "image/png", "application/pdf", "application/pgp-signature",
    "message/delivery-status",
)  # fmt: skip
_NAMES = st.sampled_from(["", "", "a.txt", "=?utf-8?q?=C3=BC?=", "b c.pdf"])
_LEAVES = st.builds(
    Leaf,
    st.sampled_from(_TYPES),
    st.sampled_from(["", "", "inline", "attachment", "form-data"]),
    _NAMES,
    _NAMES,
    st.sampled_from(["", "", "id@x"]),
)
_KINDS = st.sampled_from(["mixed", "alternative", "related", "signed", "report", "x-other"])
_TREES = st.recursive(
    _LEAVES,
    lambda trees: st.one_of(
        st.builds(Multipart, _KINDS, st.lists(trees, min_size=1, max_size=4)),
        st.builds(Attached, trees, st.sampled_from(["", "attachment", "inline"])),
    ),
    max_leaves=12,
)


def _compared(part: Attachment) -> tuple[object, ...]:
    return part.part, part.filename, part.content_type, part.content_id, part.is_inline


@given(_TREES)
def test_row_and_body_agree_on_the_attachments(tree: Tree) -> None:
    body = mime.parse(io.BytesIO(message_of(tree))).attachments
    row = parse_structure([structure_of(tree)]).attachments
    assert [_compared(part) for part in row] == [_compared(part) for part in body]


@given(st.lists(st.sampled_from(["own", "named", "attached", "other", "spare", "file", "neither"])))
def test_every_text_is_shown_or_a_file_unless_the_table_says_otherwise(kinds: list[Kind]) -> None:
    roles = dict(zip(kinds, decide_roles(tuple(kinds)), strict=True))
    for kind, role in roles.items():
        if kind in ("own", "named", "attached", "other", "file"):
            assert role.is_shown or role.is_file
        if kind in ("file", "neither"):
            assert not role.is_shown
        if kind in ("own", "spare", "neither"):
            assert not role.is_file
        if kind == "own":
            assert role.is_shown
    if set(kinds) - {"file", "neither"} and set(kinds) & {"own", "named", "other"}:
        assert any(role.is_shown for role in roles.values())


def test_names_decide_nothing_inside_of_an_alternative() -> None:
    for content_type in ("text/plain", "text/html"):
        assert kind_of(content_type, "inline", True, True) == "own"
        assert kind_of(content_type, "inline", True, False) == "named"
