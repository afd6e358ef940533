"""A message that the server does not deliver: reported everywhere, asked for again, complete in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from tests.support import mail
from tests.support.api import StartApi
from tests.support.imap_text import in_set
from tests.support.mirrors import add_account, is_healthy, live_uids, value, wake
from tests.support.programs import Mailsync, Running
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

DEADLY = 17


def test_a_message_that_kills_every_connection_is_named_until_it_is_whole(
    mailsync: Mailsync,
    scripted: ScriptedServer,
    database: psycopg.Connection[Any],
    start_worker: Callable[..., Running],
    start_api: StartApi,
) -> None:
    user = scripted.new_user()
    for n in range(1, 41):
        user.folder("INBOX").add(mail.message(n), date=mail.internal_date(n).encode())
    scripted.on("UID FETCH", _kill)
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s")

    def said() -> bool:
        wake(database)
        reason = "select sync_state_reason from account_status"
        return bool(value(database, reason) == "unreadable_messages")

    worker.wait_for(said)
    assert live_uids(database, account) == list(range(1, 41))
    placeholders = "select array_agg(uid::int) from messages where parse_errors = '{unfetchable}'"
    assert value(database, placeholders) == [DEADLY]
    assert len(_alone(scripted)) >= 2, "the others are whole, and it was asked for alone on two connections"

    # verify takes the account's lock, and waits for it
    verified = mailsync("verify", user.name, "--json")
    assert verified.returncode == 1, verified
    (inbox,) = [folder for folder in verified.json()["folders"] if folder["differences"]]
    assert inbox["differences"] == [{"kind": "placeholder", "uid": DEADLY, "server": None, "mirror": None}]
    checked = mailsync("check-account", user.name)
    assert "unreadable_messages" in checked.stdout and "1 message without content" in checked.stdout
    assert mailsync("check-account", user.name, "--json").json()["account"]["unreadable_messages"] == 1
    api = start_api()
    shown = api.call("GET", f"/v1/accounts/{account}").json()
    assert (shown["sync_state"], shown["sync_state_reason"]) == ("degraded", "unreadable_messages")
    assert "mailsync verify" in shown["sync_state_message"]

    row = value(database, f"select id from messages where uid = {DEADLY}")
    scripted.off("UID FETCH")
    # it may be days until the next retry
    database.execute("update fetch_attempts set retry_at = now()")
    worker.wait_for(lambda: is_healthy(database, account))
    whole = f"select id, subject, message_id, internal_date, parse_errors from messages where uid = {DEADLY}"
    subject = f"Message {DEADLY}"
    expected = (row, subject, f"{DEADLY}@mail.test", mail.sent_at(DEADLY), [])
    assert database.execute(whole.encode()).fetchone() == expected

    def updated() -> list[tuple[int, object]]:
        feed = api.call("GET", f"/v1/accounts/{account}/events", limit=500).json()["data"]
        return [(e["message_pk"], e["data"]) for e in feed if e["type"] == "message.updated"]

    # an event is final when no older transaction runs on the server, in any database
    worker.wait_for(updated)
    assert updated() == [(row, {"uid": DEADLY})]
    verified = mailsync("verify", user.name)
    assert verified.returncode == 0, verified


def _kill(request: Request) -> bytes:
    """Close the connection at each request for the message itself, not only for its size and date."""
    asked = in_set(request.arguments[0], 10_000)  # type: ignore[arg-type]
    if b"BODY" in request.text and any(first <= DEADLY <= last for first, last in asked):
        return request.close()
    return request.default()


def _alone(server: ScriptedServer) -> set[int]:
    """The connections on which the message was asked for alone."""
    return {
        c.connection
        for c in server.journal.commands("UID FETCH")
        if c.line.startswith(b"%d (" % DEADLY) and b"BODY" in c.line
    }
