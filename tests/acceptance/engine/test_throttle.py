"""The limit of commands a minute applies to all processes together, and a first sync still makes progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.mirrors import add_account, live_uids
from tests.support.patience import pause
from tests.support.programs import Mailsync, Running
from tests.support.scripted import ScriptedServer

LIMIT = 60
WATCHED = 68.0  # seconds: some windows of a whole minute


@pytest.mark.long
def test_all_processes_together_stay_below_the_command_limit_in_any_60_seconds(
    mailsync: Mailsync,
    scripted: ScriptedServer,
    database: psycopg.Connection[Any],
    start_worker: Callable[..., Running],
) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    for n in range(3_000):
        inbox.add(mail.message(n))
    account = add_account(mailsync, scripted, user)
    env = {"IMAP_MAX_COMMANDS_PER_MINUTE": str(LIMIT), "SYNC_INTERVAL": "5s", "FETCH_BATCH": "10"}
    began = time.monotonic()
    workers = [start_worker(**env) for _ in range(2)]
    workers[0].wait_for(lambda: live_uids(database, account))
    command = mailsync.start("sync", user.name, **env)
    halfway: list[int] = []
    arrived: list[int] = []

    while time.monotonic() - began < WATCHED:
        pause(1, "commands are counted for longer than a minute")
        if not halfway and time.monotonic() - began > WATCHED / 2:
            halfway = live_uids(database, account)
            arrived = [inbox.add(mail.message(n)) for n in range(3)]

    sent = len(scripted.journal.commands())
    most = scripted.journal.busiest_minute(user.name)
    assert most <= LIMIT, f"{most} commands in a minute"
    assert sent > LIMIT * 0.75, f"only {sent} commands in {WATCHED:g} s"
    assert all(worker.returncode is None for worker in workers) and command.returncode is None
    workers[0].wait_for(lambda: set(arrived) <= set(live_uids(database, account)))
    assert len(live_uids(database, account)) - len(arrived) > len(halfway) > 0
    assert not scripted.journal.interleavings()
