from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsync.engine.fetch.division import divide, small_part
from mailsync.uidset import UidSet

CASES = {
    "the first behind the answers is suspected": ("4:9", "1:3", 9, True, False, "4", ["5:9"], []),
    "a hole among answers that come later": ("4,8:9", "1:3,5:7", 9, True, False, "8", ["4,9"], []),
    "nothing behind the answers": ("1:3", "4:9", 9, True, False, "1", ["2:3"], []),
    "the last one": ("9", "1:8", 9, True, False, "9", [], []),
    "answers before a refusal": ("4:9", "1:3", 9, False, False, "4", ["5:9"], []),
    "a refusal without an answer": ("1:9", "", 9, False, False, "", [], ["1:4", "5:9"]),
    "a refusal of one message": ("5", "", 9, False, False, "5", [], []),
    "a break without an answer": ("1:20", "", 20, True, False, "", ["1", "2:5", "6:9", "10:13", "14:17",
                                                                     "18:20"], []),
    "a break at one message": ("5", "", 20, True, True, "5", [], []),
    "a break in a part": ("6:9", "", 20, True, True, "", [], ["6", "7", "8", "9"]),
    "a second break behind answers": ("4:20", "1:3", 20, True, True, "4", ["5:8", "9:12", "13:16", "17:20"],
                                      []),
    "a break behind answers in a part": ("8:9", "6:7", 20, True, True, "8", [], ["9"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_how_to_continue_after_a_request_that_failed(
    case: tuple[str, str, int, bool, bool, str, list[str], list[str]],
) -> None:
    lacking, answered, size, is_broken, is_repeated, suspect, following, last = case
    division = divide(
        UidSet.parse(lacking) if lacking else UidSet(),
        UidSet.parse(answered) if answered else UidSet(),
        batch_size=size,
        is_broken=is_broken,
        is_repeated=is_repeated,
    )
    assert str(division.suspect) == suspect
    assert [str(part) for part in division.next] == following
    assert [str(part) for part in division.last] == last


@given(
    lacking=st.sets(st.integers(1, 600), min_size=1),
    answered=st.sets(st.integers(1, 600)),
    broken=st.booleans(),
    repeated=st.booleans(),
)
def test_every_message_is_in_one_place_and_no_request_is_repeated(
    lacking: set[int], answered: set[int], broken: bool, repeated: bool
) -> None:
    given_up, known = UidSet.of(lacking), UidSet.of(answered - lacking)
    size = len(lacking | answered)
    division = divide(given_up, known, batch_size=size, is_broken=broken, is_repeated=broken and repeated)
    parts = [division.suspect, *division.next, *division.last]
    assert sorted(uid for part in parts for uid in part) == sorted(lacking)
    assert given_up not in (*division.next, *division.last)
    assert all(division.next) and all(division.last)
    if broken and (repeated or not known) and len(lacking) > small_part(size):
        assert max(map(len, division.next), default=0) <= small_part(size)
