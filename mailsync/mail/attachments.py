"""The roles of the parts of a message, text or file, from BODYSTRUCTURE and MIME alike; pure.

:func:`kind_of` looks at one part, and :func:`decide_roles` at all parts of a message. Types are in lower
case, and "plain text" includes HTML. A part with ``Content-Disposition: attachment`` is called attached.

=============  ==================================================  ============================  ============
kind           parts                                               shown                         a file
=============  ==================================================  ============================  ============
``own``        plain text without a name, or inside an             always                        never
               alternative; not attached
``named``      other plain text with a name; not attached          if no text is ``own``         unless it is
                                                                                                 the only text
``attached``   attached plain text                                 if it is the only text        always
``other``      other text (calendars, tables, cards) without a     if none of the above is       always
               name; not attached                                  shown
``spare``      AMP, watch, and enriched text inside an             if none of the above is       never
               alternative, the header of a returned message;      shown
               not attached
``file``       everything else                                     never                         always
``neither``    signatures; reports without a name; multiparts      never                         never
               that are left out
=============  ==================================================  ============================  ============
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

from mailsync.mail.file_names import decode_filename
from mailsync.mail.odd_fields import Pairs
from mailsync.mail.text import MAX_INDEXED_BYTES, cut
from mailsync.model import Attachment

Kind = Literal["own", "named", "attached", "other", "spare", "file", "neither"]

_PLAIN = frozenset({"text/plain", "text/html"})
_OTHER_FORMS = frozenset({"text/x-amp-html", "text/watch-html", "text/enriched", "text/richtext"})
"""Types in which some programs repeat a text for other readers."""
_SIGNATURES = frozenset({"pgp-signature", "pkcs7-signature", "x-pkcs7-signature"})
_REPORTS = frozenset(
    {"delivery-status", "disposition-notification", "feedback-report", "global-delivery-status"}
)


class Role(NamedTuple):
    """The role of a part: the message's text, a file, both, or neither."""

    is_shown: bool
    is_file: bool


def type_or_default(content_type: str, disposition: str, is_named: bool) -> str:
    """Return a part's type; an unreadable one, "", is plain text, or a file if it is named or attached."""
    if content_type:
        return content_type
    return "application/octet-stream" if is_named or disposition == "attachment" else "text/plain"


@lru_cache(maxsize=1024)
def kind_of(content_type: str, disposition: str, is_named: bool, is_alternative: bool) -> Kind:
    """Return the kind of a part.

    `is_alternative` means that the part is an alternative, or the first part of a multipart that is one.
    """
    maintype, _, subtype = content_type.partition("/")
    is_attached = disposition == "attachment"
    if content_type in _PLAIN:
        if is_attached:
            return "attached"
        return "named" if is_named and not is_alternative else "own"
    if maintype == "multipart" or subtype in _SIGNATURES or (subtype in _REPORTS and not is_named):
        return "neither"
    if maintype != "text" or is_attached:
        return "file"
    if content_type in _OTHER_FORMS and is_alternative:
        return "spare"
    if is_named:
        return "file"
    return "spare" if subtype == "rfc822-headers" else "other"


@lru_cache(maxsize=256)
def decide_roles(kinds: tuple[Kind, ...]) -> tuple[Role, ...]:
    """Return the role of each part of a message."""
    texts = [kind for kind in kinds if kind in ("own", "named", "attached")]
    shown: Kind | None = None
    if "own" in texts:
        shown = "own"
    elif len(texts) == 1:
        shown = texts[0]
    else:
        shown = next((kind for kind in ("named", "other", "spare") if kind in kinds), None)
    files = {"named", "attached", "other", "file"} - ({"named"} if len(texts) == 1 else set())
    return tuple(Role(kind == shown, kind in files) for kind in kinds)


def build_attachment(
    part: str,
    content_type: str,
    disposition: str,
    names: Pairs,
    content_id: str,
    size_bytes: int | None,
    *,
    is_related: bool,
) -> Attachment:
    """Return a part that is a file as an attachment.

    The type and `disposition` are lower-case. `names` are the parameters for
    :func:`mailsync.mail.file_names.decode_filename`; `is_related` means that the part is inside a
    multipart/related, whose HTML may show it.
    """
    content_id = cut(content_id.strip().strip("<>").strip(), MAX_INDEXED_BYTES)
    return Attachment(
        part=part,
        filename=decode_filename(names) if names else None,
        content_type=content_type,
        size_bytes=size_bytes,
        content_id=content_id or None,
        is_inline=disposition == "inline"
        or (disposition != "attachment" and is_related and bool(content_id)),
    )
