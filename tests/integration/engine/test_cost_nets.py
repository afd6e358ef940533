"""Safety nets and unexplained differences: how many of them a tick handles, and how often."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.support.costs import QUIET, filled, tick
from tests.support.mailboxes import Account
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror, letters

COUNTS_ONLY = b"IMAP4rev1 UNSELECT ESEARCH LIST-EXTENDED LIST-STATUS"


def test_of_ten_due_reconciles_each_tick_does_the_oldest(database_url: str, scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    with Mirror(database_url, scripted, user) as mirror:
        paths = ten_folders(mirror, user)
        overdue(mirror, "next_reconcile_at")
        done = [tick(mirror, scripted) for _ in paths]
        assert [cost.folders for cost in done] == [[path] for path in reversed(paths)]
        assert all(cost.names.count("UID SEARCH") == 1 for cost in done)
        assert tick(mirror, scripted).of_the_work == QUIET


def test_of_ten_due_flag_scans_each_tick_does_the_two_oldest(
    database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=COUNTS_ONLY)
    user = server.new_user()
    with Mirror(database_url, server, user) as mirror:
        paths = ten_folders(mirror, user)
        overdue(mirror, "next_flag_scan_at")
        done = [tick(mirror, server) for _ in range(5)]
        oldest = list(reversed(paths))
        assert [cost.folders for cost in done] == [sorted(oldest[at : at + 2]) for at in range(0, 10, 2)]
        assert all(cost.names.count("UID FETCH") == 2 for cost in done)
        assert tick(mirror, server).of_the_work == QUIET


def test_differences_that_show_are_not_limited(
    database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=COUNTS_ONLY)
    user = server.new_user()
    with Mirror(database_url, server, user) as mirror:
        paths = ten_folders(mirror, user)
        for path in paths:
            user.folder(path).expunge(1)
        deleted = tick(mirror, server)
        assert deleted.names == ["LIST", *["EXAMINE", "UID SEARCH"] * 10, "UNSELECT"]
        assert deleted.folders == sorted(paths)
        for path in paths:
            user.folder(path).set_flags(2, rb"\Seen")
        read = tick(mirror, server)
        assert read.names == ["LIST", *["EXAMINE", "UID FETCH"] * 10, "UNSELECT"]
        assert mirror.value("select count(*) from messages where is_seen") == 10
        print(deleted, read, sep="\n")


def test_a_server_that_counts_wrong_is_looked_at_once_and_not_at_every_tick(
    database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=COUNTS_ONLY)
    user = server.new_user()
    with Mirror(database_url, server, user) as mirror:
        filled(mirror, user.folder("INBOX"), 3_000)
        server.on("LIST", _one_more("UNSEEN"))
        unread = tick(mirror, server)
        assert unread.names == ["LIST", "EXAMINE", "UID FETCH", "UID FETCH", "UNSELECT"]
        assert tick(mirror, server).of_the_work == QUIET
        server.on("LIST", _one_more("MESSAGES"))
        more = tick(mirror, server)
        assert "EXAMINE" in more.names
        assert tick(mirror, server).of_the_work == QUIET
        assert mirror.folder().live_count == 3_000


def _one_more(item: str) -> Callable[[Request], bytes]:
    """Make the server report numbers of this item that are too high by one."""

    def answer(request: Request) -> bytes:
        said = request.default()
        return re.sub(rb"(%s )(\d+)" % item.encode(), lambda m: m[1] + b"%d" % (int(m[2]) + 1), said)

    return answer


# -- what the tests of the safety nets begin with -------------------------------------------------------


def ten_folders(mirror: Mirror, user: Account) -> list[str]:
    """INBOX and nine other folders, equal to the server's."""
    paths = ["INBOX", *(f"Folder {number}" for number in range(1, 10))]
    for path in paths:
        letters(user, 5, path)
    mirror.complete()
    mirror.conn.execute(
        "update folders set next_reconcile_at = now() + interval '1 hour', last_reconcile_clean = true,"
        " next_flag_scan_at = now() + interval '10 seconds', last_reconciled_at = now()"
    )
    mirror.hot()
    return paths


def overdue(mirror: Mirror, column: str) -> None:
    """Make every folder due, the last one for the longest time."""
    mirror.conn.execute(f"update folders set {column} = now() - make_interval(mins => id::int)")
