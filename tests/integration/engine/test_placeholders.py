"""Rows without content: when a message gets one, and how it gets its content later (SPEC §9.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mailsync.engine.catch_up import catch_up
from mailsync.engine.retention import Retention
from mailsync.engine.steps import placeholders
from mailsync.engine.turn import Turn
from mailsync.errors import DatabaseUnavailable, LockLost, MailsyncError, TurnOver
from mailsync.store import attempts, db
from mailsync.uidset import UidSet
from tests.support import mail
from tests.support.costs import QUIET, tick
from tests.support.imap_text import in_set
from tests.support.mailboxes import Account
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.stored import assert_counts_are_true
from tests.support.turns import Mirror, letters

BARE = ("unfetchable",)
Handler = Callable[[Request], bytes | None]


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    return scripted.new_user()


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer, user: Account) -> Iterator[Mirror]:
    """A mirror of an inbox with four messages; no turn was taken yet."""
    letters(user, 4)
    with Mirror(database_url, scripted, user) as mirror:
        yield mirror


def fetches(request: Request, uid: int) -> bool:
    """Whether the request asks for the message itself, not only for its flags."""
    asked = in_set(request.arguments[0], 10_000)  # type: ignore[arg-type]
    whole = b"INTERNALDATE" in request.text
    return whole and any(first <= uid <= last for first, last in asked)


def at(uid: int, handler: Handler) -> Handler:
    """Let `handler` answer requests for that message, and answer all others correctly."""
    return lambda request: handler(request) if fetches(request, uid) else request.default()


def leave_out(request: Request) -> bytes:
    return request.tagged(b"OK nothing to say")


def rows(mirror: Mirror) -> dict[int, tuple[str, ...]]:
    """The parse errors of the live rows; of a placeholder only that it is one."""
    return {uid: BARE if "unfetchable" in errors else errors for uid, errors in mirror.rows().items()}


def fill_with_placeholders(mirror: Mirror) -> None:
    """Take turns until every message that the server leaves out has its placeholder: a few a tick."""
    mirror.hot()
    while not mirror.folder().is_complete:
        before = len(mirror.rows())
        mirror.fill()
        assert len(mirror.rows()) > before
        mirror.conn.execute("update folders set retry_at = now()")


def updated(mirror: Mirror) -> list[int]:
    rows = mirror.conn.execute(
        "select (e.data->>'uid')::int from sync_events e join messages m on m.id = e.message_pk"
        " where e.type = 'message.updated' and m.uid = (e.data->>'uid')::int order by e.seq"
    )
    return [row[0] for row in rows]


def alone(server: ScriptedServer, uid: int) -> set[int]:
    """The connections on which the message was asked for alone."""
    return {
        c.connection
        for c in server.journal.commands("UID FETCH")
        if c.line.startswith(b"%d (" % uid) and b"INTERNALDATE" in c.line
    }


def pass_ticks(mirror: Mirror) -> None:
    """Make all planned retries due."""
    mirror.conn.execute("update fetch_attempts set retry_at = now() where retry_at is not null")


@pytest.mark.parametrize(
    "trouble",
    [leave_out, Request.close, lambda r: r.tagged(b"BAD what"), lambda r: r.tagged(b"NO not this")],
    ids=["left out", "connection closed", "BAD", "NO"],
)
def test_a_message_gets_a_placeholder_after_it_was_asked_for_alone_on_two_connections_and_its_content_later(
    trouble: Handler, scripted: ScriptedServer, mirror: Mirror
) -> None:
    scripted.on("UID FETCH", at(2, trouble))
    mirror.hot()
    for _ in range(9):
        assert 2 not in rows(mirror) or len(alone(scripted, 2)) >= 2
        mirror.conn.execute("update folders set retry_at = now()")
        mirror.fill()
    assert rows(mirror) == {1: (), 2: BARE, 3: (), 4: ()}
    mirror.hot()
    mirror.hot()
    assert mirror.state == ("degraded", "unreadable_messages")

    scripted.off("UID FETCH")
    pass_ticks(mirror)
    mirror.hot()
    assert rows(mirror)[2] == ()
    assert updated(mirror) == [2]
    assert mirror.value("select count(*) from fetch_attempts") == 0
    assert mirror.state == ("healthy", None)
    assert_counts_are_true(mirror.conn, mirror.folder())


def test_what_a_placeholder_does_when_it_is_asked_for_again_costs_neither_the_turn_nor_the_others(
    scripted: ScriptedServer, mirror: Mirror
) -> None:
    scripted.on("UID FETCH", leave_out)
    fill_with_placeholders(mirror)
    assert set(rows(mirror).values()) == {BARE}

    scripted.on("UID FETCH", at(2, Request.close))
    for _ in range(3):
        assert isinstance(mirror.hot(), Turn)
    assert rows(mirror) == {1: (), 2: BARE, 3: (), 4: ()}
    assert sorted(updated(mirror)) == [1, 3, 4]
    assert mirror.state == ("degraded", "unreadable_messages")


def test_it_is_asked_for_at_the_next_tick_and_then_ever_less_often(
    scripted: ScriptedServer, mirror: Mirror
) -> None:
    scripted.on("UID FETCH", at(2, leave_out))
    for turn in (mirror.hot, mirror.fill, mirror.fill, mirror.hot):
        turn()
    waits = "select extract(epoch from retry_at - now())::int from fetch_attempts"
    ticks = []
    for _ in range(14):
        ticks.append(round(mirror.value(waits) / mirror.settings.sync_interval + 0.5))
        pass_ticks(mirror)
        mirror.hot()
    day = round(86400 / mirror.settings.sync_interval)
    assert ticks[:4] == [1, 2, 4, 8]
    assert ticks == sorted(ticks) and day <= ticks[-1] <= day + 1

    before = len(scripted.journal.commands("UID FETCH"))
    mirror.hot()
    assert len(scripted.journal.commands("UID FETCH")) == before
    scripted.off("UID FETCH")
    catch_up(mirror.env, mirror.account_id, wait=5.0, full=True)
    assert rows(mirror)[2] == ()


def test_a_turn_asks_for_a_few_of_them_and_a_quiet_tick_for_none(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    count = 2 * placeholders.MOST_A_TURN + 1
    letters(user, count)
    scripted.on("UID FETCH", leave_out)
    with Mirror(database_url, scripted, user) as mirror:
        fill_with_placeholders(mirror)
        assert set(rows(mirror).values()) == {BARE}
        scripted.off("UID FETCH")
        whole = "select count(*) from messages where parse_errors = '{}'"
        for expected in (placeholders.MOST_A_TURN, 2 * placeholders.MOST_A_TURN, count):
            cost = tick(mirror, scripted)
            assert mirror.value(whole) == expected
        assert len(cost.names) < placeholders.MOST_A_TURN
        assert mirror.state == ("healthy", None)
        assert tick(mirror, scripted).of_the_work == QUIET


def test_a_full_sync_asks_for_all_of_them(database_url: str, scripted: ScriptedServer, user: Account) -> None:
    count = 2 * placeholders.MOST_A_TURN + 1
    letters(user, count)
    scripted.on("UID FETCH", leave_out)
    with Mirror(database_url, scripted, user) as mirror:
        fill_with_placeholders(mirror)
        assert set(rows(mirror).values()) == {BARE}
        scripted.off("UID FETCH")
        catch_up(mirror.env, mirror.account_id, wait=5.0, full=True)
        assert set(rows(mirror).values()) == {()}
        assert mirror.state == ("healthy", None)


def test_one_that_proves_to_be_older_than_the_window_leaves_the_mirror_soon(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    mirror.conn.execute("update accounts set sync_since = '2000-01-01'")
    mirror.complete()
    scripted.on("UID FETCH", at(5, leave_out))
    user.folder("INBOX").add(mail.message(5), date=b"01-Jan-1999 00:00:00 +0000")
    for _ in range(3):
        mirror.hot()
    assert rows(mirror)[5] == BARE
    work = Retention()
    while work.step(mirror.env):
        pass
    assert rows(mirror)[5] == BARE

    scripted.off("UID FETCH")
    pass_ticks(mirror)
    mirror.hot()
    assert updated(mirror) == [5]
    work.look_soon()
    while work.step(mirror.env):
        pass
    assert 5 not in rows(mirror)
    assert_counts_are_true(mirror.conn, mirror.folder())


def test_too_few_commands_put_it_off_and_fail_no_turn(scripted: ScriptedServer, mirror: Mirror) -> None:
    scripted.on("UID FETCH", at(2, leave_out))
    for turn in (mirror.hot, mirror.fill, mirror.fill, mirror.hot):
        turn()
    pass_ticks(mirror)
    mirror.configure(imap_max_commands_per_minute=10)
    # above the reserve of two: LIST-STATUS, and EXAMINE for it
    mirror.conn.execute("update accounts set throttle_tokens = 4.1, throttle_at = now()")
    fetches_before = len(scripted.journal.commands("UID FETCH"))
    assert isinstance(mirror.hot(), Turn)
    assert len(scripted.journal.commands("UID FETCH")) == fetches_before


@pytest.mark.parametrize("kind", ["new mail", "first sync"])
def test_a_database_that_takes_no_rows_makes_no_placeholder_however_often(
    kind: str, user: Account, mirror: Mirror
) -> None:
    if kind == "new mail":
        mirror.complete()
        letters(user, 36)
    else:
        letters(user, 36)
        mirror.hot()
    mirror.conn.execute(
        "create function refuse() returns trigger language plpgsql as"
        " 'begin raise exception using errcode = ''53100''; end'"
    )
    mirror.conn.execute("create trigger refuse before insert on messages execute function refuse()")
    for _ in range(25):
        # a turn that loses its database gives no commands back
        mirror.conn.execute("update accounts set throttle_tokens = null")
        ended = mirror.hot() if kind == "new mail" else mirror.fill()
        assert isinstance(ended, DatabaseUnavailable | LockLost)
    mirror.conn.execute("drop trigger refuse on messages")
    mirror.conn.execute("update accounts set throttle_tokens = null")
    if kind == "first sync":
        mirror.fill()
    mirror.hot()
    mirror.hot()
    assert rows(mirror) == dict.fromkeys(range(1, 41), ())
    assert mirror.state == ("healthy", None)
    assert mirror.value("select count(*) from fetch_attempts") == 0


def test_a_process_that_dies_of_a_message_asks_for_its_size_alone_in_the_end(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    mirror.complete()
    for _ in range(3):
        attempts.note_isolation(mirror.conn, mirror.folder(), 5)
    before = len(scripted.journal.commands("UID FETCH"))
    letters(user, 1)
    mirror.hot()
    asked = [c.line for c in scripted.journal.commands("UID FETCH")[before:] if c.line.startswith(b"5 (")]
    assert asked and b"BODY" not in asked[0]
    assert rows(mirror)[5] == BARE
    assert mirror.value("select size_bytes from messages where uid = 5") == len(mail.message(0))

    mirror.hot()
    assert rows(mirror)[5] == (), "it is asked for again as any other"


def test_a_database_that_is_lost_while_a_message_is_asked_for_alone_is_no_death_of_it(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    mirror.complete()
    letters(user, 1)
    attempts.note_attempt(mirror.conn, mirror.folder(), UidSet([(5, 5)]))

    def lose(request: Request) -> bytes:
        with db.connect(mirror.settings, "test") as person:
            person.execute("select pg_terminate_backend(%s, 60000)", [mirror.conn.info.backend_pid])
        return request.default()

    for _ in range(4):
        scripted.on("UID FETCH", at(5, lose), times=1)
        assert isinstance(mirror.hot(), DatabaseUnavailable | LockLost)
        mirror.conn = mirror.env.conn = db.connect(mirror.settings, "test")
        # a turn that loses its database gives no commands back
        mirror.conn.execute("update accounts set throttle_tokens = null")
    scripted.off("UID FETCH")
    mirror.hot()
    assert rows(mirror)[5] == ()
    assert mirror.value("select count(*) from fetch_attempts") == 0


def test_what_ends_a_request_for_one_message_and_is_not_its_fault_is_no_blame(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    mirror.complete()
    letters(user, 1)
    attempts.note_attempt(mirror.conn, mirror.folder(), UidSet([(5, 5)]))

    def stop(request: Request) -> bytes | None:
        mirror.env.stop.since = -1e9
        return request.hang()

    for _ in range(3):
        scripted.on("UID FETCH", at(5, stop), times=1)
        assert isinstance(mirror.hot(), TurnOver)
        mirror.env.stop.since = None
        scripted.on("UID FETCH", at(5, lambda r: r.tagged(b"NO [LIMIT] slow down")), times=1)
        assert isinstance(mirror.hot(), MailsyncError)
    tries = "select tries, failures from fetch_attempts where uid = 5"
    assert mirror.conn.execute(tries).fetchone() == (0, 0)
    scripted.off("UID FETCH")
    mirror.hot()
    assert rows(mirror)[5] == ()


def test_a_row_that_postgres_refused_is_fetched_again(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    mirror.conn.execute(
        "create function refuse() returns trigger language plpgsql as"
        " 'begin if new.subject = ''Message 1'' then raise exception using errcode = ''22P02''; end if;"
        " return new; end'"
    )
    mirror.conn.execute(
        "create trigger refuse before insert on messages for each row execute function refuse()"
    )
    for turn in (mirror.hot, mirror.fill, mirror.hot, mirror.hot):
        turn()
    assert rows(mirror) == {1: (), 2: ("unstorable",), 3: (), 4: ()}
    assert mirror.state == ("degraded", "unreadable_messages")
    assert mirror.value("select tries from fetch_attempts") == 1, "refused again: the plan goes on"
    assert updated(mirror) == []

    mirror.conn.execute("drop trigger refuse on messages")
    pass_ticks(mirror)
    mirror.hot()
    assert rows(mirror)[2] == ()
    assert updated(mirror) == [2]
    assert mirror.state == ("healthy", None)


def test_plans_follow_the_rows(scripted: ScriptedServer, user: Account, mirror: Mirror) -> None:
    scripted.on("UID FETCH", lambda r: leave_out(r) if fetches(r, 2) or fetches(r, 3) else r.default())
    for turn in (mirror.hot, mirror.fill, mirror.fill, mirror.hot):
        turn()
    plans = "select array_agg(uid::int order by uid) from fetch_attempts where retry_at is not null"
    assert mirror.value(plans) == [2, 3]
    user.folder("INBOX").expunge(2)
    mirror.conn.execute("update fetch_attempts set uid = 4, through_uid = 4 where uid = 3")
    mirror.conn.execute("update folders set next_reconcile_at = now()")
    mirror.hot()
    assert mirror.value(plans) == [3]
