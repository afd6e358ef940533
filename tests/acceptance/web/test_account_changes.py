"""Accounts over HTTP: change, pause, reset, sync and remove; a running worker reacts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from mailsync.config.fields import read_key
from mailsync.errors import KeyMismatch
from mailsync.model import Endpoint
from mailsync.store import crypto
from tests.support import planted
from tests.support.account_client import Client, lock_held, mailbox, row, unverified
from tests.support.api import StartApi
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.mail import message
from tests.support.mirrors import is_healthy, live_uids, value
from tests.support.patience import Stopwatch
from tests.support.programs import ENCRYPTION_KEY, Running
from tests.support.run_directory import wait_until

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]

SLOW = {"SYNC_INTERVAL": "1h", "BACKFILL_TURN_MAX": "5s"}
"""A worker that does nothing for an hour unless it is woken."""


@pytest.fixture
def client(start_api: StartApi) -> Iterator[Client]:
    api = start_api(WEB_CONCURRENCY="2", BODY_LOCK_WAIT="1s", LOG_LEVEL="DEBUG")
    yield Client(api)
    api.process.terminate()
    assert api.process.wait() == 0


@pytest.fixture
def user(dovecot: Dovecot) -> User:
    return dovecot.new_user()


def opened(stored: dict[str, Any], **changes: Any) -> str:
    """The account's password, decrypted for the endpoint in its row."""
    where = stored | changes
    endpoint = Endpoint(where["imap_host"], where["imap_port"], where["imap_security"], where["username"])
    key = read_key(ENCRYPTION_KEY)
    ciphertext = bytes.fromhex(stored["sealed"].removeprefix("\\x"))
    return crypto.unseal([key], where["id"], endpoint, crypto.key_id(key), ciphertext)


# -- the worker reacts --------------------------------------------------------------------------------------


def test_a_worker_starts_at_once_on_added_accounts_and_requested_syncs(
    client: Client, dovecot: Dovecot, user: User, database: Database, start_worker: StartWorker
) -> None:
    dovecot.seed(user, "INBOX", [message(n) for n in range(3)])
    start_worker(**SLOW).wait_for("Ready")
    account = client.add(dovecot, user)
    wait_until(lambda: len(live_uids(database, account)) == 3, "the first sync")
    wait_until(lambda: is_healthy(database, account), "health")
    dovecot.append(user, "INBOX", message(3))
    asked = client.done(202, "POST", f"/v1/accounts/{account}/sync")
    assert asked["id"] == account
    wait_until(lambda: len(live_uids(database, account)) == 4, "the sync")


def test_a_removed_account_disappears_at_once_and_the_worker_deletes_its_rows(
    client: Client, dovecot: Dovecot, user: User, database: Database, start_worker: StartWorker
) -> None:
    dovecot.seed(user, "INBOX", [message(n) for n in range(30)])
    account = client.add(dovecot, user)
    other = client.done(201, "POST", "/v1/accounts", unverified())["id"]
    worker = start_worker(**SLOW)
    wait_until(lambda: is_healthy(database, account), "health")
    with lock_held(database, account):
        # it waits for no lock
        removal = client.done(202, "DELETE", f"/v1/accounts/{account}")
        assert (removal["id"], removal["email"]) == (account, user.name)
        assert client.done(202, "DELETE", f"/v1/accounts/{account}") == removal
        client.refused(404, "not_found", "GET", f"/v1/accounts/{account}")
        for path in ("pause", "resume", "reset", "sync"):
            client.refused(404, "not_found", "POST", f"/v1/accounts/{account}/{path}")
        for change in ({"display_name": "x"}, {"password": user.password}):
            client.refused(404, "not_found", "PATCH", f"/v1/accounts/{account}", change)
        client.refused(404, "not_found", "GET", f"/v1/accounts/{account}/folders")
        assert [account["id"] for account in client.done(200, "GET", "/v1/accounts")["data"]] == [other]
        client.refused(409, "conflict", "POST", "/v1/accounts", mailbox(dovecot, user, verify=False))
    # a second request wakes the worker again, which could not work on the account before
    assert client.call("DELETE", f"/v1/accounts/{account}").status in (202, 404)
    gone = "select count(*) from accounts where id = %s"
    wait_until(lambda: value(database, gone, account) == 0, "the removal")
    client.refused(404, "not_found", "DELETE", f"/v1/accounts/{account}")
    for table in ("messages", "folders", "sync_runs", "account_credentials"):
        assert value(database, f"select count(*) from {table} where account_id = %s", account) == 0
    events = database.execute("select type from sync_events where account_id = %s", [account]).fetchall()
    assert events == [("account.deleted",)]
    again = client.add(dovecot, user)
    wait_until(lambda: len(live_uids(database, again)) == 30, "the new account's mail")
    assert worker.returncode is None


def test_a_removal_is_confirmed_however_fast_the_worker_is(client: Client, database: Database) -> None:
    account = client.done(201, "POST", "/v1/accounts", unverified())["id"]
    # as if a worker deleted everything between two statements of the API
    database.execute(
        """
        create function vanish() returns trigger language plpgsql as $$ begin
            delete from account_credentials where account_id = new.id;
            delete from accounts where id = new.id;
            return null;
        end $$;
        create constraint trigger vanish after update of deleting_at on accounts
            deferrable initially deferred for each row execute function vanish();
        """
    )
    removal = client.done(202, "DELETE", f"/v1/accounts/{account}")
    assert (removal["id"], removal["email"]) == (account, "ann@example.test")
    client.refused(404, "not_found", "DELETE", f"/v1/accounts/{account}")


def test_the_worker_starts_a_removal_at_once(
    client: Client, database: Database, start_worker: StartWorker
) -> None:
    start_worker(**SLOW).wait_for("Ready")
    took = []
    for _ in range(3):
        account = client.done(201, "POST", "/v1/accounts", unverified())["id"]
        client.done(202, "DELETE", f"/v1/accounts/{account}")
        watch = Stopwatch()
        wait_until(lambda: value(database, "select count(*) from accounts") == 0, "the removal")
        took.append(watch.stop())
    # without a wake-up, it looks every 15 s
    assert min(took) < 10


def test_a_wider_window_adds_older_mail_and_a_narrower_one_expires_it(
    client: Client, dovecot: Dovecot, user: User, database: Database, start_worker: StartWorker
) -> None:
    for age in (1, 40, 400):
        day = (datetime.now(UTC) - timedelta(days=age)).strftime("%d-%b-%Y %H:%M:%S +0000")
        dovecot.append(user, "INBOX", message(age), date=day)
    account = client.add(dovecot, user, sync_window_days=10)
    start_worker(**SLOW)
    wait_until(lambda: live_uids(database, account) == [1], "the window's mail")
    wait_until(lambda: is_healthy(database, account), "health")
    for change, shown, uids in (
        ({"sync_window_days": 100}, (None, 100), [1, 2]),
        ({"sync_since": "2015-01-01T00:00:00Z"}, ("2015-01-01T00:00:00Z", None), [1, 2, 3]),
        ({"sync_window_days": 100}, (None, 100), [1, 2]),
        ({"sync_window_days": None, "sync_since": None}, (None, None), [1, 2, 3]),
    ):
        document = client.done(200, "PATCH", f"/v1/accounts/{account}", change)
        assert (document["sync_since"], document["sync_window_days"]) == shown
        wait_until(lambda uids=uids: live_uids(database, account) == uids, f"{change}")  # type: ignore[misc]


# -- password and connection --------------------------------------------------------------------------------


def test_a_new_password_heals_a_broken_account(
    client: Client, dovecot: Dovecot, user: User, database: Database, start_worker: StartWorker
) -> None:
    account = client.add(dovecot, user)
    before = row(database, account)
    wrong = {"password": planted.keep("not-the-password-of-ann")}
    document = client.refused(
        422, "auth_failed", "PATCH", f"/v1/accounts/{account}", wrong | {"metadata": {"a": 1}}
    )
    assert document["step"] == "login"
    after = row(database, account)
    assert [after[name] for name in ("sealed", "metadata")] == [
        before[name] for name in ("sealed", "metadata")
    ]
    client.done(200, "PATCH", f"/v1/accounts/{account}", wrong | {"verify": False})
    database.execute(
        "update accounts set sync_state = 'broken', sync_state_reason = 'auth_failed',"
        " consecutive_failures = 3"
    )
    start_worker(**SLOW).wait_for("Ready")
    document = client.refused(409, "broken", "POST", f"/v1/accounts/{account}/sync")
    assert "set another one" in document["detail"]
    healed = client.done(200, "PATCH", f"/v1/accounts/{account}", {"password": user.password})
    assert (healed["sync_state_reason"], healed["backoff_until"]) == (None, None)
    wait_until(lambda: is_healthy(database, account), "health")


def test_a_connection_changes_only_with_a_password_which_is_sealed_for_it(
    client: Client, dovecot: Dovecot, user: User, database: Database, start_worker: StartWorker
) -> None:
    other = dovecot.new_user()
    dovecot.seed(user, "INBOX", [message(n) for n in range(5)])
    dovecot.seed(other, "INBOX", [message(n) for n in range(10, 13)])
    account = client.add(dovecot, user)
    start_worker(**SLOW)
    wait_until(lambda: is_healthy(database, account), "health")
    before = row(database, account)
    for field, changed in (
        ("imap_host", "localhost"),
        ("imap_port", 993),
        ("imap_security", "tls"),
        ("username", "bob"),
    ):
        document = client.refused(422, "invalid", "PATCH", f"/v1/accounts/{account}", {field: changed})
        assert document["errors"][0]["pointer"] == f"#/{field}"
        assert "give the password too" in document["detail"]
    assert row(database, account)["sealed"] == before["sealed"]
    moved = {"username": other.name, "imap_host": "localhost", "password": other.password}
    shown = client.done(200, "PATCH", f"/v1/accounts/{account}", moved)
    assert (shown["username"], shown["imap_host"]) == (other.name, "localhost")
    stored = row(database, account)
    assert opened(stored) == other.password
    for field in ("imap_host", "username"):
        with pytest.raises(KeyMismatch):
            opened(stored, **{field: before[field]})
    with pytest.raises(KeyMismatch):
        opened(stored, id=account + 1)
    # another mailbox with the same folder names: its own mail, and none of the other's
    ids = "select array_agg(message_id order by uid) from messages where deleted_at is null"
    wanted = [f"{n}@mail.test" for n in range(10, 13)]
    wait_until(lambda: value(database, ids) == wanted, "the other mailbox")


def test_requests_that_wait_for_the_lock_say_when_to_retry(
    client: Client, dovecot: Dovecot, user: User, database: Database
) -> None:
    account = client.add(dovecot, user)
    before = row(database, account)
    path = f"/v1/accounts/{account}"
    with lock_held(database, account):
        for method, where, document in (
            ("PATCH", path, {"password": user.password, "display_name": "never"}),
            ("PATCH", path, {"password": user.password, "verify": False}),
            ("POST", f"{path}/reset", {"resync": True}),
        ):
            answer = client.call(method, where, document)
            assert (answer.status, answer.json()["code"]) == (503, "busy")
            assert int(answer.headers["Retry-After"]) >= 1
        assert row(database, account) == before
        # changes that need no login wait for no lock
        client.done(200, "PATCH", path, {"display_name": "Ann", "metadata": {"a": 1}, "sync_window_days": 9})
        client.done(200, "POST", f"{path}/pause")
        client.done(200, "POST", f"{path}/resume")
        client.done(202, "POST", f"{path}/sync")
    client.done(200, "PATCH", path, {"password": user.password})
    client.done(200, "POST", f"{path}/reset")


def test_concurrent_changes_lose_nothing_and_an_empty_change_changes_nothing(
    client: Client, database: Database
) -> None:
    account = client.done(201, "POST", "/v1/accounts", unverified(metadata={"kept": True}))["id"]
    path = f"/v1/accounts/{account}"
    before = row(database, account)
    assert client.done(200, "PATCH", path, {})["metadata"] == {"kept": True}
    client.done(200, "PATCH", path, {"verify": True, "sync_window_days": None})
    assert row(database, account) == before
    changes = [
        {"display_name": "Ann"},
        {"metadata": {"new": 1}},
        {"sync_window_days": 9},
        {"password": "changed-password", "verify": False},
        {"password": "changed-password", "username": "ann", "verify": False},
    ]

    def attempt(change: dict[str, Any]) -> int:
        while (status := client.call("PATCH", path, change).status) == 503:
            pass
        return status

    with ThreadPoolExecutor(5) as people:
        answers = list(people.map(attempt, changes * 2))
    assert answers == [200] * 10
    shown = client.done(200, "GET", path)
    assert (shown["display_name"], shown["metadata"], shown["sync_window_days"]) == ("Ann", {"new": 1}, 9)
    assert shown["username"] == "ann"
    assert opened(row(database, account)) == "changed-password"
    assert datetime.fromisoformat(shown["updated_at"]) > datetime.fromisoformat(before["updated_at"])
    client.done(200, "PATCH", path, {"display_name": None})
    assert client.done(200, "GET", path)["display_name"] is None


# -- pause, reset, sync -------------------------------------------------------------------------------------


def test_an_account_is_paused_resumed_and_reset(client: Client, database: Database) -> None:
    account = client.done(201, "POST", "/v1/accounts", unverified())["id"]
    path = f"/v1/accounts/{account}"
    for body, shown in (
        ({"reason": "on holiday"}, "on holiday"),
        (None, "on holiday"),
        ({}, "on holiday"),
        ({"reason": None}, "on holiday"),
        ({"reason": ""}, None),
    ):
        paused = client.done(200, "POST", f"{path}/pause", body)
        assert (paused["sync_state"], paused["paused_reason"]) == ("paused", shown)
        assert paused["paused_at"]
    client.refused(422, "invalid", "POST", f"{path}/pause", {"reason": "x" * 501})
    client.refused(422, "invalid", "POST", f"{path}/pause", {"until": "tomorrow"})
    client.refused(409, "paused", "POST", f"{path}/sync")
    assert client.done(200, "POST", f"{path}/resume")["sync_state"] == "initial_sync"
    database.execute(
        "update accounts set sync_state = 'degraded', sync_state_reason = 'unreachable',"
        " consecutive_failures = 4, backoff_until = now() + interval '1 hour',"
        " next_sync_at = now() + interval '1 hour'"
    )
    waiting = client.done(202, "POST", f"{path}/sync")
    assert (waiting["backoff_until"], waiting["consecutive_failures"]) == (None, 4)
    fresh = client.done(200, "POST", f"{path}/reset")
    assert (fresh["sync_state"], fresh["consecutive_failures"]) == ("initial_sync", 0)
    client.refused(422, "invalid", "POST", f"{path}/reset", {"resync": 1})


def test_syncing_a_broken_account_says_what_a_person_must_do(client: Client, database: Database) -> None:
    account = client.done(201, "POST", "/v1/accounts", unverified())["id"]
    path = f"/v1/accounts/{account}/sync"
    broken = (
        "update accounts set sync_state = 'broken', sync_state_reason = %s,"
        " sync_state_since = now() - interval '8 days'"
    )
    for reason, helps in (
        ("auth_failed", "another"),
        ("key_mismatch", "IMAP_ENCRYPTION_KEY"),
        ("uidvalidity_reset_limit", "reset"),
    ):
        database.execute(broken, [reason])
        document = client.refused(409, "broken", "POST", path)
        assert reason in document["detail"]
        assert helps in document["detail"]
    database.execute(broken, ["stuck"])
    client.done(202, "POST", path)
    assert value(database, "select now() - sync_state_since < interval '1 minute' from accounts"), (
        "tried again"
    )
