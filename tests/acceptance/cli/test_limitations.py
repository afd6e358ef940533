"""The lines that people read about servers that show folders in part, give new UIDs, or refuse a message."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.support.commands import EMAIL, add
from tests.support.imap_text import in_set
from tests.support.limited import hide_from_fetches, hide_from_searches
from tests.support.mailboxes import Account
from tests.support.programs import Mailsync
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.session import Request
from tests.support.turns import letters


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    """An inbox with 25 messages."""
    user = scripted.new_user()
    letters(user, 25)
    return user


PARTIAL = "INBOX: the server shows 10 of 25 messages"


def test_a_folder_that_is_shown_in_part_is_named_by_every_command(
    mailsync: Mailsync, scripted: ScriptedServer, user: Account
) -> None:
    hide_from_searches(scripted, *range(1, 16))
    hide_from_fetches(scripted, *range(1, 16))
    add(mailsync, scripted, user)
    for _ in range(2):
        synced = mailsync("sync", EMAIL)
        assert synced.returncode == 1
        assert f"✗ {EMAIL}: 10 messages in 1 folder" in synced.stdout
        assert [line for line in synced.stderr.splitlines() if not line.startswith("  ")] == [
            f"mailsync: {PARTIAL}"
        ]
    document = json.loads(mailsync("sync", EMAIL, "--json").stdout)
    assert document["limitations"] == {"INBOX": PARTIAL}
    assert (document["sync_state"], document["sync_state_reason"]) == ("degraded", "partial_view")

    verified = mailsync("verify", EMAIL)
    assert verified.returncode == 1
    assert "1 shown in part by the server" in verified.stdout
    assert "gone on the server" not in verified.stdout
    checked = mailsync("check-account", EMAIL).stdout
    assert f"✗ {EMAIL} is degraded (partial_view)" in " ".join(checked.split())
    assert PARTIAL in checked
    assert "partial_view" in mailsync("status").stdout
    assert "in part" in mailsync("list-folders", EMAIL).stdout


def test_rows_that_slid_out_of_the_view_are_no_differences(
    mailsync: Mailsync, scripted: ScriptedServer, user: Account
) -> None:
    scripted.capabilities = CAPABILITIES + b" MESSAGELIMIT=25 UIDONLY"
    add(mailsync, scripted, user)
    inbox = user.folder("INBOX")
    assert mailsync("sync", EMAIL).returncode == 0
    letters(user, 2)
    for uid in (1, 2):
        del inbox.mails[uid]
    synced = mailsync("sync", EMAIL)
    assert synced.returncode == 1
    said = "INBOX: the server shows only the newest 25 messages; 2 older ones are kept as they were"
    assert f"mailsync: {said}" in synced.stderr.splitlines()
    assert f"✗ {EMAIL}: 27 messages in 1 folder" in synced.stdout
    verified = mailsync("verify", EMAIL)
    assert verified.returncode == 1
    assert said.removeprefix("INBOX: ") in verified.stdout
    assert "1 difference" in verified.stdout


def test_uids_that_are_not_sticky_are_said(
    mailsync: Mailsync, scripted: ScriptedServer, user: Account
) -> None:
    scripted.on("EXAMINE", lambda request: b"* NO [UIDNOTSTICKY] none\r\n" + request.default())
    add(mailsync, scripted, user)
    synced = mailsync("sync", EMAIL)
    assert synced.returncode == 1
    assert sum("UIDNOTSTICKY" in line for line in synced.stderr.splitlines()) == 1
    assert "(uids_not_sticky)" in mailsync("check-account", EMAIL).stdout
    verified = mailsync("verify", EMAIL)
    assert verified.returncode == 1
    assert "INBOX: 1 cannot be compared\n  the server numbers its messages differently" in verified.stdout


def test_shared_folders_are_listed_and_can_be_chosen(
    mailsync: Mailsync, scripted: ScriptedServer, user: Account
) -> None:
    scripted.capabilities = CAPABILITIES + b" NAMESPACE"
    answer = b'* NAMESPACE (("" "/")) (("user/" "/")) (("shared/" "/"))\r\n'
    scripted.on("NAMESPACE", lambda request: answer + request.tagged(b"OK done"))
    letters(user, 3, "shared/sales")
    add(mailsync, scripted, user)
    assert "25 messages in 1 folder" in mailsync("sync", EMAIL).stdout
    assert "left out (other_namespace)" in mailsync("list-folders", EMAIL).stdout
    assert mailsync("verify", EMAIL).returncode == 0
    assert mailsync("track-folder", EMAIL, "shared/sales").returncode == 0
    assert "28 messages in 2 folders" in mailsync("sync", EMAIL).stdout


def test_messages_of_turns_that_ran_out_of_commands_count_as_new(
    mailsync: Mailsync, scripted: ScriptedServer, database: psycopg.Connection[Any]
) -> None:
    user = scripted.new_user()
    letters(user, 40)
    add(mailsync, scripted, user)

    def fetch(request: Request) -> bytes:
        wanted = in_set(request.text.split()[0], 40)
        refuses = any(first <= 7 <= last for first, last in wanted)
        return request.tagged(b"NO cannot read") if refuses else request.default()

    scripted.on("UID FETCH", fetch)
    # a turn leaves a quarter of the burst of 1,500 to others, so that the first one runs out
    database.execute("update mailsync.accounts set throttle_tokens = 388, throttle_at = now()")
    synced = mailsync("sync", EMAIL, env={"IMAP_MAX_COMMANDS_PER_MINUTE": "6000"})
    assert "waiting" in synced.stderr
    assert f"{EMAIL}: 40 messages in 1 folder (40 new)" in synced.stdout
