"""Turns at a scripted server: the state after turns that end early and after a server's misbehaviour."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from mailsync.accounts.change import set_password
from mailsync.engine.catch_up import catch_up
from mailsync.engine.cycle import backfill_turn
from mailsync.engine.turn import Turn
from mailsync.errors import OutOfTokens, RowsRefused, Transient, TurnOver
from mailsync.store import accounts, folders
from tests.support import mail
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror, letters


def test_a_message_that_the_command_budget_did_not_reach_is_not_counted_as_tried(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        inbox.add(mail.message(3))
        mirror.configure(imap_max_commands_per_minute=10)
        for _ in range(4):
            # above the reserve of two: LIST-STATUS and EXAMINE
            mirror.conn.execute("update accounts set throttle_tokens = 4.1, throttle_at = now()")
            ended = mirror.hot()
            assert isinstance(ended, OutOfTokens)
            assert 60 < ended.retry_after < 200
            assert mirror.value("select extract(epoch from next_sync_at - now()) from accounts") > 60
        assert mirror.value("select count(*) from fetch_attempts") == 0

        mirror.configure(imap_max_commands_per_minute=1_000_000)
        mirror.conn.execute("update accounts set throttle_tokens = null")
        mirror.hot()
        assert mirror.rows() == {1: (), 2: (), 3: (), 4: ()}


def test_a_folder_that_list_status_leaves_out_is_compared_nevertheless(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 3)
    work = letters(user, 2, "Work")
    scripted.on("LIST", _without_lines(b"* STATUS Work", b'* STATUS "Work'))
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        assert mirror.state == ("healthy", None)
        work.add(mail.message(2))
        mirror.hot()
        assert sorted(mirror.rows("Work")) == [1, 2, 3]

        scripted.on("STATUS", b"NO [NOPERM] not this one")
        mirror.hot()
        assert mirror.state == ("degraded", "folder_error")


def test_list_status_shows_what_becomes_of_folders_at_once(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    user.create("Parent", rb"\Noselect")
    letters(user, 1, "Parent/Child")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        letters(user, 2, "New")
        mirror.hot()
        mirror.fill()
        assert sorted(mirror.rows("New")) == [1, 2]

        user.folder("Parent").attributes = ()
        letters(user, 3, "Parent")
        mirror.hot()
        mirror.fill()
        assert sorted(mirror.rows("Parent")) == [1, 2, 3]

        user.delete("New")
        mirror.hot()
        assert mirror.folder("New").missing_since

        asked = scripted.journal.counts(user.name)
        mirror.hot()
        assert scripted.journal.counts(user.name) - asked == {"LIST": 1}


def test_a_name_that_only_list_status_shows_is_looked_for_once(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()

    def also(request: Request) -> bytes:
        ghost = b'* LIST () "/" Ghost\r\n' if b"STATUS" in request.text else b""
        return ghost + request.default()

    scripted.on("LIST", also)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        asked = scripted.journal.counts(user.name)
        mirror.hot()
        assert scripted.journal.counts(user.name) - asked == {"LIST": 1}


def test_an_account_whose_password_is_gone_says_so_until_there_is_one(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.env.sessions.close()
        mirror.conn.execute("delete from account_credentials")
        mirror.hot()
        assert mirror.state == ("broken", "key_mismatch")
        said = mirror.value("select sync_state_message from account_status")
        assert said == "no password is stored; run `mailsync set-password`"
        set_password(
            mirror.conn, mirror.account_id, user.password, mirror.settings, started_by="test", wait=5
        )
        mirror.complete()
        assert mirror.state == ("healthy", None)


def test_overall_is_as_old_as_the_folder_that_waits_longest_for_its_round(
    database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=b"IMAP4rev1 UNSELECT")
    user = server.new_user()
    for path in ("INBOX", "A", "B", "C"):
        letters(user, 1, path)
    with Mirror(database_url, server, user, sync_rr_folders=1) as mirror:
        mirror.complete()
        assert mirror.value("select overall_synced_at from accounts") is None
        assert mirror.state == ("initial_sync", None)
        for _ in range(2):
            mirror.hot()
        overall = mirror.value("select overall_synced_at from accounts")
        assert overall == mirror.value("select min(polled_at) from folders")

        server.on("STATUS", lambda request: request.close() if b"A" in request.text else request.default())
        for _ in range(4):
            mirror.hot()
        assert mirror.value("select overall_synced_at from accounts") <= mirror.folder("A").polled_at


def test_the_round_goes_on_after_a_command_has_looked_at_all_folders(
    database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=b"IMAP4rev1 UNSELECT")
    user = server.new_user()
    paths = ("INBOX", "A", "B")
    for path in paths:
        letters(user, 1, path)
    with Mirror(database_url, server, user) as mirror:
        catch_up(mirror.env, mirror.account_id, wait=5, full=True)
        for path in paths:
            letters(user, 1, path)
        for _ in range(2):
            mirror.hot()
        assert [len(mirror.rows(path)) for path in paths] == [2, 2, 2]


def test_a_long_import_elsewhere_does_not_make_the_inbox_seem_old(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 3)
    user.create("Big")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        letters(user, 5, "Big")
        mirror.configure(hot_turn_max=0)
        before = mirror.value("select now()")
        assert isinstance(mirror.hot(), TurnOver)
        assert mirror.value("select priority_synced_at from accounts") > before


def test_a_folder_that_ends_connections_does_not_make_the_inbox_seem_old(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 3)
    poisoned = letters(user, 1, "Poisoned")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        poisoned.add(mail.message(1))
        scripted.on("EXAMINE", Request.close)
        before = mirror.value("select now()")
        assert isinstance(mirror.hot(), Transient)
        assert mirror.value("select priority_synced_at from accounts") > before
        assert mirror.state == ("degraded", "unreachable")


def test_the_backoff_grows_while_no_first_sync_gets_anywhere(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 3)
    scripted.on("EXAMINE", Request.close)
    with Mirror(database_url, scripted, user) as mirror:
        for failures in range(1, 5):
            mirror.hot()
            mirror.fill()
            assert mirror.value("select consecutive_failures from accounts") == failures
            assert mirror.state == ("degraded", "unreachable")
        assert mirror.value("select last_success_at from accounts") is None
        assert mirror.value("select backoff_until - now() > interval '3 minutes' from accounts")


def test_an_inbox_that_is_not_listed_is_mirrored_nevertheless(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    letters(user, 1, "Work")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        scripted.on(
            "LIST", _without_lines(b'* LIST () "/" INBOX', b'* LIST () "/" "INBOX"', b"* STATUS INBOX")
        )
        mirror.conn.execute("update accounts set next_discovery_at = now()")
        inbox.add(mail.message(3))
        mirror.hot()
        assert mirror.folder().missing_since is None
        assert sorted(mirror.rows()) == [1, 2, 3, 4]


def test_a_folder_whose_name_cannot_be_indexed_costs_only_itself(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 3)
    user.create(secrets.token_hex(5_000))
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        assert mirror.state == ("healthy", None)
        assert len(mirror.rows()) == 3


def test_a_folder_tracked_again_while_it_is_emptied_is_filled_again(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 1)
    letters(user, 10, "Work")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        # 5,002 rows: more than one chunk
        mirror.conn.execute(
            "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date)"
            " select account_id, folder_id, 1, n, now() from messages, generate_series(1, 4992) n"
            " where folder_id = %s and uid = 1",
            [mirror.folder("Work").id],
        )
        mirror.conn.execute("update folders set live_count = 5002 where path = 'Work'")
        folders.choose(mirror.conn, mirror.account_id, "Work", tracked=False)
        mirror.configure(hot_turn_max=0)
        assert isinstance(mirror.hot(), TurnOver)
        assert mirror.folder("Work").live_count == 2

        folders.choose(mirror.conn, mirror.account_id, "Work", tracked=True)
        mirror.configure(hot_turn_max=300)
        mirror.complete()
        assert sorted(mirror.rows("Work")) == list(range(1, 11))
        assert mirror.folder("Work").live_count == 10
        assert mirror.state == ("healthy", None)


def test_an_account_whose_folder_was_reset_too_often_goes_on_when_a_person_says_so(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        for uidvalidity in (5, 6, 7):
            inbox.renumber(uidvalidity)
            mirror.hot()
            mirror.fill()
        assert mirror.state == ("broken", "uidvalidity_reset_limit")

        accounts.reset(mirror.conn, mirror.account_id, resync=False)
        mirror.complete()
        assert mirror.state == ("healthy", None)
        assert mirror.folder().uidvalidity == 7


def test_a_first_sync_that_fails_is_logged_once_until_it_succeeds(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 3)
    scripted.on("UID FETCH", b"NO [UNAVAILABLE] not now")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        for _ in range(3):
            mirror.fill()
            mirror.conn.execute("update folders set retry_at = now()")
            mirror.hot()
            assert mirror.state == ("degraded", "folder_error")
        events = "select count(*) from sync_events where type = 'account.state_changed'"
        assert mirror.value(events) == 1

        scripted.off("UID FETCH")
        mirror.complete()
        assert mirror.state == ("healthy", None)


def test_nothing_is_asked_for_above_the_largest_uid(database_url: str, scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    letters(user, 2).add(mail.message(2), uid=2**32 - 1)
    scripted.on("LIST", lambda request: request.default().replace(b" UIDNEXT 4294967296", b""))
    scripted.on("EXAMINE", _without_lines(b"* OK [UIDNEXT"))
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        assert mirror.state == ("healthy", None)
        assert sorted(mirror.rows()) == [1, 2, 2**32 - 1]
        assert not [c for c in scripted.journal.commands() if b"4294967296" in c.line]


def test_a_worker_that_is_late_goes_on_with_first_syncs_nevertheless(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 30)
    with Mirror(database_url, scripted, user, fetch_batch=10) as mirror:
        mirror.hot()
        for stored in (10, 20, 30):
            mirror.take(replace(backfill_turn(mirror.settings), max_seconds=0.0))
            assert len(mirror.rows()) == stored


def test_rejected_logins_are_counted_though_the_server_cannot_be_reached_in_between(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    with Mirror(database_url, scripted, user) as mirror:
        for _ in range(2):
            scripted.on("LOGIN", b"NO [AUTHENTICATIONFAILED] wrong", times=1)
            mirror.hot()
            scripted.on("LOGIN", Request.close, times=1)
            mirror.hot()
            assert mirror.state == ("degraded", "auth_failed")
        scripted.on("LOGIN", b"NO [AUTHENTICATIONFAILED] wrong", times=1)
        mirror.hot()
        assert mirror.state == ("broken", "auth_failed")
        scripted.on("LOGIN", Request.close, times=1)
        mirror.hot()
        assert mirror.state == ("broken", "auth_failed")


def test_mail_that_arrives_while_the_server_searches_is_no_disagreement(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)

    def arrive(request: Request) -> bytes:
        found = request.default().splitlines(keepends=True)
        inbox.add(mail.message(3))
        return b"".join([*found[:-1], request.connection.news(), found[-1]])

    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.conn.execute("update folders set next_reconcile_at = now()")
        scripted.on("UID SEARCH", arrive, times=1)
        mirror.hot()
        assert mirror.state == ("healthy", None)
        mirror.hot()
        assert sorted(mirror.rows()) == [1, 2, 3, 4]


def test_a_session_that_no_turn_takes_up_again_is_closed_when_it_is_old(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    with Mirror(database_url, scripted, user) as mirror:
        turn = mirror.hot()
        assert isinstance(turn, Turn)
        mirror.env.sessions.drop_old()
        assert not turn.session.closed
        turn.session.opened_at -= 25 * 60
        mirror.env.sessions.drop_old()
        assert turn.session.closed
        assert not mirror.env.sessions.has(mirror.account_id)


def _without_lines(*starts: bytes) -> Callable[[Request], bytes]:
    def answer(request: Request) -> bytes:
        return b"".join(
            line for line in request.default().splitlines(keepends=True) if not line.startswith(starts)
        )

    return answer


def test_a_row_that_cannot_be_read_costs_its_account_the_turn_and_no_more(
    database_url: str, scripted: ScriptedServer
) -> None:
    with Mirror(database_url, scripted, scripted.new_user()) as mirror:
        # Postgres has times that Python cannot represent
        mirror.conn.execute("update accounts set failing_since = 'infinity'")
        assert type(mirror.hot()) is RowsRefused
        mirror.conn.execute("update accounts set failing_since = null, throttle_tokens = null")
        mirror.complete()
        assert mirror.state == ("healthy", None)


def test_a_first_sync_is_complete_even_if_its_turn_has_no_time_left(
    database_url: str, scripted: ScriptedServer
) -> None:
    """The worker then lets the hot pass compare the account at once, and not at its next tick."""
    user = scripted.new_user()
    letters(user, 3, "INBOX")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        mirror.configure(backfill_turn_max=0.0)
        ended = mirror.fill()
        while mirror.value("select count(*) from folders where tracked and status <> 'active'"):
            assert isinstance(ended, TurnOver), "there is more to do"
            ended = mirror.fill()
        assert isinstance(ended, Turn), "nothing is left to do"
