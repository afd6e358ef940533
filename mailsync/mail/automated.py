"""The fields by which programs mark the messages that they send; pure."""

from __future__ import annotations

_MARKS = frozenset(
    {
        "list-id",
        "list-unsubscribe",
        "auto-submitted",
        "precedence",
        "x-auto-response-suppress",
        "return-path",
    }
)
_BULK = frozenset({"bulk", "list", "junk", "auto_reply"})


def is_automated(fields: dict[str, str]) -> bool:
    """Whether the header shows that a program sent this message, rather than a person.

    `fields` are unfolded values by lower-case name.

    It does if the message came over a list or with a way to unsubscribe (List-Id, List-Unsubscribe), is
    marked as automatic (RFC 3834's Auto-Submitted other than "no"; Precedence bulk, list, junk or auto_reply;
    X-Auto-Response-Suppress other than "None"), or must not be answered (Return-Path ``<>``, as of bounces).
    """
    if _MARKS.isdisjoint(fields):
        return False
    if "list-id" in fields or "list-unsubscribe" in fields:
        return True
    if _token(fields, "auto-submitted") not in ("", "no"):
        return True
    if _token(fields, "precedence") in _BULK:
        return True
    if _token(fields, "x-auto-response-suppress") not in ("", "none"):
        return True
    return "".join(fields.get("return-path", "")[:100].split()) == "<>"


def _token(fields: dict[str, str], name: str) -> str:
    value = fields.get(name)
    return value[:100].partition(";")[0].partition("(")[0].strip().lower() if value else ""
