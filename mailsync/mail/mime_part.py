"""One part of a MIME message and its header (RFC 2045, 2046, 2183)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailsync.mail.attachments import Kind, build_attachment, kind_of, type_or_default
from mailsync.mail.charsets import decode_raw
from mailsync.mail.content_fields import disposition_of, encoding_of, read_field, readable_type
from mailsync.mail.file_names import name_parameters
from mailsync.mail.odd_fields import Pairs
from mailsync.mail.parameters import parameter
from mailsync.mail.text import clean_text
from mailsync.model import Attachment

Alternatives = tuple[tuple[object, int], ...]
"""For each multipart/alternative around a part, the multipart and which of its parts this is or begins."""

_AROUND_BOUNDARY = "'\"\\ \u201c\u201d\u201e\u2018\u2019".encode()
"""Bytes of quotes, and of what escapes them."""
_AROUND_CHARSET = "\"'=;,. \t"


@dataclass(slots=True)
class Part:
    """One part with the values of its header; ``data`` is its content, still encoded, if it may be shown.

    Of a file, ``data`` is a sample: the beginning of its content, until that was compared with its encoding.

    `number` is IMAP's number of the part, `default` its type if the header names none, `parent` the type of
    the multipart around it. `is_alternative` means that it is an alternative, or the first part of a
    multipart that is one. `alternatives` names the multiparts of which this is an alternative, each with the
    alternative's place: of those, the last one that has a text is shown.
    """

    number: str
    default: str
    parent: str = ""
    is_alternative: bool = False
    alternatives: Alternatives = ()
    fields: dict[bytes, bytes] = field(default_factory=dict)
    type: str = ""
    parameters: Pairs = field(default_factory=list)
    disposition: str = ""
    named: Pairs = field(default_factory=list)
    encoding: str = ""
    content_id: str = ""
    data: bytearray | None = None
    is_sample: bool = False
    size: int = 0

    def read_header(self) -> None:
        """Parse the raw values in ``fields``, and free them."""
        disposition: Pairs = []
        if (value := self.fields.get(b"content-disposition")) is not None:
            word, disposition = read_field(value)
            self.disposition = disposition_of(word)
        if (value := self.fields.get(b"content-type")) is None:
            self.type = self.default
        else:
            word, self.parameters = read_field(value)
            self.type = readable_type(word)
            if not self.type and self.boundary:
                self.type = "multipart/mixed"
        if disposition or self.parameters:
            self.named = name_parameters([*disposition, *self.parameters])
        self.type = type_or_default(self.type, self.disposition, bool(self.named))
        self.encoding = encoding_of(self.fields.get(b"content-transfer-encoding", b""))
        if (value := self.fields.get(b"content-id")) is not None:
            self.content_id = clean_text(decode_raw(value))
        self.fields = {}

    @property
    def charset(self) -> str:
        """The charset that Content-Type names; "" if it names none."""
        return (parameter(self.parameters, "charset") or "").strip(_AROUND_CHARSET)

    @property
    def boundary(self) -> bytes:
        """The boundary that Content-Type names; nothing if it names none."""
        boundary = next((value for name, value in self.parameters if name == "boundary"), "")
        if not boundary:
            boundary = parameter(self.parameters, "boundary") or ""
        return boundary.encode("utf-8", "surrogateescape").rstrip()

    @property
    def kind(self) -> Kind:
        """Whether this part, which is not a multipart, may be text or a file of the message."""
        return kind_of(self.type, self.disposition, bool(self.named), self.is_alternative)

    def attachment(self) -> Attachment:
        """Return the part, which is a file, as an attachment."""
        return build_attachment(
            self.number,
            self.type,
            self.disposition,
            self.named,
            self.content_id,
            self.size,
            is_related=self.parent == "multipart/related",
        )


def spellings_of(boundary: bytes) -> tuple[bytes, ...]:
    """Return a boundary as it is, and without what some programs mean as quotes."""
    bare = boundary.strip(_AROUND_BOUNDARY)
    return (boundary, bare) if bare and bare != boundary else (boundary,)
