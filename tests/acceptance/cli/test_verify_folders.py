"""What verify finds of whole folders: unknown, gone, wrongly counted, with rows that should not be live."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from mailsync.cli.commands.verify import describe
from mailsync.engine.verify_report import Report
from tests.acceptance.cli.test_verify import compare, mailbox
from tests.support.mail import message
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror


def differences(report: Report, path: str = "Work") -> dict[str, int] | None:
    return next((f.counts for f in report.folders.values() if f.path == path), None)


def test_a_folder_on_the_server_that_has_no_row_is_a_difference(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = mailbox(scripted)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        user.create("New").add(message(1))
        report = compare(mirror)
    assert report.different
    assert differences(report, "New")
    assert "New: on the server, but not in the mirror" in describe(report).splitlines()


def test_a_folder_that_vanished_and_is_noted_as_missing_is_a_difference_while_it_has_live_rows(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = mailbox(scripted)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        user.delete("Work")
        mirror.conn.execute("update accounts set next_discovery_at = now()")
        mirror.hot()
        assert mirror.folder("Work").missing_since
        report = compare(mirror)
    assert report.different  # or at least a line that names the folder and the end of its grace
    assert "Work" in describe(report)


@pytest.mark.parametrize("column", ["live_count", "live_unseen"])
def test_a_count_column_that_drifted_is_a_difference(
    database_url: str, scripted: ScriptedServer, column: str
) -> None:
    user = mailbox(scripted)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.conn.execute(f"update folders set {column} = {column} + 1 where path = 'Work'".encode())
        report = compare(mirror)
    assert differences(report) == {column: 1}
    assert re.search(
        rf"^  (unread )?rows: \d counted, \d in the column {column}$", describe(report), re.MULTILINE
    )


def test_a_live_row_outside_of_the_window_is_a_difference(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    for number in range(3):
        user.folder("INBOX").add(message(number), date="01-Jan-2020 10:00:00 +0000")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.conn.execute("update accounts set sync_since = %s", [datetime(2024, 1, 1, tzinfo=UTC)])
        report = compare(mirror)
    assert (differences(report, "INBOX") or {}) != {}


def test_a_live_row_of_another_uidvalidity_is_a_difference(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = mailbox(scripted)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.conn.execute(
            "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date)"
            " select account_id, id, 5, 1, now() from folders where path = 'Work'"
        )
        report = compare(mirror)
    assert (differences(report) or {}) != {}


def test_a_value_that_is_not_there_is_called_none_whichever_it_is(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = mailbox(scripted)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.conn.execute("update messages set size_bytes = null where uid = 5")
        assert "on the server, none here" in describe(compare(mirror))


def test_a_folder_that_the_server_does_not_have_any_more_is_called_gone(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = mailbox(scripted)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        user.delete("Work")
        report = compare(mirror)
    assert differences(report) == {"extra": 5}
    assert "  no such folder on the server; 5 rows, kept for FOLDER_MISSING_GRACE" in describe(report)
