"""The decisions about parked sessions, as tables: who wakes, who is proven, and what an end means."""

from __future__ import annotations

import pytest

from mailsync.engine.push import (
    EARLY_END,
    GATHERING,
    MOST_EARLY_ENDS,
    OFF_AFTER_EARLY_ENDS,
    REOPENED_WITHIN,
    SHORTEST_BETWEEN_WAKES,
    History,
    ParkedSession,
    ending,
    renewals,
    wakes,
)

NEVER = float("-inf")
NOTHING = float("inf")


def session(
    account_id: int = 1,
    *,
    opened: float = 0.0,
    heard: float = 0.0,
    hinted: float | None = None,
    woken: float = NEVER,
) -> ParkedSession:
    return ParkedSession(account_id, "notify", opened, heard, hinted_at=hinted, woken_at=woken)


@pytest.mark.parametrize(
    ("hinted", "woken", "expected"),
    [
        pytest.param(None, NEVER, NOTHING, id="no hint, no wake"),
        pytest.param(100.0, NEVER, 100.0 + GATHERING, id="0.3 s after the first byte"),
        pytest.param(100.0, 50.0, 100.0 + GATHERING, id="the last wake was long ago"),
        pytest.param(100.0, 99.9, 99.9 + SHORTEST_BETWEEN_WAKES, id="at most one wake in 2 s"),
        pytest.param(
            100.0, 100.3, 100.3 + SHORTEST_BETWEEN_WAKES, id="a hint of before the wake is kept for the next"
        ),
    ],
)
def test_a_hint_is_followed_soon_but_not_often(hinted: float | None, woken: float, expected: float) -> None:
    assert session(hinted=hinted, woken=woken).wakes_at == pytest.approx(expected)


@pytest.mark.parametrize(
    ("hinted", "now", "accounts", "seconds"),
    [
        pytest.param([], 100.0, [], NOTHING, id="nobody has hints"),
        pytest.param([session(1, hinted=99.9)], 100.0, [], 0.2, id="hints are gathered"),
        pytest.param([session(1, hinted=99.0)], 100.0, [1], NOTHING, id="one is due"),
        pytest.param(
            [session(1, hinted=99.3), session(2, hinted=99.1), session(3, hinted=99.2)],
            100.0,
            [2, 3, 1],
            NOTHING,
            id="in the order of their first bytes",
        ),
        pytest.param(
            [
                session(1, hinted=98.0, woken=97.9),
                session(2, hinted=99.9),
                session(3, hinted=99.0, woken=98.5),
            ],
            100.0,
            [1],
            0.2,
            id="the next one is the earliest of the others",
        ),
    ],
)
def test_accounts_wake_in_order(
    hinted: list[ParkedSession], now: float, accounts: list[int], seconds: float
) -> None:
    due = wakes(hinted, now)
    assert due.accounts == accounts
    assert due.seconds_until_next == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("heard", "renew_after", "accounts"),
    [
        pytest.param({}, 540.0, [], id="nobody is parked"),
        pytest.param({1: 999.0}, 540.0, [], id="one that spoke a second ago lives"),
        pytest.param({1: 476.0}, 540.0, [], id="quiet, but not for long"),
        pytest.param({1: 475.0}, 540.0, [1], id="15 s before PUSH_RENEW: dead ones are replaced by then"),
        pytest.param(
            {1: 400.0, 2: 100.0, 3: 990.0, 4: 300.0}, 540.0, [2, 4, 1], id="the longest silence first"
        ),
        pytest.param({1: 994.9, 2: 995.1}, 10.0, [1], id="half of a short PUSH_RENEW"),
    ],
)
def test_quiet_sessions_are_proven(heard: dict[int, float], renew_after: float, accounts: list[int]) -> None:
    parked = [session(account, heard=at) for account, at in heard.items()]
    assert renewals(parked, 1000.0, renew_after) == accounts


def test_a_session_that_lived_for_a_minute_is_opened_again_within_ten_seconds() -> None:
    for chance in (0.0, 0.5, 1.0):
        end = ending(History(early_ends=2), session(opened=0.0), EARLY_END, chance)
        assert end.reopens_in == pytest.approx(REOPENED_WITHIN * chance)
        assert not end.turns_off
        assert end.history.early_ends == 0


def test_three_early_ends_in_a_row_turn_push_off_for_an_hour() -> None:
    history, turned_off = History(woken_at=7.0), []
    for now in (10.0, 70.0, 130.0):
        end = ending(history, session(opened=now - 5), now, 0.5)
        assert end.reopens_in is None, "an early end waits for the next tick"
        turned_off.append(end.turns_off)
        history = end.history
    assert turned_off == [False, False, True]
    assert history == History(early_ends=0, off_until=130.0 + OFF_AFTER_EARLY_ENDS, woken_at=7.0)


def test_only_ends_in_a_row_count() -> None:
    history = History()
    for lived in (5.0, 5.0, 3600.0, 5.0, 5.0):
        end = ending(history, session(opened=10_000.0 - lived), 10_000.0, 0.5)
        assert not end.turns_off
        history = end.history
    assert history.early_ends == MOST_EARLY_ENDS - 1
