"""The order of first syncs."""

from __future__ import annotations

from mailsync.worker.fair_share import FairShare


def test_the_account_with_the_least_time_comes_first() -> None:
    share = FairShare()
    assert share.order([3, 1, 2]) == [1, 2, 3]
    share.add(1, 5.0)
    share.add(2, 1.0)
    assert share.order([1, 2, 3]) == [3, 2, 1]


def test_a_new_account_starts_level_with_the_least() -> None:
    share = FairShare()
    share.order([1, 2])
    share.add(1, 5.0)
    share.add(2, 9.0)
    assert share.order([1, 2, 3]) == [1, 3, 2]
    share.add(3, 2.0)
    assert share.order([1, 2, 3]) == [1, 3, 2]


def test_a_failing_account_goes_behind_all_others_and_a_finished_one_is_forgotten() -> None:
    share = FairShare()
    share.order([1, 2])
    share.add(2, 60.0)
    share.put_last(1)
    assert share.order([1, 2]) == [2, 1]
    share.order([2])
    assert share.order([1, 2]) == [1, 2]
