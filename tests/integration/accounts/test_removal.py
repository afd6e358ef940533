"""A removed account is deleted soon, also during a round of retention."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailsync.accounts import manage
from mailsync.engine.retention import Retention
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.store import db, messages, waking
from mailsync.uidset import UidSet
from tests.support.mirrors import value
from tests.support.stored import message, new_account, new_folder, settings_for, store
from tests.support.wakes import wait_for_wake


@pytest.fixture
def env(database_url: str) -> Iterator[TurnEnvironment]:
    settings = settings_for(database_url)
    with db.connect(settings, "worker") as conn:
        yield TurnEnvironment(conn, settings, "test", SessionCache(settings))


def mailbox(env: TurnEnvironment, email: str) -> int:
    """An account with messages, one of them a tombstone that retention deletes."""
    account = new_account(env.conn, env.settings, email)
    folder = new_folder(env.conn, account)
    store(env.conn, folder, *[message(uid) for uid in range(1, 4)])
    messages.tombstone(env.conn, folder, UidSet([(1, 1)]), "expunged")
    env.conn.execute("update messages set deleted_at = now() - interval '90 days' where uid = 1")
    return account


def test_a_removal_does_not_wait_for_the_end_of_a_round(env: TurnEnvironment) -> None:
    conn = env.conn
    kept, removed, _ = (mailbox(env, f"{n}@example.test") for n in range(3))
    conn.execute("update upkeep set next_at = now() - interval '1 second'")
    work = Retention()
    assert work.step(env)
    manage.request_removal(conn, removed)
    work.look_soon()
    while value(conn, "select count(*) from accounts where id = %s", removed):
        assert work.step(env)
    assert value(conn, "select next_at < now() from upkeep"), "the round goes on"
    while work.step(env):
        pass
    assert value(conn, "select next_at > now() from upkeep")
    assert value(conn, "select count(*) from messages where account_id = %s", kept) == 2
    assert value(conn, "select count(*) from messages where uid = 1") == 0


def test_a_removal_wakes_the_worker(env: TurnEnvironment) -> None:
    account = mailbox(env, "a@example.test")
    waking.listen(env.conn)
    manage.request_removal(env.conn, account)
    assert wait_for_wake(env.conn, 5)
