"""``list-folders``, ``track-folder`` and ``untrack-folder``."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.support.commands import EMAIL, Synced, add, checked, section
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.mail import message
from tests.support.programs import Mailsync


def test_folders_are_left_out_and_taken_in_by_choice(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    dovecot.create(user, "Junk", "Work")
    for folder in ("INBOX", "Junk", "Work"):
        dovecot.seed(user, folder, [message(n) for n in range(2)])
    add(mailsync, dovecot, user)
    assert "No folder is known yet" in mailsync("list-folders", EMAIL).stdout
    mailsync("sync", EMAIL)

    def live() -> dict[str, int]:
        query = (
            "select f.path, count(*) from messages m join folders f on f.id = m.folder_id"
            " where deleted_at is null group by 1"
        )
        return dict(database.execute(query).fetchall())

    assert live() == {"INBOX": 2, "Work": 2}
    assert mailsync("track-folder", EMAIL, "Junk").returncode == 0
    done = mailsync("untrack-folder", EMAIL, "Work", "--json").json()
    assert (done["tracked"], done["tracked_by_user"]) == (False, False)
    mailsync("sync", EMAIL)
    assert live() == {"INBOX": 2, "Junk": 2}
    text = mailsync("list-folders", EMAIL).stdout
    assert "left out (by your choice)" in text
    mailsync("track-folder", EMAIL, "Work")
    mailsync("sync", EMAIL)
    assert live() == {"INBOX": 2, "Junk": 2, "Work": 2}
    refused = mailsync("untrack-folder", EMAIL, "inbox")
    assert refused.returncode == 2
    assert "INBOX is always mirrored" in refused.stderr
    unknown = mailsync("track-folder", EMAIL, "Nowhere")
    assert unknown.returncode == 1
    assert "no folder 'Nowhere'" in unknown.stderr


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


def test_a_mistyped_path_gets_a_suggestion(mailsync: Mailsync, synced: Synced) -> None:
    synced("Projects/Übersicht")
    done = mailsync("track-folder", EMAIL, "Project/übersicht")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("mailsync: no folder 'Project/übersicht'; did you mean 'Projects/Übersicht'?\n")
    done = mailsync("track-folder", EMAIL, "Nowhere")
    assert done.stderr == f"mailsync: no folder 'Nowhere'; see `mailsync list-folders {EMAIL}`\n"
