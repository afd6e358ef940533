"""Messages from the field, from a real server to the API: rows, bodies and files hold what a person reads."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from mailsync.mail import mime
from tests.support.case_mailbox import CaseMailbox, case_mailbox
from tests.support.cases import CASES, Case, Expected

__all__ = ["case_mailbox"]

_OF_THE_ROW = (
    "subject",
    "from_email",
    "from_name",
    "from_emails",
    "to_emails",
    "to_names",
    "cc_emails",
    "sent_at",
)

_CUT = "Dovecot ends the name at the first blank"
_NO_PARAMETERS = "Dovecot finds no parameters"
_NO_TYPE = "Dovecot finds no type"
_IN_TEXT = "only the text shows the file"

# the attachments of the row differ until the body is read, because BODYSTRUCTURE lacks what the message has
MISREAD = {
    "file-name-without-quotes-folded": _CUT,
    "file-name-blanks-without-quotes": _CUT,
    "file-name-blanks-without-quotes-and-size": _CUT,
    "file-name-parentheses-without-quotes": _CUT,
    "file-name-words-folded-without-quotes": _CUT,
    "file-name-raw-utf-8-without-quotes": _CUT,
    "file-name-missing-end-quote": _NO_PARAMETERS,
    "file-name-no-semicolon": _NO_PARAMETERS,
    "file-name-comma": _NO_PARAMETERS,
    "file-header-only-name-without-a-semicolon": _NO_TYPE,
    "file-header-type-in-quotes": _NO_TYPE,
    "file-name-with-a-path-of-windows": "Dovecot removes the backslashes",
    "uuencoded-file-in-text": _IN_TEXT,
    "uuencoded-file-between-texts": _IN_TEXT,
    "two-uuencoded-files-in-a-text": _IN_TEXT,
    "uuencoded-file-in-a-part": _IN_TEXT,
}

_COMPARED = ("part", "filename", "content_type", "content_id", "is_inline")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_reads_as_a_person_reads_it(case_mailbox: CaseMailbox, case: Case) -> None:
    expect = case.expect
    wrong: dict[str, Any] = {}
    if not expect.keys() <= set(_OF_THE_ROW):
        shown = case_mailbox.shown(case)
        row = shown.before
        wrong |= _wrong_body(expect, shown.body)
        wrong |= _wrong_files(case_mailbox, case, shown.body)
    else:
        row = case_mailbox.message(case)
    wrong |= {key: row[key] for key in _OF_THE_ROW if key in expect and row[key] != expect[key]}  # type: ignore[literal-required]
    right = {key: expect.get(key) for key in wrong}
    assert not wrong, f"{case.why}: {wrong} in place of {right}"


def _wrong_body(expect: Expected, body: dict[str, Any]) -> dict[str, Any]:
    text, html = body["body_text"], body["body_html"]
    wrong: dict[str, Any] = {}
    if "text" in expect and _trimmed(text) != _trimmed(expect["text"]):
        wrong["text"] = text
    if "html" in expect and _trimmed(html) != _trimmed(expect["html"]):
        wrong["html"] = html
    if not all(piece in (text or "") for piece in _pieces(expect.get("text_has"))):
        wrong["text_has"] = text
    if not all(piece in (html or "") for piece in _pieces(expect.get("html_has"))):
        wrong["html_has"] = html
    if any(piece in (text or "") for piece in _pieces(expect.get("text_hasnt"))):
        wrong["text_hasnt"] = text
    if "no_warning" in expect and body["warnings"]:
        wrong["no_warning"] = body["warnings"]
    return wrong


def _wrong_files(mailbox: CaseMailbox, case: Case, body: dict[str, Any]) -> dict[str, Any]:
    expect, attachments = case.expect, body["attachments"]
    listed = [(attachment["filename"], attachment["content_type"]) for attachment in attachments]
    wrong: dict[str, Any] = {}
    if "files" in expect:
        wanted = expect["files"]
        if len(wanted) != len(listed) or not all(map(_is_same, wanted, listed)):
            wrong["files"] = listed
    for wanted_file in expect.get("has_files", ()):
        if not any(_is_same(wanted_file, file) for file in listed):
            wrong["has_files"] = listed
    parts = {attachment["filename"]: attachment["part"] for attachment in attachments}
    for name, content in expect.get("file", {}).items():
        found = mailbox.download(case, parts[name]).body if name in parts else None
        if found != content:
            wrong["file"] = {name: found}
    for name in expect.get("warned_files", ()):
        if not mailbox.download(case, parts[name]).headers["X-Content-Warning"]:
            wrong["warned_files"] = name
    return wrong


def _is_same(wanted: tuple[str | None, str | None], file: tuple[str | None, str]) -> bool:
    return wanted[0] == file[0] and wanted[1] in (None, file[1])


def _trimmed(text: str | None) -> str | None:
    return None if text is None else text.rstrip("\r\n")


def _pieces(value: str | list[str] | None) -> Iterator[str]:
    yield from [value] if isinstance(value, str) else value or ()


# -- rows, bodies and the parser agree ------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_row_and_body_list_the_same_attachments(case_mailbox: CaseMailbox, case: Case) -> None:
    shown = case_mailbox.shown(case)
    parsed = [attachment._asdict() for attachment in mime.parse(io.BytesIO(case.raw)).attachments]
    assert _compared(shown.body["attachments"]) == _compared(parsed)
    assert shown.after["attachments"] == shown.body["attachments"]
    assert shown.after["has_attachments"] == any(
        not (file["is_inline"] and file["content_id"]) for file in parsed
    )
    agreed = _compared(shown.before["attachments"]) == _compared(parsed)
    if case.name in MISREAD:
        assert not agreed, f"no exception any more: {MISREAD[case.name]}"
    else:
        assert agreed, (shown.before["attachments"], parsed, shown.before["mime_structure"])


def _compared(attachments: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(attachment[key] for key in _COMPARED) for attachment in attachments]
