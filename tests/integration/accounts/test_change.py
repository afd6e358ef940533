"""Changes of an account between its turns: another mailbox, a failed change, a removal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mailsync.accounts import manage
from mailsync.accounts.change import Changes, change_account
from mailsync.engine.turn import Turn
from mailsync.errors import MailsyncError, NotFound, PasswordRejected
from mailsync.store import account_views, accounts, turns, waking
from tests.support import mail
from tests.support.scripted import ScriptedServer
from tests.support.stored import assert_counts_are_true
from tests.support.turns import Mirror, letters
from tests.support.wakes import wait_for_wake


def change(mirror: Mirror, **changes: Any) -> None:
    change_account(
        mirror.conn,
        mirror.account_id,
        Changes(**changes),
        mirror.settings,
        started_by="test:1:test",
        wait=1.0,
    )


def mirrored(mirror: Mirror) -> list[tuple[int, str]]:
    query = "select uid, message_id from messages where deleted_at is null order by uid"
    return mirror.conn.execute(query).fetchall()


def run_turns(mirror: Mirror) -> None:
    for turn in (mirror.hot, mirror.fill, mirror.hot, mirror.fill, mirror.hot):
        result = turn()
        assert isinstance(result, Turn), result


@pytest.mark.parametrize("same", [True, False])
def test_another_mailbox_replaces_the_old_one(
    database_url: str, scripted: ScriptedServer, same: bool
) -> None:
    old, new = scripted.new_user(), scripted.new_user()
    letters(old, 6)
    inbox = new.folders[b"INBOX"]
    for n in (100, 101, 3):
        inbox.add(mail.message(n))
    value = old.folders[b"INBOX"].uidvalidity if same else old.folders[b"INBOX"].uidvalidity + 7
    inbox.uidvalidity = value
    with Mirror(database_url, scripted, old) as mirror:
        mirror.complete()
        known = dict(mirror.conn.execute("select message_id, id from messages").fetchall())
        mirror.conn.execute(
            "insert into message_bodies (account_id, message_pk, body_text)"
            " select account_id, id, 'old' from messages"
        )
        mirror.conn.execute("update messages set body_fetched_at = now()")
        change(mirror, username=new.name, password=new.password)
        run_turns(mirror)
        rows = mirrored(mirror)
        assert [uid for uid, _ in rows] == [1, 2, 3]
        assert [message_id for _, message_id in rows] == ["100@mail.test", "101@mail.test", "3@mail.test"]
        assert_counts_are_true(mirror.conn, mirror.folder())
        assert mirror.value("select count(*) from message_bodies") == 0, (
            "a body may belong to another message now"
        )
        assert mirror.value("select count(body_fetched_at) from messages") == 0
        if not same:
            shared = "select id from messages where deleted_at is null and message_id = '3@mail.test'"
            assert mirror.value(shared) == known["3@mail.test"], "the same message keeps its row"
        assert mirror.state == ("healthy", None)


def test_the_same_mailbox_under_another_name_keeps_its_rows(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 6)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        before = mirror.conn.execute("select id, uid, message_id from messages order by id").fetchall()
        change(mirror, imap_host="localhost", password=user.password)
        run_turns(mirror)
        after = mirror.conn.execute("select id, uid, message_id from messages order by id").fetchall()
        assert after == before
        assert mirror.value("select count(*) from messages where deleted_at is not null") == 0


def test_a_resync_tombstones_messages_that_were_deleted_since(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 6)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        inbox.expunge(5, 6)
        manage.reset(mirror.conn, mirror.account_id, mirror.settings, resync=True, wait=1.0)
        run_turns(mirror)
        assert [uid for uid, _ in mirrored(mirror)] == [1, 2, 3, 4]
        assert_counts_are_true(mirror.conn, mirror.folder())


def test_a_change_that_fails_anywhere_changes_nothing(
    database_url: str, scripted: ScriptedServer, scripted_with: Callable[..., ScriptedServer]
) -> None:
    user = scripted.new_user()
    letters(user, 3)
    other = scripted_with()
    other.on("LIST", b"NO [SERVERBUG] out of order")
    moved = other.new_user(user.name, user.password)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        state = "select to_jsonb(a) - array['sync_started_by', 'heartbeat_at', 'last_sync_started_at',"
        state += " 'throttle_tokens', 'throttle_at'] || jsonb_build_object('sealed', ciphertext)"
        state += " from accounts a join account_credentials on account_id = id"
        before = mirror.value(state)
        more = {"display_name": "never", "metadata": {"n": 1}, "sync_window_days": 3}
        with pytest.raises(PasswordRejected):
            change(mirror, password="not-this-one", **more)
        with pytest.raises(MailsyncError, match="out of order"):
            change(mirror, password=moved.password, imap_port=other.port, **more)
        # the last statement of the transaction fails
        mirror.conn.execute(
            "create function refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;"
            " create trigger refuse before update on folders for each row execute function refuse()"
        )
        with pytest.raises(MailsyncError, match="refused"):
            change(mirror, password=user.password, imap_host="localhost", **more)
        assert mirror.value(state) == before
        assert not mirror.value("select count(*) from account_locks")


def test_a_new_connection_resets_the_state_and_announces_it_once(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    with Mirror(database_url, scripted, user) as mirror:
        mirror.conn.execute(
            "update accounts set sync_state = 'broken', sync_state_reason = 'stuck',"
            " consecutive_failures = 9,"
            " sync_state_since = now() - interval '8 days', backoff_until = now() + interval '1 hour',"
            " next_sync_at = now() + interval '1 hour', provider = 'Gmail'"
        )
        waking.listen(mirror.conn)
        change(mirror, imap_host="localhost", password=user.password)
        assert wait_for_wake(mirror.conn, 5)
        account = account_views.load(mirror.conn, mirror.account_id)
        assert account
        assert (account.sync_state, account.backoff_until, account.provider) == ("initial_sync", None, None)
        assert turns.claim(mirror.conn, turns.now(mirror.conn), 60) == mirror.account_id
        events = "select data->>'old_reason' from sync_events where type = 'account.state_changed'"
        assert mirror.conn.execute(events).fetchall() == [("stuck",)]


def test_a_request_makes_a_stuck_account_tried_for_another_week(
    database_url: str, scripted: ScriptedServer
) -> None:
    with Mirror(database_url, scripted, scripted.new_user()) as mirror:
        conn, account = mirror.conn, mirror.account_id
        for ask in (manage.request_sync, manage.resume):
            conn.execute(
                "update accounts set sync_state = 'broken', sync_state_reason = 'stuck',"
                " sync_state_since = now() - interval '8 days', next_sync_at = now()"
            )
            assert turns.claim(conn, turns.now(conn), 60) is None
            ask(conn, account)
            assert turns.claim(conn, turns.now(conn), 60) == account


def test_two_simultaneous_removals_are_announced_once(database_url: str, scripted: ScriptedServer) -> None:
    with Mirror(database_url, scripted, scripted.new_user()) as mirror:
        manage.request_removal(mirror.conn, mirror.account_id)
        for _ in range(2):
            accounts.delete(mirror.conn, mirror.account_id)
        with pytest.raises(NotFound):
            manage.request_removal(mirror.conn, mirror.account_id)
        events = "select count(*) from sync_events where type = 'account.deleted'"
        assert mirror.value(events) == 1
