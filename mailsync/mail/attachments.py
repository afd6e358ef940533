"""Which parts of a message people call attachments, from BODYSTRUCTURE and from MIME alike; pure."""

from __future__ import annotations

from collections.abc import Sequence

from mailsync.mail.text import MAX_INDEXED_BYTES, cut, decode_filename
from mailsync.model import Attachment

_SIGNATURES = frozenset({"pgp-signature", "pkcs7-signature", "x-pkcs7-signature"})
_REPORTS = frozenset(
    {"delivery-status", "disposition-notification", "feedback-report", "global-delivery-status"}
)


def build_attachment(
    part: str,
    maintype: str,
    subtype: str,
    disposition: str,
    names: Sequence[tuple[str | bytes, str | bytes]],
    content_id: str,
    size_bytes: int | None,
    *,
    is_related: bool,
) -> Attachment | None:
    """Return the part, which is no multipart, as an attachment; None for text, signatures and reports.

    Types and `disposition` are lower-case. `names` are the parameters for :func:`decode_filename`;
    `is_related` means that the part is inside of a multipart/related, whose HTML may show it.
    """
    if maintype == "text" and not names and disposition != "attachment":
        return None
    if subtype in _SIGNATURES or (subtype in _REPORTS and not names):
        return None
    content_id = cut(content_id.strip().strip("<>").strip(), MAX_INDEXED_BYTES)
    return Attachment(
        part=part,
        filename=decode_filename(names) if names else None,
        content_type=cut(f"{maintype}/{subtype}", 255),
        size_bytes=size_bytes,
        content_id=content_id or None,
        is_inline=disposition == "inline"
        or (disposition != "attachment" and is_related and bool(content_id)),
    )
