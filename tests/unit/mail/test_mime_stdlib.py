"""The reader of bodies and the standard library's, on the same generated messages.

Ours must find what was put into each message. Where the standard library finds something else, one of the
message's oddities must explain the difference by a rule of the table.
"""

from __future__ import annotations

import io
from collections import Counter
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from typing import NamedTuple

import pytest

from mailsync.mail import mime, transfer_encoding
from tests.support.mime_messages import File, Generated, generated

MESSAGES = 400


class Read(NamedTuple):
    """What a reader finds. ``files`` are types and names, in order."""

    text: str | None
    html: str | None
    files: list[tuple[str, str | None]]


# what the standard library reads in another way, by the oddity and by the values that differ
RULES: dict[str, tuple[set[str], str]] = {
    "signature": ({"files"}, "it lists signatures; they are no attachments (§14)"),
    "several texts": ({"text"}, "it returns the first one; texts around files are joined (§14)"),
    "no charset": ({"text", "html"}, "it reads ASCII only; bytes that are valid UTF-8 are UTF-8"),
    "windows-1252 called iso-8859-1": (
        {"text", "html"},
        "it reads C1 controls; mail means Windows' superset",
    ),
    "no semicolon": ({"text", "html", "files"}, "it reads the type as text/plain in ASCII"),
    "comment in a type": ({"text", "html", "files"}, "it reads the type as text/plain in ASCII"),
    "line without a colon": ({"text", "html", "files", "contents"}, "it ends the header there"),
    "blank continuation line": ({"text", "html", "files", "contents"}, "it ends the header there"),
    "name without quotes": ({"files"}, "it ends the name at the first blank"),
    "raw utf-8 in a parameter": ({"files"}, "it replaces bytes that are not ASCII"),
    "boundary in RFC 2231": ({"text", "html", "files", "contents"}, "it finds no boundary"),
    "encoding in quotes": ({"text", "html", "contents"}, "it does not decode"),
    "base64 without padding": ({"contents"}, "it drops the last letters"),
    "footer behind a file": ({"contents"}, "it decodes the letters of the footer"),
}


def by_stdlib(raw: bytes) -> Read:
    """Read a message by the standard library."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return Read(_body(message, "plain"), _body(message, "html"), [_file(part) for part in _files(message)])


def by_us(raw: bytes) -> Read:
    """Read a message by mailsync."""
    parsed = mime.parse(io.BytesIO(raw))
    files = [(attachment.content_type, attachment.filename) for attachment in parsed.attachments]
    return Read(_trimmed(parsed.text), _trimmed(parsed.html), files)


def _body(message: EmailMessage, subtype: str) -> str | None:
    part = message.get_body((subtype,))
    return None if part is None else _trimmed(part.get_content())


def _files(message: EmailMessage) -> list[MIMEPart]:
    return [
        part
        for part in message.walk()
        if not part.is_multipart() and (part.get_filename() or part.is_attachment())
    ]


def _file(part: MIMEPart) -> tuple[str, str | None]:
    return part.get_content_type(), part.get_filename()


def _trimmed(text: str | None) -> str | None:
    return None if text is None else text.replace("\r\n", "\n").rstrip("\n")


def _put_in(message: Generated) -> Read:
    return Read(
        _trimmed("\n".join(message.texts)) if message.texts else None,
        _trimmed("\n".join(message.pages)) if message.pages else None,
        [(file.type, file.name) for file in message.files],
    )


@pytest.fixture(scope="module")
def messages() -> list[Generated]:
    """The corpus."""
    return [generated(seed) for seed in range(MESSAGES)]


def test_generated_messages_are_read_as_they_were_written(messages: list[Generated]) -> None:
    for seed, message in enumerate(messages):
        assert by_us(message.raw) == _put_in(message), (seed, message.oddities, message.raw)


def test_each_difference_from_the_standard_library_has_its_rule(messages: list[Generated]) -> None:
    used: Counter[str] = Counter()
    for seed, message in enumerate(messages):
        ours, theirs = by_us(message.raw), by_stdlib(message.raw)
        differing = {name for name in Read._fields if getattr(ours, name) != getattr(theirs, name)}
        _explain(seed, message, differing, used)
    unused = [name for name, (values, _) in RULES.items() if values != {"contents"} and not used[name]]
    assert not unused, f"rules without a difference: {unused}"


def test_contents_of_files_are_those_that_were_put_in(messages: list[Generated]) -> None:
    for seed, message in enumerate(messages):
        contents = _contents(message.raw)
        for content, file in zip(contents, message.files, strict=True):
            assert _comparable(content, file) == _comparable(file.content, file), (
                seed,
                message.oddities,
                message.raw,
            )


def test_contents_of_files_are_decoded_as_by_the_standard_library(messages: list[Generated]) -> None:
    used: Counter[str] = Counter()
    for seed, message in enumerate(messages):
        parsed = message_from_bytes(message.raw, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        parts = _files(parsed)
        if [_file(part) for part in parts] == [(file.type, file.name) for file in message.files]:
            theirs = [part.get_payload(decode=True) for part in parts]
            _explain(seed, message, {"contents"} if _contents(message.raw) != theirs else set(), used)
    assert used


def _contents(raw: bytes) -> list[bytes]:
    contents = []
    for attachment in mime.parse(io.BytesIO(raw)).attachments:
        section = mime.locate(io.BytesIO(raw), attachment.part)
        assert section is not None
        contents.append(transfer_encoding.decode(raw[section.start : section.end], section.encoding))
    return contents


def _comparable(content: bytes, file: File) -> bytes:
    # relays change the line ends of what is only text
    return content.replace(b"\r\n", b"\n") if file.type.startswith("text/") else content


def _explain(seed: int, message: Generated, differing: set[str], used: Counter[str]) -> None:
    for name in differing:
        rules = [rule for rule in message.oddities & RULES.keys() if name in RULES[rule][0]]
        assert rules, f"message {seed} differs in {name} without a rule: {message.oddities} {message.raw!r}"
        used.update(rules)
