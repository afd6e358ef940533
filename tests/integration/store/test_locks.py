"""The account's lock: one holder, a fair queue, and no unnoticed loss (SPEC §8)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from mailsync.config import Settings
from mailsync.errors import Busy, ConfigError, DatabaseUnavailable, LockLost
from mailsync.store import accounts, db, locks, turns
from mailsync.store.db import Connection
from mailsync.store.locks import account_lock
from tests.support import run_directory
from tests.support.patience import Stopwatch, pause
from tests.support.pooler import TransactionPooler
from tests.support.run_directory import PATIENCE
from tests.support.stored import new_account, settings_for

Opener = Callable[..., Connection]


@pytest.fixture
def settings(database_url: str) -> Settings:
    return settings_for(database_url, lock_stale_after=30)


@pytest.fixture
def opened(settings: Settings) -> Iterator[Opener]:
    """Open connections of a role, which are closed after the test."""
    with ExitStack() as stack:

        def open_one(role: str = "worker") -> Connection:
            return stack.enter_context(db.connect(settings, role))

        yield open_one


@pytest.fixture
def account(opened: Opener, settings: Settings) -> int:
    return new_account(opened("test"), settings)


def is_free(conn: Connection, account: int) -> bool:
    row = conn.execute("select count(*) from account_locks where account_id = %s", [account]).fetchone()
    return row == (0,)


def silent_for(conn: Connection, account: int, seconds: float) -> None:
    conn.execute(
        "update accounts set heartbeat_at = clock_timestamp() - make_interval(secs => %s) where id = %s",
        [seconds, account],
    )


def wait_until(check: Callable[[], bool]) -> None:
    run_directory.wait_until(check, "what the test waits for")


# -- exclusive ----------------------------------------------------------------------------------------------


def test_only_one_holds_it(opened: Opener, settings: Settings, account: int) -> None:
    first, second = opened(), opened()
    with account_lock(first, account, settings):
        with pytest.raises(Busy) as caught, account_lock(second, account, settings):
            pass
        assert caught.value.retry_after > 0
        assert f"account {account}" in str(caught.value)
    with account_lock(second, account, settings):
        assert not is_free(first, account)
    assert is_free(first, account)


def test_accounts_do_not_hinder_each_other(opened: Opener, settings: Settings, account: int) -> None:
    other = new_account(opened(), settings, "b@example.com")
    with account_lock(opened(), account, settings), account_lock(opened(), other, settings):
        pass


def test_schemas_do_not_hinder_each_other(
    opened: Opener, settings: Settings, account: int, database: psycopg.Connection
) -> None:
    database.execute("create schema other")
    elsewhere = opened()
    elsewhere.execute("set search_path = other, mailsync")
    with account_lock(opened(), account, settings), account_lock(elsewhere, account, settings):
        pass


def test_it_survives_commit_and_rollback(opened: Opener, settings: Settings, account: int) -> None:
    first, second = opened(), opened()
    with account_lock(first, account, settings):
        with db.transaction(first):
            first.execute("select 1")
        with pytest.raises(ZeroDivisionError), db.transaction(first):
            raise ZeroDivisionError
        with pytest.raises(Busy), account_lock(second, account, settings):
            pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_happens_it_is_released(
    opened: Opener, settings: Settings, account: int, error: type[BaseException]
) -> None:
    conn = opened()
    with pytest.raises(error), account_lock(conn, account, settings):
        raise error
    assert is_free(opened(), account)
    assert not conn.closed


def test_a_failed_statement_inside_leaves_lock_and_connection_in_order(
    opened: Opener, settings: Settings, account: int
) -> None:
    conn = opened()
    with pytest.raises(psycopg.errors.DivisionByZero), account_lock(conn, account, settings):
        conn.execute("select 1 / 0")
    assert is_free(conn, account)


def test_an_unlock_that_is_not_confirmed_closes_the_connection(
    opened: Opener, settings: Settings, account: int
) -> None:
    conn = opened()
    with account_lock(conn, account, settings):
        conn.execute("select pg_advisory_unlock_all()")
    assert conn.closed


# -- lost ---------------------------------------------------------------------------------------------------


def test_a_dead_backend_loses_and_frees_the_lock(opened: Opener, settings: Settings, account: int) -> None:
    victim, other = opened(), opened()
    with pytest.raises(LockLost) as caught, account_lock(victim, account, settings) as lock:
        other.execute("select pg_terminate_backend(%s)", [victim.info.backend_pid])
        wait_until(lambda: is_free(other, account))
        turns.worker_heartbeat(lock.conn, "x", "0")
    assert "\n" not in str(caught.value)
    with account_lock(other, account, settings):
        pass


def test_the_heartbeat_notices_a_lost_lock(opened: Opener, settings: Settings, account: int) -> None:
    victim, other = opened(), opened()
    now = [0.0]
    with pytest.raises(LockLost), account_lock(victim, account, settings, clock=lambda: now[0]) as lock:
        other.execute("select pg_terminate_backend(%s)", [victim.info.backend_pid])
        lock.heartbeat()  # not due yet
        now[0] = locks.HEARTBEAT_INTERVAL
        lock.heartbeat()


def test_the_heartbeat_is_written_when_due_and_only_then(
    opened: Opener, settings: Settings, account: int
) -> None:
    conn, now = opened(), [0.0]

    def age() -> float:
        holder = accounts.lock_holder(conn, account)
        assert holder is not None
        return holder[3] or 0.0

    with account_lock(conn, account, settings, clock=lambda: now[0]) as lock:
        silent_for(conn, account, 100)
        lock.heartbeat()
        assert age() > 99
        now[0] = locks.HEARTBEAT_INTERVAL
        lock.heartbeat()
        assert age() < 5
        assert locks.HEARTBEAT_INTERVAL < 15


# -- the queue ----------------------------------------------------------------------------------------------


def stand_in_line(
    opened: Opener, settings: Settings, account: int, served: list[str], name: str
) -> threading.Thread:
    conn, watcher = opened("api"), opened()

    def wait() -> None:
        with account_lock(conn, account, settings, wait=PATIENCE):
            served.append(name)

    def waiting() -> int:
        row = watcher.execute("select count(*) from account_locks where not granted").fetchone()
        return int(row[0]) if row else 0

    before = waiting()
    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: waiting() == before + 1)
    return thread


def test_who_waits_is_seen_and_served_first_come_first_served(
    opened: Opener, settings: Settings, account: int
) -> None:
    served: list[str] = []
    now = [0.0]
    with account_lock(opened(), account, settings, clock=lambda: now[0]) as lock:
        now[0] += 1
        assert not lock.is_wanted()
        waiters = [stand_in_line(opened, settings, account, served, name) for name in "abc"]
        assert not lock.is_wanted(), "Postgres is asked at most twice a second"
        now[0] += 1
        assert lock.is_wanted()
        # a session that only tries does not overtake
        with pytest.raises(Busy), account_lock(opened(), account, settings):
            pass
        assert served == []
    for waiter in waiters:
        waiter.join(PATIENCE)
    assert served == ["a", "b", "c"]


def test_a_process_that_waited_in_vain_gets_busy(opened: Opener, settings: Settings, account: int) -> None:
    holder, waiter = opened(), opened("api")
    with account_lock(holder, account, settings):
        began = Stopwatch()
        with pytest.raises(Busy), account_lock(waiter, account, settings, wait=0.2):
            pass
        assert began.clock > 0.15
        assert began.stop() < 9, "the usual lock_timeout is 10 s"
        with pytest.raises(Busy), account_lock(waiter, account, settings, wait=0):
            pass
    assert waiter.execute("show lock_timeout").fetchone() == ("10s",)
    with account_lock(waiter, account, settings, wait=0.2):
        pass


@pytest.mark.parametrize("act", ["pause", "remove"])
def test_a_person_who_pauses_or_removes_wants_the_turn_to_end(
    opened: Opener, settings: Settings, account: int, act: str
) -> None:
    now, person = [0.0], opened("cli")
    with account_lock(opened(), account, settings, clock=lambda: now[0]) as lock:
        now[0] += 1
        assert not lock.is_wanted()
        if act == "pause":
            accounts.pause(person, account, "holidays")
        else:
            accounts.mark_deleting(person, account)
        now[0] += 1
        assert lock.is_wanted()


# -- stale holders ------------------------------------------------------------------------------------------


def make_stale(conn: Connection, settings: Settings, account: int, after: float = 0.2) -> Settings:
    """Make the holder's last sign of life too old; returns the settings that say so."""
    silent_for(conn, account, 3600)
    short = settings.model_copy(update={"lock_stale_after": after})
    pause(after + 0.2, "a holder is stale when it has been silent for so long")
    return short


def test_a_silent_holder_is_ended_and_the_lock_taken(
    opened: Opener, settings: Settings, account: int, database: psycopg.Connection
) -> None:
    dead, other = opened(), opened()
    assert locks._try(dead, account)
    short = make_stale(other, settings, account)
    with account_lock(other, account, short), pytest.raises(psycopg.OperationalError):
        dead.execute("select 1")
    assert is_free(other, account)


def test_a_holder_with_signs_of_life_is_let_alone(opened: Opener, settings: Settings, account: int) -> None:
    alive, other = opened(), opened()
    with account_lock(alive, account, settings):
        silent_for(other, account, 3600)
        # it has just acquired the lock of an idle account, and has not written a heartbeat yet
        with pytest.raises(Busy), account_lock(other, account, settings):
            pass
        alive.execute("select 1")


def test_a_beating_heart_protects_a_holder_whose_connection_rests(
    opened: Opener, settings: Settings, account: int, database: psycopg.Connection
) -> None:
    quiet, other = opened(), opened()
    assert locks._try(quiet, account)
    # the rest of the test must take less than this
    short = make_stale(other, settings, account, after=3.0)
    silent_for(other, account, 0)
    with pytest.raises(Busy), account_lock(other, account, short):
        pass
    quiet.execute("select 1")


def test_a_heartbeat_of_a_clock_that_was_set_back_counts_from_now_on(
    opened: Opener, settings: Settings, account: int, database: psycopg.Connection
) -> None:
    dead, other = opened(), opened()
    assert locks._try(dead, account)
    short = make_stale(other, settings, account)
    silent_for(other, account, -10_800)
    with pytest.raises(Busy), account_lock(other, account, short):
        pass
    dead.execute("select 1")
    pause(0.4, "what counts from now on is over by then")
    with account_lock(other, account, short), pytest.raises(psycopg.OperationalError):
        dead.execute("select 1")


def test_a_holder_that_is_no_mailsync_is_never_ended(
    opened: Opener, settings: Settings, account: int, database: psycopg.Connection
) -> None:
    database.execute("select pg_advisory_lock(hashtext(current_schema()), %s::int)", [account])
    other = opened()
    short = make_stale(other, settings, account)
    with pytest.raises(Busy), account_lock(other, account, short):
        pass
    assert database.execute("select 1").fetchone() == (1,)


def test_busy_names_the_holder(opened: Opener, settings: Settings, account: int) -> None:
    holder, other = opened("worker"), opened("cli")
    assert accounts.lock_holder(other, account) is None
    with account_lock(holder, account, settings):
        turns.begin(holder, account, "host:1:worker", burst=50.0, refill=2.5, floor=10.0)
        found = accounts.lock_holder(other, account)
        assert found is not None
        pid, application, by, age, *_ = found
        assert (pid, application, by) == (holder.info.backend_pid, "mailsync-worker", "host:1:worker")
        assert age is not None
        assert age < 5
        with pytest.raises(Busy, match="host:1:worker"), account_lock(other, account, settings):
            pass


# -- the self-test ------------------------------------------------------------------------------------------


def test_the_self_test_passes_on_direct_connections(settings: Settings, database: psycopg.Connection) -> None:
    locks.self_test(settings)
    wait_until(lambda: database.execute("select count(*) from account_locks").fetchone() == (0,))


def test_the_self_test_fails_behind_a_transaction_pooler(settings: Settings) -> None:
    with TransactionPooler(str(settings.database_url)) as pooler:
        pooled = settings.model_copy(update={"database_url": pooler.url})
        with db.connect(pooled, "test") as conn:
            pids = {conn.execute("select pg_backend_pid()").fetchone() for _ in range(4)}
            assert len(pids) == 2, "the stand-in does what a transaction pooler does"
        with pytest.raises(ConfigError, match=r"transaction pooler.*port 5432"):
            locks.self_test(pooled)


def test_several_self_tests_do_not_disturb_each_other(settings: Settings) -> None:
    failures: list[BaseException] = []

    def test() -> None:
        try:
            locks.self_test(settings)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=test) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []


def test_the_self_test_explains_a_database_that_is_not_there(settings: Settings) -> None:
    gone = settings.model_copy(update={"database_url": "postgresql://u:planted-pw@127.0.0.1:1/x_test"})
    with pytest.raises(DatabaseUnavailable) as caught:
        locks.self_test(gone)
    assert "planted-pw" not in str(caught.value)
    assert "\n" not in str(caught.value)
