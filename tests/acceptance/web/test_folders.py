"""Folders over HTTP: their state, and a person's choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.support.account_client import Client, unverified
from tests.support.api import StartApi
from tests.support.dovecot import Dovecot
from tests.support.mail import message
from tests.support.mirrors import is_healthy, live_uids, value
from tests.support.programs import Mailsync, Running
from tests.support.run_directory import wait_until

Database = psycopg.Connection[Any]


@pytest.fixture
def client(start_api: StartApi) -> Iterator[Client]:
    api = start_api(WEB_CONCURRENCY="2")
    yield Client(api)
    api.process.terminate()
    assert api.process.wait() == 0


def test_folders_are_listed_and_a_choice_takes_effect_at_once(
    client: Client,
    dovecot: Dovecot,
    database: Database,
    mailsync: Mailsync,
    start_worker: Callable[..., Running],
) -> None:
    user = dovecot.new_user()
    dovecot.create(user, "Junk", "Work", "R&AOk-sum&AOk-s", "Lists")
    for folder in ("INBOX", "Work", "Junk"):
        dovecot.seed(user, folder, [message(n) for n in range(3)])
    account = client.add(dovecot, user)
    start_worker(SYNC_INTERVAL="1h")
    wait_until(lambda: is_healthy(database, account), "health")
    path = f"/v1/accounts/{account}/folders"
    folders = {folder["path"]: folder for folder in client.done(200, "GET", path)["data"]}
    assert next(iter(folders)) == "INBOX"
    assert {name: folder["tracked"] for name, folder in folders.items()} == {
        "INBOX": True, "Junk": False, "Work": True, "Résumés": True, "Lists": True,
    }  # fmt: skip
    inbox = folders["INBOX"]
    assert (inbox["role"], inbox["status"], inbox["percent"]) == ("inbox", "active", 100)
    assert (inbox["live_count"], inbox["live_unseen"], inbox["account_id"]) == (3, 3, account)
    assert (folders["Junk"]["excluded_reason"], folders["Junk"]["percent"]) == ("junk", None)
    by_cli = mailsync("list-folders", user.name, "--json").json()["folders"]
    assert [folder["id"] for folder in by_cli] == [folder["id"] for folder in folders.values()]

    work, junk = (f"{path}/{folders[name]['id']}" for name in ("Work", "Junk"))
    chosen = client.done(200, "PATCH", work, {"tracked": False})
    assert (chosen["tracked"], chosen["tracked_by_user"]) == (False, False)
    wait_until(lambda: live_uids(database, account, "Work") == [], "the tombstones")
    ids = value(database, "select array_agg(id order by id) from messages where deleted_reason = 'untracked'")
    client.done(200, "PATCH", junk, {"tracked": True})
    client.done(200, "PATCH", work, {"tracked": True})
    for name in ("Work", "Junk"):
        wait_until(lambda name=name: live_uids(database, account, name) == [1, 2, 3], name)  # type: ignore[misc]
    back = "select array_agg(id order by id) from messages where id = any(%s) and deleted_at is null"
    assert value(database, back, ids) == ids


def test_folders_are_listed_in_pages(client: Client, database: Database) -> None:
    account = client.done(201, "POST", "/v1/accounts", unverified())["id"]
    other = client.done(201, "POST", "/v1/accounts", unverified("bob@example.test"))["id"]
    path = f"/v1/accounts/{account}/folders"
    assert client.done(200, "GET", path) == {"data": [], "next_cursor": None}
    database.execute(
        "insert into folders (account_id, wire_name, path, sync_priority)"
        " select %s, convert_to('f' || n, 'UTF8'), 'f' || n, 100 - 5 * (n %% 3) from generate_series(1, 7) n",
        [account],
    )
    wanted = [
        row[0]
        for row in database.execute(
            "select id from folders where account_id = %s order by sync_priority, id", [account]
        )
    ]
    seen: list[int] = []
    cursor: str | None = None
    while cursor or not seen:
        page = client.done(200, "GET", path, limit=3, cursor=cursor)
        seen += [folder["id"] for folder in page["data"]]
        cursor = page["next_cursor"]
    assert seen == wanted
    cursor = client.done(200, "GET", path, limit=3)["next_cursor"]
    for query in (f"cursor={str(cursor)[::-1]}", "limit=501", "limit=x", "cursor=", "folder=1"):
        client.refused(422, "invalid", "GET", f"{path}?{query}")
    client.refused(422, "invalid", "GET", f"/v1/accounts/{other}/folders?cursor={cursor}")


def test_impossible_choices_are_refused(client: Client, database: Database, mailsync: Mailsync) -> None:
    account = client.done(201, "POST", "/v1/accounts", unverified())["id"]
    other = client.done(201, "POST", "/v1/accounts", unverified("bob@example.test"))["id"]
    database.execute(
        "insert into folders (account_id, wire_name, path, role, tracked, excluded_reason, last_error) values"
        " (%(id)s, 'INBOX', 'INBOX', 'inbox', true, null, 'LOGIN ann a-password-of-hers-1999 failed'),"
        " (%(id)s, 'Parent', 'Parent', null, false, 'noselect', null)",
        {"id": account},
    )
    path = f"/v1/accounts/{account}/folders"
    inbox, parent = client.done(200, "GET", path)["data"]
    assert "a-password-of-hers-1999" not in inbox["last_error"]
    for folder, tracked, command in ((inbox, False, "untrack-folder"), (parent, True, "track-folder")):
        document = client.refused(
            409, "not_possible", "PATCH", f"{path}/{folder['id']}", {"tracked": tracked}
        )
        done = mailsync(command, "ann@example.test", folder["path"])
        assert (done.returncode, done.stderr) == (2, f"mailsync: {document['detail']}\n")
        client.done(200, "PATCH", f"{path}/{folder['id']}", {"tracked": not tracked})
    for wrong in ({"tracked": "yes"}, {"tracked": 1}, {"tracked": None}, {}, {"tracked": True, "path": "x"}):
        client.refused(422, "invalid", "PATCH", f"{path}/{inbox['id']}", wrong)
    choice = {"tracked": True}
    client.refused(404, "not_found", "PATCH", f"/v1/accounts/{other}/folders/{inbox['id']}", choice)
    client.refused(404, "not_found", "PATCH", f"{path}/{2**63 - 1}", choice)
