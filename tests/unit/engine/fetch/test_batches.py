from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailsync.engine.fetch.batches import BatchPlan
from mailsync.store.attempts import OpenAttempt
from mailsync.uidset import UidSet

ATTEMPTS = st.builds(
    lambda first, length, times: OpenAttempt(first, first + length, times),
    st.integers(1, 40),
    st.integers(0, 20),
    st.integers(1, 4),
)


def requests(plan: BatchPlan, size: int) -> list[str]:
    """All requests that are left, as sequence sets; those to isolate with an exclamation mark."""
    sets = []
    while request := plan.next(size):
        sets.append(f"{request.uids}{'!' if request.isolate else ''}")
    return sets


def test_uids_are_requested_from_one_end() -> None:
    uids = UidSet.parse("1:5,7:10")
    assert requests(BatchPlan(uids, [], newest_first=False), 4) == ["1:4", "5,7:9", "10"]
    assert requests(BatchPlan(uids, [], newest_first=True), 4) == ["7:10", "2:5", "1"]


def test_the_size_of_a_batch_may_change_on_the_way() -> None:
    plan = BatchPlan(UidSet.parse("1:10"), [], newest_first=True)
    assert not plan.has_begun
    assert [str(request.uids) for size in (4, 3) if (request := plan.next(size))] == ["7:10", "4:6"]
    assert plan.has_begun
    assert requests(plan, 9) == ["1:3"]


def test_each_failed_attempt_halves_the_batches_that_it_touches() -> None:
    attempts = [OpenAttempt(1, 8, 2)]
    plan = BatchPlan(UidSet.parse("1:20"), attempts, newest_first=False)
    assert requests(plan, 8) == ["1:2", "3:4", "5:6", "7:8", "9:16", "17:20"]


def test_a_batch_that_failed_is_asked_for_apart_from_its_neighbours() -> None:
    attempts = [OpenAttempt(9, 12, 1)]
    uids = UidSet.parse("1:30")
    assert requests(BatchPlan(uids, attempts, newest_first=False), 20) == ["1:8", "9:10", "11:12", "13:30"]
    assert requests(BatchPlan(uids, attempts, newest_first=True), 20) == ["13:30", "11:12", "9:10", "1:8"]


def test_a_message_that_failed_alone_is_isolated_between_its_neighbours() -> None:
    plan = BatchPlan(UidSet.parse("1:10"), [OpenAttempt(5, 5, 1)], newest_first=True)
    assert requests(plan, 20) == ["6:10", "5!", "1:4"]


def test_once_the_cause_is_known_its_attempts_reduce_nothing() -> None:
    attempts = [OpenAttempt(1, 16, 3), OpenAttempt(5, 5, 1)]
    plan = BatchPlan(UidSet.parse("1:16"), attempts, newest_first=False)
    assert [str(r.uids) for _ in range(3) if (r := plan.next(8))] == ["1", "2", "3"]
    plan.forget_attempts(UidSet.parse("5"))
    assert requests(plan, 8) == ["4", "5!", "6:13", "14:16"]


def test_what_was_refused_ends_a_batch_before_it() -> None:
    oldest_first = BatchPlan(UidSet.parse("1:9"), [], newest_first=False)
    assert str(oldest_first.before(UidSet.parse("4,7"), UidSet.parse("1:9"))) == "1:3"
    newest_first = BatchPlan(UidSet.parse("1:9"), [], newest_first=True)
    assert str(newest_first.before(UidSet.parse("4,7"), UidSet.parse("1:9"))) == "8:9"
    assert str(newest_first.before(UidSet.parse("20"), UidSet.parse("1:9"))) == "1:9"


@given(
    uids=st.sets(st.integers(1, 60)),
    attempts=st.lists(ATTEMPTS, max_size=5),
    newest_first=st.booleans(),
    size=st.integers(1, 30),
)
def test_every_uid_is_requested_once_and_in_order(
    uids: set[int], attempts: list[OpenAttempt], newest_first: bool, size: int
) -> None:
    plan = BatchPlan(UidSet.of(uids), attempts, newest_first=newest_first)
    order: list[int] = []
    alone = {a.first for a in attempts if a.first == a.last} & uids
    while request := plan.next(size):
        assert 1 <= len(request.uids) <= size
        assert request.isolate == bool(alone & set(request.uids))
        assert len(request.uids) == 1 or not request.isolate
        order += sorted(request.uids, reverse=newest_first)
        plan.done(request.uids)
    assert order == sorted(uids, reverse=newest_first)
    assert not plan.remaining
