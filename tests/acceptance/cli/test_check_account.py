"""``check-account`` and ``list-folders``: what each folder holds, when it was compared, what is due when."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC
from typing import Any

import psycopg
import pytest

from mailsync.cli.terminal import width
from tests.support.mail import message
from tests.support.programs import Mailsync
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror

EMAIL = "ann@example.test"
NO_CONDSTORE = b"IMAP4rev1 LITERAL+ ID UNSELECT"

Synced = Callable[..., Mirror]


@pytest.fixture
def synced(database_url: str, scripted: ScriptedServer) -> Iterator[Synced]:
    """Mirror a mailbox of three messages in INBOX and two in Work, one of each read, with more `folders`."""
    with contextlib.ExitStack() as stack:

        def sync(*folders: str) -> Mirror:
            user = scripted.new_user(EMAIL)
            for path in ("INBOX", "Work"):
                folder = user.folder("INBOX") if path == "INBOX" else user.create(path)
                for number in range(3 if path == "INBOX" else 2):
                    folder.add(message(number), *([rb"\Seen"] if number == 0 else []))
            for path in folders:
                user.create(path)
            mirror = stack.enter_context(Mirror(database_url, scripted, user))
            mirror.settle()
            return mirror

        yield sync


def checked(mailsync: Mailsync, **env: str | None) -> str:
    done = mailsync("check-account", EMAIL, "--verbose", env={"COLUMNS": "80", **env})
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def section(text: str, path: str) -> str:
    """The lines of one folder, joined: that of its counts and those below it."""
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(path + " "))
    more = []
    for line in lines[at + 1 :]:
        if not line.startswith("  "):
            break
        more.append(line.strip())
    return " ".join([*lines[at].split(), *more])


def test_a_healthy_account_says_what_it_promises_and_until_when(
    mailsync: Mailsync, synced: Synced, database: psycopg.Connection[Any]
) -> None:
    synced()
    text = checked(mailsync)
    assert text.startswith(f"✓ {EMAIL} is healthy since 20")
    assert "verified  equal to the server; valid until 20" in text
    assert f"account   {EMAIL} (id 1)" in text
    assert "offers LIST-STATUS, CONDSTORE, QRESYNC" in text
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


def test_without_condstore_the_next_flag_scan_is_told(
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
    # but not for a folder that failed
    database.execute("update folders set last_error = 'NO', retry_at = now() + interval '5 min'")
    assert checked(mailsync).count("compared 3d ago") == 2


def test_what_is_wrong_with_a_folder_is_told_with_what_follows(
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
    for path, said in expected.items():
        assert all(one in section(text, path) for one in said), section(text, path)
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


def test_hostile_names_garble_nothing_and_can_be_chosen_as_they_are_shown(
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
        # columns stay where they are: the lines of counts all end in the same place
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


def test_who_holds_the_lock_and_who_waits_is_told(
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
def test_what_comes_next_for_the_account_is_told(
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


def test_a_choice_says_when_it_takes_effect_and_what_becomes_of_the_rows(
    mailsync: Mailsync, synced: Synced
) -> None:
    mirror = synced("Junk")
    out = mailsync("untrack-folder", EMAIL, "Work").stdout
    assert out == (
        "✓ Work is left out: the next sync makes its 2 rows tombstones, which are kept for 30 days\n"
    )
    taken = mailsync("track-folder", EMAIL, "Junk").stdout
    assert taken == "✓ Junk is mirrored: the next sync fetches its messages\n"
    text = checked(mailsync)
    assert "its rows become tombstones at the next sync" in section(text, "Work")
    assert "mirrored by your choice; the rules would leave it out (junk)" in section(text, "Junk")
    mirror.hot()
    assert "left out already" in mailsync("untrack-folder", EMAIL, "Work").stdout
    assert "is mirrored already" in mailsync("track-folder", EMAIL, "Junk").stdout


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
