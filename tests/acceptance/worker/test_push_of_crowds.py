"""Hundreds of parked sessions in one worker: told at once, cut at once, stopped at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest

from mailsync.model import Endpoint
from mailsync.store import accounts, db
from tests.support import mail
from tests.support.certificates import Authority
from tests.support.crowd_server import CrowdServer
from tests.support.dovecot import Dovecot
from tests.support.habits import CAPABILITIES, Habits
from tests.support.imap_server import User
from tests.support.mirrors import value
from tests.support.patience import Stopwatch
from tests.support.profiles import exchange_online
from tests.support.programs import ENCRYPTION_KEY, Running
from tests.support.stored import settings_for

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]

CROWD = 500
MANY = {"SYNC_MAX_ACCOUNTS": "1000"}
HOURLY = {"SYNC_INTERVAL": "1h", "PUSHED_SYNC_INTERVAL": "1h"}
PARKED = "select count(*) from account_status where push <> 'none'"
STATES = "select count(*) from sync_events where type = 'account.state_changed'"


@pytest.fixture
def crowd(authority: Authority) -> Iterator[CrowdServer]:
    server = CrowdServer(Habits(capabilities=CAPABILITIES + b" NOTIFY IDLE"), authority.good())
    yield server
    server.stop()


def add(database_url: str, server: CrowdServer | Dovecot, users: Sequence[User]) -> None:
    """Add the users' accounts, without a login for each."""
    settings = settings_for(database_url, imap_encryption_key=ENCRYPTION_KEY, sync_max_accounts=1000)
    with db.connect(settings, "test") as conn:
        for user in users:
            security = server.security if isinstance(server, CrowdServer) else "plaintext"
            endpoint = Endpoint(server.host, server.port, security, user.name)
            accounts.create(conn, accounts.NewAccount(user.name, endpoint), user.password, settings)


def messages(database: Database) -> int:
    """The number of live messages of all accounts."""
    return int(value(database, "select count(*) from messages where deleted_at is null"))


@pytest.mark.long
def test_five_hundred_parked_sessions_are_told_cut_and_stopped(
    database_url: str,
    crowd: CrowdServer,
    authority: Authority,
    database: Database,
    start_worker: StartWorker,
) -> None:
    users = crowd.add_users(CROWD)
    add(database_url, crowd, users)
    # a session has to live for a minute before its end to be opened again at once
    worker = start_worker(
        SYNC_INTERVAL="20s", PUSHED_SYNC_INTERVAL="1h", IMAP_CA_FILE=str(authority.ca_file), **MANY
    )
    worker.wait_for(lambda: value(database, PARKED) == CROWD)
    worker.wait_for(lambda: value(database, "select bool_and(sync_state = 'healthy') from accounts"))
    states = value(database, STATES)

    crowd.deliver(*users[:100])
    worker.wait_for(lambda: messages(database) == CROWD + 100)

    crowd.forget()
    assert crowd.cut_all() == CROWD
    worker.wait_for(lambda: crowd.figures().parked == CROWD)
    figures = crowd.figures()
    assert max(figures.logins.values()) == 1 and len(figures.logins) == CROWD
    assert figures.conflicts == 0
    worker.wait_for(lambda: value(database, PARKED) == CROWD)
    assert value(database, STATES) == states

    worker.terminate()
    stopping = Stopwatch()
    assert worker.wait() == 0
    assert stopping.stop() < 2
    assert value(database, PARKED) == 0


@pytest.mark.long
def test_a_hundred_mailboxes_change_at_once(
    database_url: str, dovecot: Dovecot, database: Database, start_worker: StartWorker
) -> None:
    users = [dovecot.new_user() for _ in range(100)]
    for user in users:
        dovecot.seed(user, "INBOX", [mail.message(1)])
    add(database_url, dovecot, users)
    worker = start_worker(**HOURLY, **MANY)
    worker.wait_for(lambda: value(database, PARKED) == len(users))
    worker.wait_for(lambda: value(database, "select bool_and(sync_state = 'healthy') from accounts"))
    appended = {}
    for user in users:
        dovecot.append(user, "INBOX", mail.message(2))
        appended[user.name] = time.time()
    worker.wait_for(lambda: messages(database) == 2 * len(users))
    stored = dict(
        database.execute(
            "select a.email, extract(epoch from max(m.created_at))::float8 from accounts a"
            " join messages m on m.account_id = a.id group by a.email"
        ).fetchall()
    )
    delays = sorted(stored[name] - at for name, at in appended.items())
    print(f"from APPEND to row: p50 {delays[50]:.2f} s, p95 {delays[95]:.2f} s, at most {delays[-1]:.2f} s")


@pytest.mark.long
def test_exchange_tells_hundreds_of_inboxes_by_idle(
    database_url: str,
    authority: Authority,
    database: Database,
    start_worker: StartWorker,
) -> None:
    profile = exchange_online()
    server = CrowdServer(profile.habits, certificate=authority.good())
    users = server.add_users(200, profile.folders)
    add(database_url, server, users)
    worker = start_worker(SYNC_INTERVAL="1h", IMAP_CA_FILE=str(authority.ca_file), **MANY)
    worker.wait_for(lambda: value(database, PARKED) == len(users))
    before = messages(database)
    server.deliver(*users)
    worker.wait_for(lambda: messages(database) == before + len(users))
    assert server.figures().conflicts == 0
    server.stop()
