"""Searches by ranges: all that a server shows is found, however it cuts its answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsync.imap.message_limit import (
    Cut,
    RangeSearch,
    SearchAnswer,
    announced_limit,
    parse_cut,
    sequence_sets,
)
from mailsync.imap.status_responses import parse_status_response
from mailsync.uidset import UidSet

EVERYTHING = UidSet([(1, 2000)])


@pytest.mark.parametrize(
    ("line", "cut"),
    [
        (b"OK [MESSAGELIMIT 1000 23221] done", Cut(1000, 23221)),
        (b"OK [messagelimit 1000] done", Cut(1000, None)),
        (b"NO [MESSAGELIMIT 1000] too many", Cut(1000, None)),
        (b"OK [MESSAGELIMIT] done", Cut(None, None)),
        (b"OK [MESSAGELIMIT 0 0] done", Cut(None, None)),
        (b"OK [MESSAGELIMIT -1 x] done", Cut(None, None)),
        (b"OK [MESSAGELIMIT 1000 5 more words] done", Cut(1000, 5)),
        (b"OK [MESSAGELIMIT " + b"9" * 40 + b" 5] done", Cut(None, 5)),
        (b"OK [LIMIT] done", Cut(None, None)),
        (b"NO [LIMIT] done", None),
        (b"BAD [MESSAGELIMIT 1000] what", None),
        (b"OK MESSAGELIMIT 1000", None),
        (b"OK done", None),
    ],
)
def test_a_response_code_says_where_the_server_stopped(line: bytes, cut: Cut | None) -> None:
    assert parse_cut(parse_status_response(line)) == cut


@pytest.mark.parametrize(
    ("capabilities", "limit"),
    [
        ({"IMAP4REV1", "MESSAGELIMIT=1000"}, 1000),
        ({"MESSAGELIMIT="}, None),
        ({"MESSAGELIMIT=0"}, None),
        ({"MESSAGELIMIT=\u0661"}, None),
        ({"MESSAGELIMIT"}, None),
        ({"SAVELIMIT=5"}, None),
    ],
)
def test_the_limit_is_announced_as_a_capability(capabilities: set[str], limit: int | None) -> None:
    assert announced_limit(frozenset(capabilities)) == limit


def test_a_command_names_at_most_as_many_messages_as_the_server_processes() -> None:
    uids = UidSet.parse("1:5,9,20:23")
    assert list(sequence_sets(uids, 4)) == ["20:23", "3:5,9", "1:2"]
    assert list(sequence_sets(uids, None)) == ["1:5,9,20:23"]
    assert list(sequence_sets(UidSet(), 4)) == []


@st.composite
def servers(draw: st.DrawFn) -> tuple[list[int], int, str, list[int]]:
    """The UIDs in a folder, the limit of an answer, how it is cut, and choices for that."""
    uids = sorted(draw(st.sets(st.integers(1, 2000), max_size=40)))
    how = draw(st.sampled_from(["newest", "oldest", "any", "said", "said wrongly", "refused"]))
    return uids, draw(st.integers(1, 12)), how, draw(st.lists(st.integers(0, 2**33), min_size=1, max_size=9))


@given(servers(), st.booleans())
def test_everything_is_found_whatever_an_answer_leaves_out(
    server: tuple[list[int], int, str, list[int]], is_announced: bool
) -> None:
    uids, most, how, choices = server
    asked: list[UidSet] = []

    def ask(among: UidSet) -> SearchAnswer:
        asked.append(among)
        choice = choices[len(asked) % len(choices)]
        found = [uid for uid in uids if uid in among]
        if len(found) <= most:
            return SearchAnswer(UidSet.of(found))
        if how == "refused":
            return SearchAnswer(UidSet(), Cut(most))
        first = {"oldest": 0, "any": choice % (len(found) - most + 1)}.get(how, len(found) - most)
        shown = UidSet.of(found[first : first + most])
        if how.startswith("said"):
            return SearchAnswer(shown, Cut(most, shown.lowest if how == "said" else choice or None))
        return SearchAnswer(shown)

    limit = most if is_announced else None
    search = RangeSearch(EVERYTHING, ask(EVERYTHING), limit)
    # each command needs a turn of its own
    waits = 0
    allowed = [False]

    def may_ask() -> bool:
        allowed[0] = not allowed[0]
        return allowed[0]

    while not search.run(ask, exists=len(uids), limit=limit, may_ask=may_ask):
        waits += 1
    assert list(search.found) == uids
    parts = len(uids) // most + 1
    assert len(asked) <= (64 + 34 * parts if how == "refused" else 2 * parts + 64)
    if how in ("newest", "said"):
        assert len(asked) <= parts + 2
