"""Parked sessions: several workers, commands beside them, signals, and a database that goes away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.api import StartApi
from tests.support.habits import CAPABILITIES
from tests.support.mailboxes import Account
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.patience import Stopwatch, stays
from tests.support.programs import Mailsync, Running
from tests.support.proxy import Proxy
from tests.support.scripted import ScriptedServer

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]
StartScripted = Callable[..., ScriptedServer]

HOURLY = {"SYNC_INTERVAL": "1h", "PUSHED_SYNC_INTERVAL": "1h"}


@pytest.fixture
def server(scripted_with: StartScripted) -> ScriptedServer:
    return scripted_with(capabilities=CAPABILITIES + b" NOTIFY IDLE")


def ready(server: ScriptedServer) -> Account:
    user = server.new_user()
    user.create("Archive")
    for folder in user.folders.values():
        folder.add(mail.message(1))
    return user


def wait_for_push(worker: Running, database: Database, *accounts: int) -> None:
    for account in accounts:
        worker.wait_for(lambda account=account: is_healthy(database, account))
    query = "select count(*) from account_status where push = 'notify'"
    worker.wait_for(lambda: value(database, query) == len(accounts))


def begin(
    mailsync: Mailsync, server: ScriptedServer, database: Database, start_worker: StartWorker
) -> tuple[Account, int, Running]:
    """Start a worker that ticks once an hour, and wait until it listens to a new user's account."""
    user = ready(server)
    account = add_account(mailsync, server, user)
    worker = start_worker(**HOURLY)
    wait_for_push(worker, database, account)
    return user, account, worker


def test_a_quiet_account_costs_no_command(
    mailsync: Mailsync, server: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user, account, worker = begin(mailsync, server, database, start_worker)
    # the turns that end a first sync follow each other at once
    worker.wait_for(lambda: value(database, "select next_sync_at > now() + interval '30 min' from accounts"))
    before = server.journal.counts()
    stays(lambda: server.journal.counts() == before, "no command of a quiet account", 3)

    user.folder("Archive").add(mail.message(2))
    worker.wait_for(lambda: live_uids(database, account, "Archive") == [1, 2])
    cost = server.journal.counts() - before
    assert cost.total() <= 4 and not cost["STATUS"] and not cost["LIST"], cost


def test_commands_beside_a_worker_do_not_disturb_what_it_listens_to(
    mailsync: Mailsync,
    server: ScriptedServer,
    database: Database,
    start_worker: StartWorker,
    start_api: StartApi,
) -> None:
    user, account, worker = begin(mailsync, server, database, start_worker)
    holder = value(database, "select parked_by from accounts")

    assert mailsync("sync", user.name).returncode == 0
    message = value(database, "select min(id) from messages")
    assert start_api().call("GET", f"/v1/messages/{message}/body").status == 200
    assert value(database, "select parked_by from accounts") == holder
    assert len(server.parked(user)) == 1
    user.folder("INBOX").add(mail.message(2))
    worker.wait_for(lambda: live_uids(database, account) == [1, 2])
    assert not server.speaking_conflicts


@pytest.mark.long
def test_a_woken_account_goes_to_the_worker_that_listens(
    mailsync: Mailsync, server: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    users = [ready(server) for _ in range(4)]
    accounts = [add_account(mailsync, server, user) for user in users]
    first, second = start_worker(**HOURLY), start_worker(**HOURLY)
    wait_for_push(first, database, *accounts)
    # the turns that end a first sync follow each other at once, in any worker
    due = "select count(*) from accounts where next_sync_at < now() + interval '30 min' or currently_syncing"
    first.wait_for(lambda: not value(database, due))
    holders = dict(database.execute("select id, parked_by from accounts").fetchall())
    for number in (2, 3):
        for user in users:
            user.folder("Archive").add(mail.message(number))
        for account in accounts:
            first.wait_for(lambda account=account, n=number: live_uids(database, account, "Archive")[-1] == n)
    assert dict(database.execute("select id, parked_by from accounts").fetchall()) == holders
    assert not server.speaking_conflicts
    for worker in (first, second):
        worker.terminate()
        assert worker.wait() == 0


@pytest.mark.long
def test_the_accounts_of_a_killed_worker_are_taken_over(
    mailsync: Mailsync, server: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = ready(server)
    account = add_account(mailsync, server, user)
    first = start_worker(SYNC_INTERVAL="1s", PUSHED_SYNC_INTERVAL="1h")
    wait_for_push(first, database, account)
    first.kill9()
    user.folder("INBOX").add(mail.message(2))
    second = start_worker(SYNC_INTERVAL="1s", PUSHED_SYNC_INTERVAL="1h")
    second.wait_for("Ready")
    # as if a minute had passed since its last sign of life
    old = value(database, "select parked_by from accounts")
    query = "update workers set heartbeat_at = now() - interval '2 min' where worker = %s"
    database.execute(query, [old])
    second.wait_for(lambda: live_uids(database, account) == [1, 2])
    second.wait_for(lambda: value(database, "select parked_by from accounts") not in (None, old))


def test_a_stop_ends_parked_sessions_at_once(
    mailsync: Mailsync, server: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    users = [ready(server) for _ in range(3)]
    accounts = [add_account(mailsync, server, user) for user in users]
    worker = start_worker(**HOURLY)
    wait_for_push(worker, database, *accounts)
    worker.terminate()
    stopping = Stopwatch()
    assert worker.wait() == 0
    assert stopping.stop() < 2
    assert not server.open_connections
    columns = "parked_by is null and parked_at is null and parked_kind is null and tick_seconds is null"
    assert value(database, f"select bool_and({columns}) from accounts")


def test_a_pause_ends_the_listening_and_a_resume_begins_it_again(
    mailsync: Mailsync, server: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user, account, worker = begin(mailsync, server, database, start_worker)
    assert mailsync("pause-account", user.name).returncode == 0
    assert value(database, "select push from account_status") == "none"
    worker.wait_for(lambda: not server.open_connections)
    user.folder("INBOX").add(mail.message(2))
    assert mailsync("resume-account", user.name).returncode == 0
    worker.wait_for(lambda: live_uids(database, account) == [1, 2])
    wait_for_push(worker, database, account)


def test_a_removed_account_is_listened_to_no_more(
    mailsync: Mailsync, server: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user, _, worker = begin(mailsync, server, database, start_worker)
    assert mailsync("remove-account", user.name, "--yes").returncode == 0
    worker.wait_for(lambda: not server.open_connections)


def test_a_lost_database_loses_no_wake(
    mailsync: Mailsync,
    server: ScriptedServer,
    database: Database,
    start_worker: StartWorker,
    postgres_proxy: tuple[Proxy, str],
) -> None:
    proxy, url = postgres_proxy
    users = [ready(server) for _ in range(2)]
    accounts = [add_account(mailsync, server, user) for user in users]
    worker = start_worker(DATABASE_URL=url, **HOURLY)
    wait_for_push(worker, database, *accounts)

    # while nothing happens
    proxy.refusing = True
    proxy.reset()
    worker.wait_for("Database lost; reconnecting")
    users[0].folder("INBOX").add(mail.message(2))
    proxy.refusing = False
    worker.wait_for(lambda: live_uids(database, accounts[0]) == [1, 2])

    # in the middle of a wake
    def lose(request: Any) -> bytes:
        proxy.reset()
        answer: bytes = request.default()
        return answer

    server.on("UID FETCH", lose, times=1)
    users[1].folder("INBOX").add(mail.message(3))
    worker.wait_for(lambda: live_uids(database, accounts[1]) == [1, 2])
    worker.wait_for("Database connected again")
    wait_for_push(worker, database, *accounts)


@pytest.mark.long
def test_sessions_that_all_end_at_once_come_back_one_after_another(
    mailsync: Mailsync, server: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    users = [ready(server) for _ in range(10)]
    accounts = [add_account(mailsync, server, user) for user in users]
    worker = start_worker(SYNC_INTERVAL="5s", PUSHED_SYNC_INTERVAL="1h", LOG_FORMAT="json")
    wait_for_push(worker, database, *accounts)
    events = value(database, "select count(*) from sync_events where type = 'account.state_changed'")
    before = server.journal.counts()["LOGIN"]
    for user in users:
        user.folder("INBOX").add(mail.message(2))
    server.bye()
    for account in accounts:
        worker.wait_for(lambda account=account: live_uids(database, account) == [1, 2])
    wait_for_push(worker, database, *accounts)
    assert server.journal.counts()["LOGIN"] == before + len(users), "no account logs in twice"
    after = value(database, "select count(*) from sync_events where type = 'account.state_changed'")
    assert after == events
