"""A doubtful observation deletes nothing, and repairs keep the rows (SPEC §10.7)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from mailsync.engine.turn import Turn
from tests.support import mail
from tests.support.mailboxes import Account
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror, letters

PLAIN = b"IMAP4rev1 UNSELECT LIST-EXTENDED LIST-STATUS"


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    return scripted.new_user()


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer, user: Account) -> Iterator[Mirror]:
    """A mirror of a server that offers all extensions; no turn was taken yet."""
    with Mirror(database_url, scripted, user) as mirror:
        yield mirror


@pytest.fixture
def plain(scripted_with: Callable[..., ScriptedServer]) -> ScriptedServer:
    """A server without ESEARCH, CONDSTORE and QRESYNC."""
    return scripted_with(capabilities=PLAIN)


def due(mirror: Mirror) -> None:
    mirror.conn.execute("update folders set next_reconcile_at = now()")


def ids(mirror: Mirror) -> dict[int, int]:
    """The ids of live rows by UID."""
    return dict(mirror.conn.execute("select uid, id from messages where deleted_at is null").fetchall())


def events(mirror: Mirror, type_: str) -> int:
    return int(mirror.value("select count(*) from sync_events where type = %s", type_))


def answering(*uids: int) -> Callable[[Request], bytes]:
    """Answer SEARCH with these UIDs, whatever the folder holds."""
    shown = ",".join(map(str, uids)).encode()
    said = b" ALL " + shown if uids else b""
    return lambda request: b"* ESEARCH (TAG %s) UID%s\r\n%s" % (
        b'"' + request.tag + b'"', said, request.tagged(b"OK done")
    )  # fmt: skip


# -- answers that cannot be believed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "answered", "state"),
    [
        ((), (), ("degraded", "partial_view")),
        ((1, 2, 3), (1, 2, 3), ("degraded", "partial_view")),
        (range(1, 10), range(1, 10), ("degraded", "partial_view")),
        (range(1, 13), range(1, 12), ("degraded", "unreconciled")),
    ],
    ids=["none", "few", "but one", "more"],
)
def test_a_search_that_disagrees_with_exists_deletes_nothing_and_is_not_asked_every_tick(
    scripted: ScriptedServer,
    user: Account,
    mirror: Mirror,
    shown: tuple[int, ...],
    answered: tuple[int, ...],
    state: tuple[str, str],
) -> None:
    def fetch(request: Request) -> bytes:
        if b"(UID)" not in request.text:
            return request.default()
        lines = (b"* %d FETCH (UID %d)\r\n" % (uid, uid) for uid in answered)
        return b"".join(lines) + request.tagged(b"OK done")

    letters(user, 10)
    mirror.complete()
    before = ids(mirror)
    scripted.on("UID SEARCH", answering(*shown))
    scripted.on("UID FETCH", fetch)
    due(mirror)
    mirror.hot()
    assert ids(mirror) == before
    assert mirror.folder().last_reconcile_clean is False
    assert mirror.state == state
    asked = scripted.journal.counts(user.name)["UID SEARCH"]
    for _ in range(3):
        mirror.hot()
    assert scripted.journal.counts(user.name)["UID SEARCH"] == asked

    scripted.off("UID SEARCH")
    scripted.off("UID FETCH")
    due(mirror)
    mirror.hot()
    assert mirror.state == ("healthy", None)


def test_a_search_without_an_answer_deletes_nothing(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    letters(user, 10)
    mirror.complete()
    before = ids(mirror)
    scripted.on("UID SEARCH", lambda request: request.tagged(b"OK done"))
    due(mirror)
    mirror.hot()
    assert ids(mirror) == before
    assert mirror.state == ("degraded", "folder_error")


def test_a_server_that_forgets_its_mail_for_a_while_costs_no_row(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    inbox = letters(user, 150)
    mirror.complete()
    before = ids(mirror)
    disabled_capabilities, inbox.mails = inbox.mails, {}
    inbox.modseq += 1
    mirror.hot()
    assert ids(mirror) == before
    assert mirror.folder().suspect_deletion
    assert mirror.state[0] == "degraded"

    inbox.mails = disabled_capabilities
    inbox.modseq += 1
    mirror.hot()
    assert ids(mirror) == before
    assert mirror.folder().suspect_deletion is None
    assert mirror.state == ("healthy", None)


# -- large deletions -----------------------------------------------------------------------------------------


def test_most_of_a_folder_goes_only_when_two_turns_saw_the_same(user: Account, mirror: Mirror) -> None:
    inbox = letters(user, 250)
    mirror.complete()
    cursor = mirror.folder().highest_modseq
    inbox.expunge(*range(1, 151))
    mirror.hot()
    assert len(ids(mirror)) == 250
    assert mirror.folder().highest_modseq == cursor, "the cursor waits"
    assert mirror.state == ("degraded", "unreconciled")

    inbox.expunge(151)
    mirror.hot()
    assert len(ids(mirror)) == 250, "it was another deletion this time"

    mirror.hot()
    assert sorted(ids(mirror)) == list(range(152, 251))
    assert mirror.folder().live_count == 99
    assert mirror.folder().suspect_deletion is None
    mirror.hot()
    assert mirror.state == ("healthy", None)
    assert events(mirror, "message.deleted") == 151


def test_a_large_deletion_that_vanished_reports_twice_is_believed(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    inbox = letters(user, 250)
    mirror.complete()
    inbox.expunge(*range(1, 151))
    scripted.on("UID SEARCH", b"NO [CANNOT] not now")
    mirror.hot()
    assert len(ids(mirror)) == 250
    inbox.set_flags(200, rb"\Seen")
    mirror.conn.execute("update folders set retry_at = now()")
    scripted.off("UID SEARCH")
    mirror.hot()
    assert sorted(ids(mirror)) == list(range(151, 251))


def test_half_of_a_folder_or_a_hundred_rows_go_at_once(user: Account, mirror: Mirror) -> None:
    inbox, small = letters(user, 300), letters(user, 100, "Small")
    mirror.complete()
    inbox.expunge(*range(1, 151))
    small.expunge(*range(1, 101))
    mirror.hot()
    assert mirror.folder().live_count == 150
    assert mirror.folder("Small").live_count == 0
    assert mirror.state == ("healthy", None)


def test_vanished_uids_that_never_had_a_row_are_no_large_deletion(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    inbox = letters(user, 150)
    mirror.complete()
    everything = re.compile(rb"VANISHED \(EARLIER\) [0-9:,]+")

    def more(request: Request) -> bytes:
        # servers that keep no history name every UID without a message
        return everything.sub(b"VANISHED (EARLIER) 7,151:4000000000", request.default())

    scripted.on("UID FETCH", more)
    inbox.expunge(7)
    mirror.hot()
    assert sorted(set(range(1, 151)) - set(ids(mirror))) == [7]
    assert mirror.state == ("healthy", None)


# -- what happens meanwhile ----------------------------------------------------------------------------------


def test_an_expunge_during_the_reconcile_is_seen(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    inbox = letters(user, 10)
    mirror.complete()

    def expunge(request: Request) -> bytes:
        found = request.default().splitlines(keepends=True)
        inbox.expunge(4, 5)
        return b"".join([*found[:-1], request.connection.news(), found[-1]])

    scripted.on("UID SEARCH", expunge, times=1)
    due(mirror)
    mirror.hot()
    assert sorted(ids(mirror)) == [1, 2, 3, 6, 7, 8, 9, 10]
    assert mirror.state == ("healthy", None)


def test_a_message_that_arrives_during_the_reconcile_is_neither_lost_nor_deleted(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    inbox = letters(user, 10)
    mirror.complete()

    def arrive(request: Request) -> bytes:
        inbox.add(mail.message(10))
        return request.default()

    scripted.on("UID SEARCH", arrive, times=1)
    due(mirror)
    mirror.hot()
    mirror.hot()
    assert sorted(ids(mirror)) == list(range(1, 12))
    assert mirror.state == ("healthy", None)


# -- repair --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capabilities", [None, PLAIN], ids=["all extensions", "none"])
def test_what_a_mirror_lost_or_made_up_is_repaired(
    database_url: str, scripted_with: Callable[..., ScriptedServer], capabilities: bytes | None
) -> None:
    server = scripted_with(capabilities=capabilities) if capabilities else scripted_with()
    user = server.new_user()
    letters(user, 20)
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        before = ids(mirror)
        mirror.conn.execute("delete from messages where uid in (3, 4)")
        mirror.conn.execute(
            "update messages set deleted_at = now(), deleted_reason = 'expunged' where uid = 9"
        )
        mirror.conn.execute("update messages set uid = 15000 where uid = 12")
        mirror.conn.execute("update messages set uid = 12, flags = '{work}' where uid = 13")
        mirror.conn.execute("update folders set last_uid = 15000, live_count = 99, live_unseen = 98")
        due(mirror)
        mirror.hot()
        after = ids(mirror)
        assert sorted(after) == list(range(1, 21))
        assert after[9] == before[9], "a tombstone that is there again is the row it was"
        assert mirror.folder().live_count == 20
        assert mirror.folder().live_unseen == 20
        assert events(mirror, "message.restored") == 1
        told = "select data->>'missing' from sync_events where type = 'folder.reconciled' order by seq desc"
        assert mirror.value(told) == "4"


def test_more_than_two_batches_of_missing_messages_come_in_the_backfill_pass(
    user: Account, scripted: ScriptedServer, mirror: Mirror
) -> None:
    letters(user, 60)
    mirror.complete()
    mirror.configure(fetch_batch=10)
    mirror.conn.execute("delete from messages where uid <= 30 or uid > 57")
    mirror.conn.execute("update folders set live_count = 27, live_unseen = 27")
    due(mirror)
    mirror.hot()
    assert mirror.folder().status == "initial"
    assert len(ids(mirror)) == 27
    mirror.hot()
    assert mirror.state == ("degraded", "folder_backfill")
    assert mirror.value("select backfill_remaining from account_status") == 33
    fetched = scripted.journal.counts(user.name)["UID FETCH"]
    mirror.fill()
    assert sorted(ids(mirror)) == list(range(1, 61))
    assert scripted.journal.counts(user.name)["UID FETCH"] == fetched + 4, (
        "what has a row is not fetched again"
    )
    mirror.hot()
    assert mirror.state == ("healthy", None)
    assert mirror.folder().live_count == 60


# -- folders whose rows cannot be counted against the server's ------------------------------------------


@pytest.mark.parametrize("capabilities", [None, PLAIN], ids=["all extensions", "none"])
def test_a_deletion_in_an_account_with_a_window_is_seen_at_the_next_tick(
    database_url: str, scripted_with: Callable[..., ScriptedServer], capabilities: bytes | None
) -> None:
    server = scripted_with(capabilities=capabilities) if capabilities else scripted_with()
    user = server.new_user()
    inbox = user.folder("INBOX")
    for day in range(1, 21):
        inbox.add(mail.message(day), date=f"{day:02}-Mar-2026 12:00:00 +0000")
    with Mirror(database_url, server, user) as mirror:
        mirror.conn.execute("update accounts set sync_since = '2026-03-11T12:00:00Z'")
        mirror.complete()
        inside = set(ids(mirror))
        assert inside == set(range(11, 21))
        gone = sorted(inside)[3]
        inbox.expunge(gone)
        mirror.hot()
        assert set(ids(mirror)) == inside - {gone}
        asked = server.journal.counts(user.name)
        mirror.hot()
        assert server.journal.counts(user.name) - asked == {"LIST": 1}

        # one message goes and one arrives, so the count is the same
        gone = sorted(inside)[4]
        inbox.expunge(gone)
        new = inbox.add(mail.message(21), date="21-Mar-2026 12:00:00 +0000")
        mirror.hot()
        assert gone not in ids(mirror)
        assert new in ids(mirror)
        assert mirror.state == ("healthy", None)


def test_a_search_since_that_leaves_mail_out_deletes_nothing(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    letters(user, 10)
    mirror.conn.execute("update accounts set sync_since = '2001-01-01T00:00:00Z'")
    mirror.complete()
    before = ids(mirror)
    assert len(before) == 10
    scripted.on("UID SEARCH", answering(4, 5), times=1)
    due(mirror)
    mirror.hot()
    assert ids(mirror) == before


@pytest.mark.parametrize("capabilities", [None, PLAIN], ids=["all extensions", "none"])
def test_a_deletion_during_the_first_sync_is_seen_at_the_next_tick(
    database_url: str, scripted_with: Callable[..., ScriptedServer], capabilities: bytes | None
) -> None:
    server = scripted_with(capabilities=capabilities) if capabilities else scripted_with()
    user = server.new_user()
    inbox = letters(user, 40)
    with Mirror(database_url, server, user, fetch_batch=10) as mirror:
        mirror.configure(backfill_turn_max=0)
        mirror.hot()
        for _ in range(2):
            mirror.fill()
        stored = len(ids(mirror))
        assert 0 < stored < 40
        assert mirror.value("select backfill_remaining from account_status") == 40 - stored
        inbox.expunge(2, 39)
        mirror.hot()
        assert 39 not in ids(mirror)
        assert mirror.folder().status == "initial"
        for _ in range(4):
            mirror.fill()
        mirror.hot()
        assert isinstance(mirror.hot(), Turn)
        assert sorted(ids(mirror)) == [n for n in range(1, 41) if n not in (2, 39)]
        assert mirror.state == ("healthy", None)


# -- flags without CONDSTORE ---------------------------------------------------------------------------------


def test_unseen_is_explained_by_the_newest_messages_or_all_are_looked_at(
    database_url: str, plain: ScriptedServer
) -> None:
    user = plain.new_user()
    inbox = letters(user, 1040)
    with Mirror(database_url, plain, user) as mirror:
        mirror.complete()
        inbox.set_flags(1035, rb"\Seen")
        mirror.hot()
        seen = "select array_agg(uid order by uid) from messages where is_seen"
        assert mirror.value(seen) == [1035]
        assert b"41:1040" in plain.journal.commands("UID FETCH", user.name)[-1].line
        inbox.set_flags(5, rb"\Seen")
        mirror.hot()
        assert mirror.value(seen) == [5, 1035]
        assert b"1:40 " in plain.journal.commands("UID FETCH", user.name)[-1].line


def test_in_a_window_flags_are_asked_for_only_of_what_is_inside(
    database_url: str, plain: ScriptedServer
) -> None:
    user = plain.new_user()
    inbox = user.folder("INBOX")
    for day in range(1, 21):
        inbox.add(mail.message(day), date=f"{day:02}-Mar-2026 12:00:00 +0000")
    with Mirror(database_url, plain, user) as mirror:
        mirror.conn.execute("update accounts set sync_since = '2026-03-11T12:00:00Z'")
        mirror.complete()

        def commands(name: str) -> list[bytes]:
            return [command.line for command in plain.journal.commands(name, user.name)]

        before = len(commands("UID FETCH"))
        inbox.set_flags(15, rb"\Seen")
        mirror.hot()
        assert mirror.value("select array_agg(uid) from messages where is_seen") == [15]
        assert commands("UID FETCH")[before:] == [b"11:20 (UID FLAGS)"]

        # an unread message goes and one arrives: both explain UNSEEN
        inbox.expunge(12)
        inbox.add(mail.message(21), date="21-Mar-2026 12:00:00 +0000")
        inbox.add(mail.message(22), date="22-Mar-2026 12:00:00 +0000")
        mirror.hot()
        assert sorted(ids(mirror)) == [11, *range(13, 23)]
        assert not [line for line in commands("UID FETCH")[before + 1 :] if line.endswith(b"(UID FLAGS)")]


def test_a_modseq_that_went_back_has_everything_compared(user: Account, mirror: Mirror) -> None:
    inbox = letters(user, 10)
    mirror.complete()
    inbox.set_flags(3, rb"\Flagged")
    inbox.expunge(5)
    inbox.modseq = 1
    mirror.hot()
    assert mirror.value("select array_agg(uid) from messages where is_flagged") == [3]
    assert 5 not in ids(mirror)
    assert mirror.folder().highest_modseq == 1
    assert mirror.state == ("healthy", None)
