"""Three real rejections of a password break an account; no other failure of LOGIN does (SPEC §13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from mailsync.engine.turn import Turn
from mailsync.store import accounts
from tests.support.mirrors import add_account, is_healthy, value
from tests.support.programs import Mailsync, Running
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror, letters

Database = psycopg.Connection[Any]
HELD_BACK = "select extract(epoch from backoff_until - last_sync_finished_at)::float from accounts"
WRONG = b"NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"


def test_the_third_rejection_breaks_the_account_and_no_login_is_sent_until_a_person_acts(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: Callable[..., Running]
) -> None:
    user, other = scripted.new_user(), scripted.new_user()
    account, good = add_account(mailsync, scripted, user), add_account(mailsync, scripted, other)
    rejected = user.name.encode()
    scripted.on(
        "LOGIN", lambda request: request.tagged(WRONG) if rejected in request.text else request.default()
    )

    def state() -> tuple[Any, ...] | None:
        columns = "sync_state, sync_state_reason, consecutive_failures"
        return database.execute(
            f"select {columns} from account_status where account_id = %s", [account]
        ).fetchone()

    def due_now() -> None:
        database.execute("update accounts set backoff_until = null, next_sync_at = now()")
        database.execute("notify mailsync_wake")

    def logins() -> int:
        return len([c for c in scripted.journal.commands("LOGIN") if rejected in c.line])

    worker = start_worker(SYNC_INTERVAL="1s")
    for rejections, wait in ((1, 60), (2, 300)):
        worker.wait_for(lambda: state() == ("degraded", "auth_failed", rejections))  # noqa: B023
        assert abs(value(database, HELD_BACK + " where id = %s", account) - wait) < 10
        due_now()
    worker.wait_for(lambda: state() == ("broken", "auth_failed", 3))

    turns = "select consecutive_successes from accounts where id = %s"
    for _ in range(2):
        before = value(database, turns, good)
        due_now()
        worker.wait_for(lambda: value(database, turns, good) > before)  # noqa: B023
    assert logins() == 3

    scripted.off("LOGIN")
    changed = mailsync("set-password", user.name, "--password-stdin", input=user.password + "\n")
    assert changed.returncode == 0, changed
    worker.wait_for(lambda: is_healthy(database, account))
    told = database.execute(
        "select data->>'old', data->>'old_reason', data->>'new', data->>'new_reason' from sync_events"
        " where account_id = %s and type = 'account.state_changed' order by seq",
        [account],
    ).fetchall()
    assert told[:3] == [
        ("initial_sync", None, "degraded", "auth_failed"),
        ("degraded", "auth_failed", "broken", "auth_failed"),
        ("broken", "auth_failed", "initial_sync", None),
    ]
    assert told[-1][2:] == ("healthy", None)
    assert all(before[2:] == after[:2] for before, after in pairwise(told))


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer) -> Iterator[Mirror]:
    user = scripted.new_user()
    letters(user, 2)
    with Mirror(database_url, scripted, user) as mirror:
        yield mirror


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        pytest.param(Request.close, "unreachable", id="closed without a word"),
        pytest.param(Request.reset, "unreachable", id="reset"),
        pytest.param(lambda request: request.bye(b"Autologout"), "unreachable", id="BYE"),
        pytest.param(lambda request: request.bye(b"[AUTHENTICATIONFAILED] wrong"), "unreachable",
                     id="BYE that speaks of the password"),
        pytest.param(lambda request: request.bye(b"Too many connections"), "throttled", id="BYE, too many"),
        pytest.param(lambda request: request.tagged(b"NO [UNAVAILABLE] Temporary authentication failure"),
                     "unreachable", id="temporary"),
        pytest.param(lambda request: request.tagged(b"NO [ALERT] Too many simultaneous connections."),
                     "throttled", id="too many connections"),
        pytest.param(lambda request: request.tagged(b"BAD User is authenticated but not connected."),
                     "not_connected", id="not connected"),
    ],
)  # fmt: skip
def test_a_login_that_is_cut_off_however_often_rejects_no_password(
    mirror: Mirror, scripted: ScriptedServer, how: Callable[[Request], bytes], reason: str
) -> None:
    scripted.on("LOGIN", how)
    for _ in range(9):
        mirror.hot()
        assert mirror.state == ("degraded", reason)
        assert mirror.value("select backoff_until < now() + interval '31 minutes' from accounts")
    assert mirror.value("select consecutive_failures from accounts") == (0 if reason == "throttled" else 9)
    assert scripted.journal.counts()["LOGIN"] == 9

    scripted.off("LOGIN")
    mirror.complete()
    assert mirror.state == ("healthy", None)


def test_rejections_stay_counted_over_outages_and_throttling_and_a_success_forgets_them(
    mirror: Mirror, scripted: ScriptedServer
) -> None:
    def answers(*each: bytes | Callable[[Request], bytes]) -> None:
        for answer in each:
            scripted.on("LOGIN", answer, times=1)
            mirror.hot()

    slow = b"NO Request is throttled. Suggested Backoff Time: 5000 milliseconds"
    answers(WRONG, Request.close, slow, WRONG)
    assert mirror.state == ("degraded", "auth_failed")
    assert mirror.value("select consecutive_failures from accounts") == 2

    mirror.complete()
    assert mirror.state == ("healthy", None)
    mirror.env.sessions.close()
    answers(WRONG, slow, WRONG, Request.reset)
    assert mirror.state == ("degraded", "auth_failed")
    answers(WRONG)
    assert mirror.state == ("broken", "auth_failed")

    accounts.reset(mirror.conn, mirror.account_id, resync=False)
    answers(WRONG)
    assert mirror.value("select consecutive_failures from accounts") == 1


def test_a_lock_out_that_names_a_time_is_waited_for(mirror: Mirror, scripted: ScriptedServer) -> None:
    scripted.on("LOGIN", b"NO Too many login failures, try again in 15 minutes", times=1)
    mirror.hot()
    assert mirror.state == ("degraded", "throttled")
    assert 880 < mirror.value(HELD_BACK) < 905


def test_a_hint_in_the_middle_of_a_turn_is_honoured_and_is_no_failure(
    mirror: Mirror, scripted: ScriptedServer
) -> None:
    mirror.complete()
    scripted.on("LIST", b"BAD Request is throttled. Suggested Backoff Time: 5000 milliseconds", times=1)
    mirror.hot()
    assert mirror.state == ("degraded", "throttled")
    assert mirror.value("select consecutive_failures from accounts") == 0
    assert 0 < mirror.value(HELD_BACK) < 6
    assert isinstance(mirror.hot(), Turn)
    assert mirror.state == ("healthy", None)


def test_the_backoff_is_reset_by_a_sync_and_not_by_a_connection(
    mirror: Mirror, scripted: ScriptedServer
) -> None:
    mirror.complete()
    scripted.on("LIST", Request.close)
    for seconds in (30, 60, 120, 240):
        mirror.hot()
        assert mirror.value(HELD_BACK) == pytest.approx(seconds, abs=10)
    assert scripted.journal.counts()["LOGIN"] >= 4, "each of them connected and logged in"

    scripted.off("LIST")
    mirror.hot()
    assert mirror.value("select consecutive_failures = 0 and backoff_until is null from accounts")
    scripted.on("LIST", Request.close)
    mirror.hot()
    assert mirror.value(HELD_BACK) == pytest.approx(30, abs=10)


def test_a_damaged_mailbox_costs_itself_and_nothing_that_comes_after_it(
    mirror: Mirror, scripted: ScriptedServer
) -> None:
    (user,) = scripted.accounts.values()
    for path in ("A", "B", "C"):
        letters(user, 1, path)
    mirror.complete()
    for path in ("A", "B", "C"):
        letters(user, 1, path)
    damaged = b"NO [SERVERBUG] Internal error occurred. Refer to server log for more information."
    scripted.on(
        "EXAMINE", lambda request: request.tagged(damaged) if b"A" in request.text else request.default()
    )
    mirror.hot()
    assert [len(mirror.rows(path)) for path in ("A", "B", "C")] == [1, 2, 2]
    assert mirror.state == ("degraded", "folder_error")
    assert mirror.value("select consecutive_failures = 0 and backoff_until is null from accounts")
