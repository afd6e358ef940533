"""A server that contradicts itself: which of its answers counts, case by case."""

from __future__ import annotations

import pytest

from mailsync.core import contradictions
from mailsync.uidset import UidSet


@pytest.mark.parametrize(
    ("unanswered", "others", "exists", "phantoms"),
    [
        ("11", 10, 10, "11"),
        ("11", 12, 10, "11"),
        ("11", 10, 11, ""),
        ("11,15", 10, 11, ""),
        ("11,15", 10, 10, "11,15"),
        ("11", 10, None, ""),
        ("7", 0, 0, "7"),
        ("", 10, 10, ""),
    ],
    ids=[
        "no room",
        "less than no room",
        "room for it",
        "room for one of two",
        "no room for two",
        "EXISTS unknown",
        "an empty folder",
        "all answered",
    ],
)
def test_a_uid_without_an_answer_is_no_message_if_exists_has_no_room(
    unanswered: str, others: int, exists: int | None, phantoms: str
) -> None:
    assert contradictions.phantoms(UidSet.parse(unanswered), others, exists) == UidSet.parse(phantoms)
