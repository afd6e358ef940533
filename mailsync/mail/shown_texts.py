"""The text, the HTML and the files among the parts of a message."""

from __future__ import annotations

from collections.abc import Sequence

from mailsync.mail.attachments import decide_roles
from mailsync.mail.mime_part import Part
from mailsync.mail.part_text import decode_part


def divide(leaves: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """Return the parts to show and those that are files; `leaves` are those of a message, in order."""
    # a list becomes a tuple faster than a generator
    roles = decide_roles(tuple([part.kind for part in leaves]))
    shown: list[Part] = []
    files: list[Part] = []
    for i, (is_shown, is_file) in enumerate(roles):
        if is_shown:
            shown.append(leaves[i])
        if is_file:
            files.append(leaves[i])
    return shown, files


def join_texts(shown: Sequence[Part], warnings: set[str]) -> tuple[str | None, str | None]:
    """Return text and HTML of the parts to show; None where there is no such part."""
    html = [part for part in shown if part.type == "text/html"]
    plain = [part for part in shown if part.type != "text/html"]
    return _joined(plain, warnings), _joined(html, warnings)


def _joined(parts: Sequence[Part], warnings: set[str]) -> str | None:
    if not parts:
        return None
    texts = [decode_part(part, warnings) for part in parts]
    if len(texts) == 1:
        return texts[0] if texts[0].strip() else ""
    # an empty alternative does not replace an earlier one
    filled = [(part.alternatives, text) for part, text in zip(parts, texts, strict=True) if text.strip()]
    last = {multipart: place for alternatives, _ in filled for multipart, place in alternatives}
    return "\n".join(
        text
        for alternatives, text in filled
        if all(last[multipart] == place for multipart, place in alternatives)
    )
