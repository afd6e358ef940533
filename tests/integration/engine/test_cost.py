"""What it costs to stay fresh, counted: IMAP commands by the server, statements by libpq and by Postgres.

The numbers are limits, not wishes: who makes a turn dearer has to change them here, and say why.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailsync.store import turns
from tests.support import mail
from tests.support.costs import QUIET, asked, filled, tick
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.statements import counted
from tests.support.turns import Mirror, letters

PLAIN = b"IMAP4rev1 UNSELECT"
CONDSTORE = b"IMAP4rev1 ENABLE UNSELECT ESEARCH LIST-EXTENDED LIST-STATUS CONDSTORE"
COUNTS_ONLY = b"IMAP4rev1 UNSELECT ESEARCH LIST-EXTENDED LIST-STATUS"

PER_CHUNK = ["BEGIN", "create_incoming_flags", "copy_incoming_flags", "apply_flags", "COMMIT"]
LARGE = 100_000


# -- nothing new ----------------------------------------------------------------------------------------


def test_a_quiet_tick_of_a_hundred_folders_is_one_command_and_five_statements(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 3)
    for number in range(99):
        letters(user, 1, f"Folder {number:02}")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.hot()
        assert mirror.state == ("healthy", None)
        for _ in range(3):
            quiet = tick(mirror, scripted)
            assert quiet.names == ["LIST"]
            assert quiet.of_the_work == QUIET
            assert quiet.folders == []
            assert quiet.runs == 0
        print(quiet)


def test_postgres_itself_counts_five_transactions_for_a_quiet_tick(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 3)
    count = "select xact_commit from pg_stat_database where datname = current_database()"
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        later = mirror.value("select now() + interval '1 hour'")
        mirror.conn.execute("select pg_stat_force_next_flush()")
        before = mirror.value(count)
        for _ in range(100):
            assert turns.claim(mirror.conn, later, 0) == mirror.account_id
            mirror.hot()
        mirror.conn.execute("select pg_stat_force_next_flush()")
        # the others are this test's own statements, and perhaps those of an autovacuum
        assert 500 <= mirror.value(count) - before < 560


def test_a_quiet_tick_without_list_status_asks_for_priority_folders_and_the_next_five(
    database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=PLAIN)
    user = server.new_user()
    for path in ("INBOX", *(f"Folder {number:02}" for number in range(20))):
        letters(user, 1, path)
    with Mirror(database_url, server, user) as mirror:
        for _ in range(6):
            mirror.complete()
        assert mirror.state == ("healthy", None)
        quiet = tick(mirror, server)
        print(quiet)
        assert quiet.names == ["STATUS"] * 6
        # the round takes several ticks, so each folder's time is saved
        assert sorted(quiet.of_the_work) == sorted([*QUIET, "note_polled"])
        assert quiet.runs == 0


# -- something new --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "commands"),
    [
        (CAPABILITIES, ["LIST", "EXAMINE", "UID FETCH", "UNSELECT"]),
        (PLAIN, ["STATUS", "STATUS", "EXAMINE", "UID FETCH", "UNSELECT"]),
    ],
    ids=["all extensions", "none"],
)
def test_one_new_message_costs_a_handful_of_commands_and_statements(
    offered: bytes, commands: list[str], database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    inbox = letters(user, 50)
    letters(user, 50, "Work")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        for number in (50, 51):
            inbox.add(mail.message(number))
            cost = tick(mirror, server)
            assert sorted(mirror.rows())[-1] == number + 1
            assert cost.names == commands
            assert len(cost.of_the_work) <= 30
            assert cost.bytes_in < 3_000
            assert (cost.folders, cost.runs) == (["INBOX"], 1)
        print(cost)
        assert tick(mirror, server).of_the_work == QUIET


# -- flags ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_ten_flag_changes_among_100_000_cost_as_many_statements_as_a_thousand(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    with Mirror(database_url, scripted, user) as mirror:
        inbox = filled(mirror, user.folder("INBOX"), LARGE)
        costs = []
        for uids in (range(1, 11), range(10, LARGE, 100), range(20_000, 40_000)):
            for uid in uids:
                inbox.set_flags(uid, rb"\Seen", rb"\Flagged")
            costs.append(tick(mirror, scripted))
            assert mirror.value("select count(*) from messages where is_flagged") >= len(uids)
        print(*costs, sep="\n")
        ten, thousand, many = costs
        assert ten.names == ["LIST", "EXAMINE", "UID FETCH", "UNSELECT"]
        assert ten.names == thousand.names == many.names
        assert ten.bytes_in < 2_000
        assert len(ten.of_the_work) <= 16
        assert ten.of_the_work == thousand.of_the_work
        # in chunks of 5,000, not message by message
        assert len(many.of_the_work) - len(ten.of_the_work) == 3 * len(PER_CHUNK)


def test_a_due_scan_looks_at_the_newest_thousand_and_a_differing_unseen_looks_on_until_it_is_explained(
    database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=COUNTS_ONLY)
    user = server.new_user()
    with Mirror(database_url, server, user) as mirror:
        inbox = filled(mirror, user.folder("INBOX"), 5_000)
        mirror.conn.execute("update folders set next_flag_scan_at = now()")
        due = tick(mirror, server)
        assert asked(due, "UID FETCH") == ["4001:5000"]
        assert tick(mirror, server).names == ["LIST"]

        inbox.set_flags(4_500)
        explained = tick(mirror, server)
        assert asked(explained, "UID FETCH") == ["4001:5000"]
        inbox.set_flags(500)
        looked_on = tick(mirror, server)
        assert asked(looked_on, "UID FETCH") == ["4001:5000", "1:4000"]
        assert mirror.folder().live_unseen == 2
        assert tick(mirror, server).of_the_work == QUIET
        print(due, explained, looked_on, sep="\n")


# -- deletions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "commands", "most_bytes"),
    [
        (CAPABILITIES, ["LIST", "EXAMINE", "UID FETCH", "UNSELECT"], 1_000),
        (CONDSTORE, ["LIST", "EXAMINE", "UID FETCH", "UID SEARCH", "UNSELECT"], 1_000),
        (COUNTS_ONLY, ["LIST", "EXAMINE", "UID SEARCH", "UNSELECT"], 1_000),
        # here the server sends the UIDs themselves: 19 KB for 4,000
        (PLAIN, ["STATUS", "EXAMINE", "UID SEARCH", "UNSELECT"], 30_000),
    ],
    ids=["QRESYNC", "CONDSTORE", "ESEARCH", "none"],
)
def test_deletions_come_with_qresync_and_take_one_search_without_it(
    offered: bytes,
    commands: list[str],
    most_bytes: int,
    database_url: str,
    scripted_with: Callable[..., ScriptedServer],
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    with Mirror(database_url, server, user) as mirror:
        inbox = filled(mirror, user.folder("INBOX"), 4_000)
        inbox.set_flags(7)
        tick(mirror, server)
        # one of them is unread, which explains the change of UNSEEN
        inbox.expunge(7, *range(1_000, 1_050))
        cost = tick(mirror, server)
        print(cost)
        gone = "select array_agg(uid::int order by uid) from messages where deleted_reason = 'expunged'"
        assert mirror.value(gone) == [7, *range(1_000, 1_050)]
        assert cost.names == commands
        assert cost.bytes_in < most_bytes
        assert cost.of_the_work.count("tombstone_uids") == 1
        assert len(cost.of_the_work) <= 20
        assert tick(mirror, server).of_the_work == QUIET
        assert mirror.state == ("healthy", None)


def test_a_mass_deletion_costs_a_statement_for_every_five_thousand(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    with Mirror(database_url, scripted, user) as mirror:
        inbox = filled(mirror, user.folder("INBOX"), 30_000)
        inbox.expunge(*range(1, 24_001, 2))
        cost = tick(mirror, scripted)
        print(cost)
        assert mirror.folder().live_count == 18_000
        assert cost.names == ["LIST", "EXAMINE", "UID FETCH", "UNSELECT"]
        assert cost.of_the_work.count("tombstone_uids") == 3
        assert len(cost.of_the_work) <= 15


# -- the first sync -------------------------------------------------------------------------------------


def test_a_first_sync_costs_a_command_a_batch(database_url: str, scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    letters(user, 1_000)
    with Mirror(database_url, scripted, user, fetch_batch=100) as mirror:
        opened = tick(mirror, scripted)
        before = len(scripted.journal.commands())
        with counted(mirror.conn) as statements:
            mirror.fill()
        names = [command.name for command in scripted.journal.commands()[before:]]
        print(opened, f"fill: {len(names)} commands, {len(statements)} statements", sep="\n")
        assert len(mirror.rows()) == 1_000
        assert opened.names == ["CAPABILITY", "LOGIN", "CAPABILITY", "ID", "ENABLE", "LIST", "LIST"]
        assert names == ["EXAMINE", "UID SEARCH", *["UID FETCH"] * 10, "UNSELECT"]
        assert len(statements) <= 10 * 12 + 20
