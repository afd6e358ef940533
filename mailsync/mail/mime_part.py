"""One part of a MIME message: what its header says (RFC 2045, 2046, 2183)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailsync.mail.text import MAX_INDEXED_BYTES, clean_text, cut, decode_filename, decode_raw
from mailsync.model import Attachment

_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"?|[^;\s]*)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
# as for BODYSTRUCTURE: what a person would not call an attachment
_SIGNATURES = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_REPORTS = frozenset(
    {
        "message/delivery-status",
        "message/disposition-notification",
        "message/feedback-report",
        "message/global-delivery-status",
    }
)


@dataclass(slots=True)
class Part:
    """One part: what its header says, and if it is text, its content, still encoded.

    `number` is IMAP's, `default` the type of a part that names none, `parent` the type of the multipart that
    it stands in. Of several texts of one type with the same `slot` only one counts.
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
        """Understand what the fields say, which were collected as they stand."""
        value = self.fields.get(b"content-type", b"")
        said = decode_raw(value.partition(b";")[0]).strip().lower()
        self.type = said if _TYPE.fullmatch(said) else ("text/plain" if said else self.default)
        self.parameters = list(parameters_of(value))
        disposition = self.fields.get(b"content-disposition", b"")
        self.disposition = decode_raw(disposition.partition(b";")[0]).strip().lower()
        pairs = [*parameters_of(disposition), *self.parameters]
        self.named = [pair for pair in pairs if pair[0].startswith((b"name", b"filename"))]

    def parameter(self, name: bytes) -> bytes | None:
        """The value of a parameter of Content-Type."""
        return next((value for key, value in self.parameters if key == name), None)

    @property
    def encoding(self) -> str:
        """What Content-Transfer-Encoding says."""
        return decode_raw(self.fields.get(b"content-transfer-encoding", b""))

    @property
    def is_text(self) -> bool:
        """Whether it may be the message's own text."""
        return self.type.startswith("text/") and self.disposition != "attachment"

    def attachment(self) -> Attachment | None:
        """The part as an attachment; None for text, multiparts, signatures and reports."""
        if (self.is_text and not self.named) or self.type.startswith("multipart/"):
            return None
        if self.type in _SIGNATURES or (self.type in _REPORTS and not self.named):
            return None
        content_id = clean_text(decode_raw(self.fields.get(b"content-id", b""))).strip().strip("<>").strip()
        inline = self.disposition == "inline" or (
            self.disposition != "attachment" and bool(content_id) and self.parent == "multipart/related"
        )
        return Attachment(
            part=self.number,
            filename=decode_filename(self.named),
            content_type=cut(self.type, 255),
            size_bytes=self.size,
            content_id=cut(content_id, MAX_INDEXED_BYTES) or None,
            is_inline=inline,
        )


def parameters_of(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The parameters of a field's value, their names in lower case."""
    for name, said in _PARAMETER.findall(value):
        yield name.lower(), value_of(said)


def value_of(said: bytes) -> bytes:
    """A parameter's value without quotes and escapes, unfolded."""
    said = said.replace(b"\r", b"").replace(b"\n", b"").strip()
    if said.startswith(b'"'):
        said = _ESCAPED.sub(rb"\1", said[1:-1] if said.endswith(b'"') and len(said) > 1 else said[1:])
    return said
