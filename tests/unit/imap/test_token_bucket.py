"""The command budget: never more than the limit in any 60 seconds."""

from __future__ import annotations

import random
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsync.errors import OutOfTokens
from mailsync.imap import TokenBucket, burst


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=40, deadline=None)
@given(limit=st.integers(10, 400), seed=st.integers(0, 10**6))
def test_no_60_seconds_have_more_commands_than_the_limit(limit: int, seed: int) -> None:
    rng = random.Random(seed)
    clock = Clock()
    bucket = TokenBucket(burst(limit), limit, 0, clock)
    times: list[float] = []
    while clock.now < 1200:
        try:
            bucket.acquire()
            times.append(clock.now)
        except OutOfTokens:
            clock.now += rng.choice([0.01, 0.3, 5, 40])
    for i, time in enumerate(times):
        assert i - bisect_left(times, time - 60) + 1 <= limit


def test_a_busy_account_gets_most_of_its_limit() -> None:
    clock = Clock()
    bucket = TokenBucket(burst(200), 200, 0, clock)
    taken = 0
    while clock.now < 1600:
        try:
            bucket.acquire()
            taken += 1
        except OutOfTokens:
            clock.now += 0.1
    assert taken / 10 > 145


def test_the_floor_is_reserved_for_others() -> None:
    clock = Clock()
    bucket = TokenBucket(50, 200, 25, clock)
    for _ in range(25):
        bucket.acquire()
    with pytest.raises(OutOfTokens):
        bucket.acquire()
    assert bucket.tokens == 25
    clock.now += 61
    assert bucket.tokens == burst(200) == 50


def test_tokens_above_the_capacity_do_not_count() -> None:
    assert TokenBucket(1000, 200, 0, Clock()).tokens == 50


@pytest.mark.parametrize(("limit", "capacity"), [(10, 8), (5, 5), (32, 8), (200, 50)])
def test_a_login_fits_into_the_smallest_burst(limit: int, capacity: float) -> None:
    assert burst(limit) == capacity


def test_a_clock_that_stands_still_or_goes_back_refills_nothing() -> None:
    clock = Clock()
    bucket = TokenBucket(10, 200, 0, clock)
    clock.now -= 500
    assert bucket.tokens == 10
