"""One part of a MIME message and its header (RFC 2045, 2046, 2183)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailsync.mail.attachments import build_attachment
from mailsync.mail.charsets import decode_raw
from mailsync.mail.text import clean_text
from mailsync.model import Attachment

_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"?|[^;\s]*)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")


@dataclass(slots=True)
class Part:
    """One part with the values of its header; ``data`` is its content, still encoded, if it is text.

    `number` is IMAP's number of the part, `default` its type if the header names none, `parent` the type of
    the multipart around it. Only one of several texts of one type with the same `slot` is shown.
    """

    number: str
    default: str
    parent: str = ""
    slot: object = None
    fields: dict[bytes, bytes] = field(default_factory=dict)
    type: str = ""
    parameters: list[tuple[bytes, bytes]] = field(default_factory=list)
    disposition: str = ""
    named: list[tuple[bytes, bytes]] = field(default_factory=list)
    data: bytearray | None = None
    size: int = 0

    def read_header(self) -> None:
        """Parse the raw values in ``fields``."""
        value = self.fields.get(b"content-type", b"")
        name = decode_raw(value.partition(b";")[0]).strip().lower()
        self.type = name if _TYPE.fullmatch(name) else ("text/plain" if name else self.default)
        self.parameters = list(parameters_of(value))
        disposition = self.fields.get(b"content-disposition", b"")
        self.disposition = decode_raw(disposition.partition(b";")[0]).strip().lower()
        pairs = [*parameters_of(disposition), *self.parameters]
        self.named = [pair for pair in pairs if pair[0].startswith((b"name", b"filename"))]

    def parameter(self, name: bytes) -> bytes | None:
        """Return the value of a parameter of Content-Type."""
        return next((value for key, value in self.parameters if key == name), None)

    @property
    def encoding(self) -> str:
        """The value of Content-Transfer-Encoding."""
        return decode_raw(self.fields.get(b"content-transfer-encoding", b""))

    @property
    def is_text(self) -> bool:
        """Whether this may be the message's own text."""
        return self.type.startswith("text/") and self.disposition != "attachment"

    def attachment(self) -> Attachment | None:
        """Return the part as an attachment; None for text, multiparts, signatures and reports."""
        maintype, _, subtype = self.type.partition("/")
        if maintype == "multipart":
            return None
        return build_attachment(
            self.number,
            maintype,
            subtype,
            self.disposition,
            self.named,
            clean_text(decode_raw(self.fields.get(b"content-id", b""))),
            self.size,
            is_related=self.parent == "multipart/related",
        )


def parameters_of(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the parameters of a field's value, their names in lower case."""
    for name, raw in _PARAMETER.findall(value):
        yield name.lower(), value_of(raw)


def value_of(raw: bytes) -> bytes:
    """Return a parameter's value without quotes and escapes, unfolded."""
    raw = raw.replace(b"\r", b"").replace(b"\n", b"").strip()
    if raw.startswith(b'"'):
        raw = _ESCAPED.sub(rb"\1", raw[1:-1] if raw.endswith(b'"') and len(raw) > 1 else raw[1:])
    return raw
