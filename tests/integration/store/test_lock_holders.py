"""A session of another program that holds an account's lock is named, and never ended (SPEC §8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from mailsync.config import Settings
from mailsync.errors import Busy, LockHeld
from mailsync.store import accounts, db, migrations, turns
from mailsync.store.accounts import AccountStatus
from mailsync.store.db import Connection
from mailsync.store.locks import account_lock
from tests.support.roles import Role, new_role
from tests.support.stored import new_account, settings_for

Database = psycopg.Connection[Any]
Hold = Callable[..., int]


@pytest.fixture
def settings(database_url: str) -> Settings:
    return settings_for(database_url, lock_stale_after=30)


@pytest.fixture
def conn(settings: Settings) -> Iterator[Connection]:
    with db.connect(settings, "worker") as conn:
        yield conn


@pytest.fixture
def account(conn: Connection, settings: Settings) -> int:
    return new_account(conn, settings)


@pytest.fixture
def joe(database: Database, database_url: str) -> Iterator[Role]:
    """A role that may only connect."""
    with new_role(database, database_url) as role:
        yield role


@pytest.fixture
def hold(joe: Role) -> Iterator[Hold]:
    """Acquire an account's lock in a session of another role; returns its pid."""
    with ExitStack() as stack:

        def take(account: int, application: str = "psql", *, shared: bool = False, url: str = joe.url) -> int:
            other = stack.enter_context(psycopg.connect(url, autocommit=True, application_name=application))
            kind = "_shared" if shared else ""
            other.execute(f"select pg_advisory_lock{kind}(hashtext('mailsync'), %s::int)".encode(), [account])
            return other.info.backend_pid

        yield take


def status(conn: Connection, account: int) -> AccountStatus:
    (found,) = accounts.statuses(conn, account)
    return found


def test_a_foreign_session_is_named_with_pid_role_and_application(
    conn: Connection, account: int, settings: Settings, joe: Role, hold: Hold
) -> None:
    pid = hold(account)
    found = status(conn, account)
    assert (found.sync_state, found.sync_state_reason) == ("degraded", "lock_held")
    assert found.sync_state_message is not None
    assert found.sync_state_message.startswith(
        f"its lock is held by pid {pid} (role {joe.name}, psql), connected since 20"
    )
    assert found.sync_state_message.endswith(
        f"not a mailsync process; end it with: select pg_terminate_backend({pid})"
    )
    assert not found.currently_syncing
    holder = accounts.lock_holder(conn, account)
    assert holder
    assert (holder.pid, holder.role, holder.is_mailsync) == (pid, joe.name, False)
    named = rf"pid {pid} \(role {joe.name}, psql\), which is not a mailsync"
    with pytest.raises(LockHeld, match=named), account_lock(conn, account, settings):
        pass


def test_another_account_and_one_whose_lock_is_free_again_are_not_concerned(
    conn: Connection, account: int, settings: Settings, hold: Hold, database: Database
) -> None:
    other = new_account(conn, settings, "b@example.com")
    pid = hold(account)
    assert status(conn, other).sync_state == "initial_sync"
    database.execute("select pg_terminate_backend(%s, 60000)", [pid])
    assert status(conn, account).sync_state == "initial_sync"


def test_a_session_that_calls_itself_mailsync_is_foreign_without_the_right_to_write(
    conn: Connection, account: int, settings: Settings, hold: Hold, database: Database
) -> None:
    """It used to be ended as a stale holder, or each turn failed because we may not end it."""
    pid = hold(account, "mailsync-worker")
    database.execute("update accounts set heartbeat_at = now() - interval '1 day'")
    assert status(conn, account).sync_state_reason == "lock_held"
    with pytest.raises(LockHeld), account_lock(conn, account, settings):
        pass
    row = database.execute("select count(*) from pg_stat_activity where pid = %s", [pid]).fetchone()
    assert row == (1,)


def test_a_session_of_the_owner_is_foreign_by_its_name(
    conn: Connection, account: int, hold: Hold, database_url: str
) -> None:
    hold(account, "psql", url=database_url)
    assert status(conn, account).sync_state_reason == "lock_held"


def test_a_session_of_mailsync_is_not_foreign(conn: Connection, account: int, settings: Settings) -> None:
    with db.connect(settings, "sync") as other, account_lock(other, account, settings):
        turns.begin(other, account, "host:1:sync", burst=50.0, refill=2.5, floor=10.0)
        found = status(conn, account)
        assert (found.sync_state, found.currently_syncing) == ("initial_sync", True)
        with pytest.raises(Busy, match="host:1:sync") as caught, account_lock(conn, account, settings):
            pass
        assert not isinstance(caught.value, LockHeld)


def test_a_session_of_mailsync_behind_a_pooler_that_sets_its_own_name_is_not_foreign(
    conn: Connection, account: int, settings: Settings
) -> None:
    mark = "&" if "?" in str(settings.database_url) else "?"
    renamed = settings.model_copy(
        update={"database_url": f"{settings.database_url}{mark}options=-c%20application_name%3Dpooler"}
    )
    with db.connect(renamed, "worker") as other, account_lock(other, account, renamed):
        holder = accounts.lock_holder(conn, account)
        assert holder
        assert (holder.application_name, holder.is_mailsync) == ("mailsync-worker", True)


def test_several_sessions_that_share_the_lock_are_one_line(
    conn: Connection, account: int, hold: Hold
) -> None:
    first, second = hold(account, shared=True), hold(account, shared=True)
    found = status(conn, account)
    assert f"pid {min(first, second)} " in str(found.sync_state_message)


@pytest.mark.parametrize(
    ("column", "state", "reason"),
    [
        ("paused_at = now(), paused_reason = 'moving'", "paused", "moving"),
        ("sync_state = 'broken', sync_state_reason = 'auth_failed'", "broken", "auth_failed"),
        ("sync_state = 'healthy', healthy_until = now() - interval '1 s'", "degraded", "lock_held"),
        ("sync_state = 'degraded', sync_state_reason = 'unreachable'", "degraded", "lock_held"),
    ],
)
def test_states_that_matter_more_are_shown_before_it(
    conn: Connection, account: int, hold: Hold, column: str, state: str, reason: str
) -> None:
    hold(account)
    conn.execute(f"update accounts set {column}".encode())
    found = status(conn, account)
    assert (found.sync_state, found.sync_state_reason) == (state, reason)


def test_a_role_that_may_not_see_others_sessions_names_them_too(
    postgres: Any, empty_database_url: str
) -> None:
    """It cannot see only when the other session connected."""
    with psycopg.connect(empty_database_url, autocommit=True) as database, ExitStack() as stack:
        owner = stack.enter_context(new_role(database, empty_database_url, "owner"))
        joe = stack.enter_context(new_role(database, empty_database_url, "joe"))
        database.execute(f"create schema mailsync authorization {owner.name}".encode())
        settings = settings_for(owner.url)
        conn = stack.enter_context(db.connect(settings, "worker"))
        migrations.migrate(conn, settings)
        account = new_account(conn, settings)
        other = stack.enter_context(psycopg.connect(joe.url, autocommit=True, application_name="psql"))
        other.execute("select pg_advisory_lock(hashtext('mailsync'), %s::int)", [account])
        pid = other.info.backend_pid
        message = str(status(conn, account).sync_state_message)
        assert message.startswith(f"its lock is held by pid {pid} (role {joe.name}, psql), which is no")
        holder = accounts.lock_holder(conn, account)
        assert holder
        assert (holder.role, holder.connected_at, holder.is_mailsync) == (joe.name, None, False)
