"""Which parts of a message are its text and its HTML."""

from __future__ import annotations

from collections.abc import Sequence

from mailsync.mail.mime_part import Part
from mailsync.mail.part_text import decode_part


def join_texts(parts: Sequence[Part], warnings: set[str]) -> tuple[str | None, str | None]:
    """Return text and HTML; without text of the message's own, that of attachments and other types."""
    own = [part for part in parts if not part.named]
    plain = [part for part in own if part.type == "text/plain"]
    html = [part for part in own if part.type == "text/html"]
    if not plain and not html:
        html = [part for part in parts if part.type == "text/html"]
        plain = [] if html else [part for part in parts if part.type == "text/plain"] or own
    return _joined(plain, warnings), _joined(html, warnings)


def _joined(parts: Sequence[Part], warnings: set[str]) -> str | None:
    if not parts:
        return None
    texts: dict[int, str] = {}
    for part in parts:
        text = decode_part(part, warnings)
        # an empty alternative does not replace an earlier one
        if text.strip() or id(part.slot) not in texts:
            texts[id(part.slot)] = text
    return "\n".join(text for text in texts.values() if text.strip())
