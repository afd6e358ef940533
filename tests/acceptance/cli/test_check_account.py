"""``check-account``: what is wrong, since when and what to do; with --verbose, all that is known."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import psycopg
import pytest

from mailsync.cli.terminal import width
from tests.support.commands import EMAIL, Synced, checked, section
from tests.support.programs import Mailsync
from tests.support.scripted import ScriptedServer

NO_CONDSTORE = b"IMAP4rev1 LITERAL+ ID UNSELECT"


def test_what_is_wrong_comes_first_with_its_age_and_the_remedy(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any]
) -> None:
    synced("Refused")
    database.execute(
        "update accounts set sync_state = 'broken', sync_state_reason = 'auth_failed',"
        " sync_state_message = 'LOGIN failed', sync_state_since = now() - interval '3 days'"
    )
    database.execute("update folders set last_error = 'NO [NOPERM] not for you' where path = 'Refused'")
    lines = mailsync("check-account", EMAIL, env={"COLUMNS": "80"}).stdout.splitlines()
    assert lines[0].startswith(f"✗ {EMAIL} is broken (auth_failed) since 20")
    assert lines[0].endswith("Z (3d)")
    assert lines[1] == "problem   LOGIN failed"
    assert lines[2] == "to do     Enter a password that the server accepts: `mailsync set-password"
    assert f"next      nothing until you run `mailsync set-password {EMAIL}`" in lines
    assert "folders   Refused: error: NO [NOPERM] not for you" in lines
    assert lines[-1] == f"Details: mailsync check-account {EMAIL} --verbose"
    assert not any(line.startswith(("LAST RUNS", "server", "FOLDER ")) for line in lines)


@pytest.mark.parametrize("columns", [60, 80])
def test_tables_fit_and_keep_their_numbers(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any], columns: int
) -> None:
    synced("A folder with a name of several words, which is long/and a folder below it")
    database.execute("update folders set live_count = 1234567, server_messages = 7654321")
    database.execute(
        "update accounts set sync_state = 'degraded', sync_state_reason = 'uidvalidity_reset_limit'"
    )
    for command in (
        ("check-account", EMAIL, "--verbose"),
        ("list-folders", EMAIL),
        ("list-accounts",),
        ("status",),
    ):
        text = mailsync(*command, env={"COLUMNS": str(columns)}).stdout
        assert max(map(width, text.splitlines())) <= columns, text
        assert "degraded (uidv…" not in text
        if "FOLDER " in text:
            assert text.count("1,234,567") == 3, text


def test_a_healthy_account_shows_how_long_that_is_valid(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any]
) -> None:
    synced()
    text = checked(mailsync)
    assert text.startswith(f"✓ {EMAIL} is healthy since 20")
    assert "verified  equal to the server; valid until 20" in text
    assert f"account   {EMAIL} (id 1)" in text
    assert "offers LIST-STATUS, CONDSTORE, QRESYNC" in text
    assert "NOTIFY, IDLE" in text
    assert "failures  none" in text
    assert "lock      free" in text
    assert "folder list in 15min" in text or "folder list in 14min" in text
    until = mailsync("check-account", EMAIL, "--json").json()["account"]["healthy_until"]
    (stored,) = database.execute("select healthy_until from accounts").fetchone() or (None,)
    assert stored is not None
    assert until == stored.astimezone(UTC).isoformat().replace("+00:00", "Z")


def test_each_folder_shows_both_sides_and_what_is_due(mailsync: Mailsync, synced: Synced) -> None:
    synced()
    text = checked(mailsync)
    inbox = section(text, "INBOX")
    assert inbox.startswith("INBOX complete 3 2 3 2 inbox, priority 1; compared ")
    assert "flags: by CHANGEDSINCE; reconciled equal " in inbox
    assert "next in 6h" in inbox
    assert section(text, "Work").startswith("Work complete 2 1 2 1 compared ")
    assert "RUNS" in text


def test_without_condstore_the_next_flag_scan_is_shown(
    mailsync: Mailsync, scripted: ScriptedServer, synced: Synced, database: psycopg.Connection[Any]
) -> None:
    scripted.capabilities = NO_CONDSTORE
    synced()
    database.execute(
        "update folders set next_flag_scan_at = now() - interval '1 second' where path = 'INBOX'"
    )
    text = checked(mailsync)
    assert "lacks LIST-STATUS, CONDSTORE" in text
    assert "flags: by scan, due now" in section(text, "INBOX")
    assert "flags: by scan, in 6h" in section(text, "Work")
    folders = mailsync("check-account", EMAIL, "--json").json()["folders"]
    assert {f["path"]: f["flags_by"] for f in folders} == {"INBOX": "scan", "Work": "scan"}
    assert all(f["next_flag_scan_at"] and f["compared_at"] for f in folders)


def test_a_quiet_tick_counts_as_a_comparison_though_it_writes_no_folder_row(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any]
) -> None:
    mirror = synced()
    database.execute("update folders set last_synced_at = now() - interval '3 days'")
    mirror.hot()
    (row,) = database.execute("select min(last_synced_at) < now() - interval '2 days' from folders")
    assert row == (True,)
    assert "compared 3d ago" not in checked(mailsync)
    for folder in mailsync("check-account", EMAIL, "--json").json()["folders"]:
        assert folder["compared_at"] > folder["last_synced_at"]
    # A folder that failed was not compared.
    database.execute("update folders set last_error = 'NO', retry_at = now() + interval '5 min'")
    assert checked(mailsync).count("compared 3d ago") == 2


def test_the_problem_of_a_folder_is_shown_with_its_consequence(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any]
) -> None:
    synced("Broken", "Gone", "Lost", "Many", "Half", "Doubt", "Unequal")
    changes = {
        "Broken": "last_error = 'NO [NOPERM] not for you', retry_at = now() + interval '299 s'",
        "Gone": "missing_since = now() - interval '2 days', live_count = 3",
        "Lost": "missing_since = now() - interval '9 days', status = 'missing'",
        "Many": "tracked = false, excluded_reason = 'too_many_folders'",
        "Half": "status = 'initial', initial_remaining = 120, server_messages = 200, live_count = 80,"
        " initial_oldest_uid = 121",
        "Doubt": "suspect_deletion = 'x', suspect_deletion_at = '2026-01-02 03:04:05Z'",
        "Unequal": "last_reconcile_clean = false, next_reconcile_at = now()",
    }
    for path, change in changes.items():
        database.execute(f"update folders set {change} where path = '{path}'".encode())
    text = checked(mailsync)
    assert "5 of 6 folders complete, 2 gone from server" in " ".join(text.split())
    expected = {
        "Broken": ("Broken error", "error: NO [NOPERM] not for you (tried again in 5min)"),
        "Gone": ("Gone gone from server", "become tombstones in 5d unless it comes back"),
        "Lost": ("Lost gone from server", "it has no live rows"),
        "Many": ("Many left out (too_many_folders)", "raise it, or choose folders with"),
        "Half": ("Half first sync 40% 200 0 80", "mirrored from UID 121"),
        "Doubt": ("Doubt complete", "seemed deleted at 2026-01-02T03:04:05Z"),
        "Unequal": ("Unequal complete", "reconciled NOT equal"),
    }  # fmt: skip
    for path, parts in expected.items():
        assert all(part in section(text, path) for part in parts), section(text, path)
    assert "next due now" in section(text, "Unequal")
    listed = " ".join(mailsync("list-folders", EMAIL).stdout.split())
    for wanted in (
        "left out (too_many_folders)",
        "raise it, or choose",
        "become tombstones in 5d",
        "not for you",
    ):
        assert wanted in listed
    documents = {f["path"]: f for f in mailsync("check-account", EMAIL, "--json").json()["folders"]}
    assert documents["Half"]["percent"] == 40
    assert documents["Gone"]["missing_grace_ends_at"] > documents["Gone"]["missing_since"]
    assert documents["Broken"]["retry_at"]
    assert documents["Doubt"]["suspect_deletion_at"] == "2026-01-02T03:04:05Z"


def test_hostile_names_garble_nothing_and_can_be_copied_from_the_list(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any]
) -> None:
    names = ["evil\x1b[31m\x07\nred", "日本語の長い名前" * 30, "שלום עולם", "ab\u202ecd", "x" * 300]
    synced(*[f"n{at}" for at in range(len(names))])
    for at, name in enumerate(names):
        database.execute("update folders set path = %s where path = %s", [name, f"n{at}"])
    database.execute("update folders set last_error = %s where path like 'x%%'", ["NO " + "w\x1b[2J" * 90])
    for command in (("check-account", EMAIL, "--verbose"), ("list-folders", EMAIL)):
        done = mailsync(*command, env={"COLUMNS": "80"})
        assert done.returncode == 0
        assert not set("\x1b\x07\u202e") & set(done.stdout)
        assert max(map(width, done.stdout.splitlines())) <= 80
        # The columns stay aligned: all lines with counts have the same width.
        lines = done.stdout.partition("FOLDER ")[2].partition("\n\n")[0].splitlines()
        counts = [line for line in lines[1:] if not line.startswith(" ")]
        assert len(counts) == 2 + len(names)
        assert len(set(map(width, counts))) == 1
        assert "\u200eשלום עולם\u200e" in done.stdout
    database.execute("update folders set path = 'c1 \x9b2J' where path = %s", ["ab\u202ecd"])
    listed = mailsync("list-folders", EMAIL, "--json")
    assert "c1 \x9b2J" in [folder["path"] for folder in listed.json()["folders"]]
    assert not set("\x1b\x9b\u202e") & set(listed.stdout) and names[1] in listed.stdout
    chosen = mailsync("untrack-folder", EMAIL, "evil\ufffd[31m\ufffd red", "--json")
    assert (chosen.returncode, chosen.json()["path"]) == (0, names[0])
    database.execute("update folders set path = %s where path = %s", ["evil\x1b[31m\x08\nred", "x" * 300])
    unsure = mailsync("untrack-folder", EMAIL, "evil\ufffd[31m\ufffd red")
    assert unsure.returncode == 2
    assert "2 folders are shown as" in unsure.stderr


def test_the_holder_of_the_lock_and_the_waiters_are_shown(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any]
) -> None:
    synced()
    database.execute(
        "update accounts set currently_syncing = true, sync_started_by = 'far:7:worker',"
        " last_sync_started_at = now() - interval '12 s', heartbeat_at = now() - interval '3 s'"
    )
    database.execute("set application_name = 'mailsync-worker'")
    database.execute("select pg_advisory_lock(hashtext(current_schema()), 1)")
    text = checked(mailsync)
    assert "lock      held by far:7:worker for " in text
    assert "heartbeat " in text
    lock = mailsync("check-account", EMAIL, "--json").json()["lock"]
    assert 12 <= lock["held_seconds"] < 60
    assert (lock["waiters"], lock["started_by"]) == (0, "far:7:worker")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            "paused_at = now(), paused_reason = 'moving'",
            f"next      nothing until you run `mailsync resume-account {EMAIL}`",
        ),
        (
            "sync_state = 'broken', sync_state_reason = 'auth_failed', sync_state_message = 'No'",
            f"next      nothing until you run `mailsync set-password {EMAIL}`",
        ),
        (
            "sync_state = 'degraded', sync_state_reason = 'unreachable', sync_state_message = 'no route',"
            " consecutive_failures = 4, backoff_until = now() + interval '290 s'",
            "failures  4 in a row; waits until ",
        ),
        (
            "healthy_until = now() - interval '1 s', next_sync_at = now() - interval '1 h'",
            "next      sync due now; is a worker running? see `mailsync status`; ",
        ),
        ("sync_window_days = 30", "window    only mail of 30 days is mirrored; the server's counts "),
    ],
)
def test_what_comes_next_for_the_account_is_shown(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any], change: str, wanted: str
) -> None:
    synced()
    database.execute(f"update accounts set {change}".encode())
    assert any(line.startswith(wanted) for line in checked(mailsync).splitlines()), checked(mailsync)


def test_an_error_is_shown_however_many_runs_went_well_since(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any]
) -> None:
    synced()
    database.execute(
        "insert into sync_runs (account_id, trigger, worker, status, started_at, finished_at, error_code,"
        " error_message) values (1, 'schedule', 'w', 'failed', now() - interval '3 h', now(), 'unreachable',"
        " 'no route to host')"
    )
    database.execute(
        "insert into sync_runs (account_id, trigger, worker, status, started_at, finished_at)"
        " select 1, 'schedule', 'w', 'success', now() - interval '1 h', now() from generate_series(1, 9)"
    )
    assert "  3h ago, unreachable: no route to host" in checked(mailsync).splitlines()
    document = mailsync("check-account", EMAIL, "--json").json()
    assert document["last_failure"]["error_code"] == "unreachable"
    assert all(run["error_code"] is None for run in document["runs"])


def test_pausing_again_keeps_the_first_reason_unless_there_is_another(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any]
) -> None:
    synced()

    def reason() -> object:
        row = database.execute("select paused_reason from accounts").fetchone()
        return row and row[0]

    mailsync("pause-account", EMAIL, "--reason", "moving")
    again = mailsync("pause-account", EMAIL).stdout
    assert again.startswith(f"✓ {EMAIL} is paused already, since 20")
    assert reason() == "moving"
    mailsync("pause-account", EMAIL, "--reason", "moved")
    assert reason() == "moved"
    mailsync("pause-account", EMAIL, "--reason", "")
    assert reason() is None
    assert mailsync("resume-account", EMAIL).stdout == f"✓ Resumed {EMAIL}\n"
    assert "was not paused" in mailsync("resume-account", EMAIL).stdout
