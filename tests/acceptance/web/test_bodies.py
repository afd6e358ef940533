"""Bodies over HTTP: answers, commands to the mail server, and errors."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import urllib3

from tests.support import mail, run_directory
from tests.support.api import AUTHORIZED, Api, assert_problem
from tests.support.boxes import ACCOUNT, Box
from tests.support.mirrors import value
from tests.support.patience import Stopwatch
from tests.support.run_directory import PATIENCE, wait_until
from tests.support.scripted import ScriptedServer
from tests.support.served_mailboxes import Serve, box, get, letterbox, serve, waiting_for_locks
from tests.support.session import Request
from tests.support.turns import Mirror, letters

__all__ = ["box", "letterbox", "serve"]

PATHS = ("body", "raw", "attachments/2")
WITH_ATTACHMENT = mail.message(7, attachment=b"abc")


def test_a_body_is_fetched_once_and_then_comes_from_the_table(box: Box, serve: Serve) -> None:
    message_id = box.add(WITH_ATTACHMENT)
    state = box.mirror.conn.execute(ACCOUNT).fetchone()
    box.asked()
    api = serve()
    answer = get(api, message_id)
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    fetched_at = box.mirror.value(
        'select to_char(fetched_at, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\') from message_bodies'
    )
    assert body == {
        "message_id": message_id,
        "account_id": box.mirror.account_id,
        "body_text": "Text of message 7.\n",
        "body_html": None,
        "attachments": [
            {
                "part": "2",
                "filename": "file.bin",
                "content_type": "application/octet-stream",
                "size_bytes": 3,
                "content_id": None,
                "is_inline": False,
            }
        ],
        "raw_bytes": len(WITH_ATTACHMENT),
        "truncated": False,
        "warnings": [],
        "fetched_at": fetched_at,
        "deleted_at": None,
        "deleted_reason": None,
    }
    assert box.asked()[-3:] == ["EXAMINE", "UID FETCH", "UNSELECT"]
    assert rb"\Seen" not in box.folder.mails[2].flags
    assert box.mirror.conn.execute(ACCOUNT).fetchone() == state
    counted = "select value from metric_counters where labels ->> 'command' = 'FETCH'"
    wait_until(lambda: box.mirror.value(counted), "the command in the metrics")

    assert get(api, message_id).json() == body
    box.folder.expunge(2)
    box.mirror.hot()
    box.asked()
    box.server.stop()
    tombstone = get(api, message_id).json()
    assert tombstone["deleted_reason"] == "expunged"
    assert tombstone["deleted_at"].endswith("Z")
    assert {**tombstone, "deleted_at": None, "deleted_reason": None} == body
    assert box.asked() == []


def test_html_is_returned_as_data_and_never_as_a_page(box: Box, serve: Serve) -> None:
    page = b"<script>alert(document.domain)</script><p>Gr\xc3\xbc\xc3\x9fe"
    head = mail.message(3, headers={"Content-Type": "text/html; charset=utf-8"}).partition(b"\r\n\r\n")[0]
    api = serve()
    for raw in (
        head + b"\r\n\r\n" + page,
        mail.message(4, attachment=page).replace(b"application/octet-stream", b"text/html"),
    ):
        message_id = box.add(raw)
        for path in PATHS:
            answer = get(api, message_id, path, Accept="text/html")
            assert answer.status == 200 or (path, answer.status) == ("attachments/2", 404)
            kind = answer.headers["Content-Type"]
            assert kind in (
                "application/json",
                "application/problem+json",
                "message/rfc822",
                "application/octet-stream",
            )
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
    html = get(api, box.id_of(2)).json()
    assert (html["body_text"], html["body_html"]) == (None, page.decode())


def test_of_two_simultaneous_requests_only_one_fetches(
    box: Box, serve: Serve, database: psycopg.Connection[Any]
) -> None:
    api = serve(BODY_LOCK_WAIT="60s")
    begun, go_on = threading.Event(), threading.Event()

    def delayed(request: Request) -> bytes:
        begun.set()
        go_on.wait(PATIENCE)
        return request.default()

    box.server.on("UID FETCH", delayed)
    message_id = box.id_of(1)
    with ThreadPoolExecutor(4) as clients:
        asked = [clients.submit(get, api, message_id) for _ in range(4)]
        assert begun.wait(PATIENCE)
        wait_until(lambda: waiting_for_locks(database) == 3, "the others to queue")
        go_on.set()
        answers = [entry.result() for entry in asked]
    assert [answer.status for answer in answers] == [200] * 4
    assert len({answer.body for answer in answers}) == 1
    assert box.asked().count("UID FETCH") == 1


# -- errors -------------------------------------------------------------------------------------------


def test_missing_messages_and_parts_are_not_found(box: Box, serve: Serve) -> None:
    api, known = serve(), box.id_of(1)
    for path in PATHS:
        for message_id in (known + 1_000_000, 2**63 - 1, 2**63, 0):
            assert_problem(get(api, message_id, path), 404, "not_found")
    for part in ("2", "1.1", "0", "x", "HEADER", "%00", "2%5D%20BODY%5B", "%ED%A0%80", "1" * 3000, "1/2", ""):
        assert_problem(get(api, known, f"attachments/{part}"), 404, "not_found")
    for path in PATHS:
        assert_problem(api.get(f"/v1/messages/{known}/{path}"), 401, "unauthorized")
        assert_problem(get(api, known, f"{path}?x=1"), 422, "invalid")
    box.mirror.conn.execute("update accounts set deleting_at = now()")
    for path in PATHS:
        assert_problem(get(api, known, path), 404, "not_found")
    assert box.asked() == []


def test_an_expunged_message_is_gone_and_becomes_a_tombstone(box: Box, serve: Serve) -> None:
    ids = [box.add(WITH_ATTACHMENT) for _ in PATHS]
    api = serve()
    box.folder.expunge(2, 3, 4)
    for message_id, path in zip(ids, PATHS, strict=True):
        for _ in range(2):
            assert_problem(get(api, message_id, path), 410, "gone")
        reason = "select deleted_reason from messages where id = %s"
        assert box.mirror.value(reason, message_id) == "expunged"
    assert box.asked().count("UID SEARCH") == 3


def test_a_recreated_folder_is_a_conflict(box: Box, serve: Serve) -> None:
    message_id = box.add(WITH_ATTACHMENT)
    api = serve()
    box.folder.renumber(1_800_000_000)
    box.asked()
    for path in PATHS:
        assert_problem(get(api, message_id, path), 409, "uidvalidity_moved")
    assert "UID FETCH" not in box.asked()
    assert box.mirror.value("select deleted_at from messages where id = %s", message_id) is None


def test_paused_and_broken_accounts_are_not_contacted(box: Box, serve: Serve) -> None:
    api, message_id = serve(IMAP_MAX_COMMANDS_PER_MINUTE="60"), box.id_of(1)
    change = box.mirror.conn.execute
    change("update accounts set throttle_tokens = 0, throttle_at = clock_timestamp()")
    busy = get(api, message_id)
    assert_problem(busy, 503, "busy")
    assert 1 <= int(busy.headers["Retry-After"]) <= 30
    change("update accounts set sync_state = 'degraded', sync_state_reason = 'throttled',"
           " backoff_until = now() + interval '10 minutes'")  # fmt: skip
    throttled = get(api, message_id)
    assert_problem(throttled, 503, "throttled")
    assert 500 < int(throttled.headers["Retry-After"]) <= 600
    change(
        "update accounts set sync_state = 'broken', sync_state_reason = 'auth_failed', backoff_until = null"
    )
    assert_problem(get(api, message_id), 502, "auth_failed")
    change("update accounts set paused_at = now()")
    assert_problem(get(api, message_id), 409, "paused")
    assert box.asked() == []


def test_a_failing_server_is_a_bad_gateway(box: Box, serve: Serve) -> None:
    api, message_id, server = serve(), box.add(WITH_ATTACHMENT), box.server
    state = box.mirror.conn.execute(ACCOUNT).fetchone()
    cases: list[tuple[str, Any, str]] = [
        ("UID FETCH", lambda request: request.close(), "unreachable"),
        ("UID FETCH", _broken_off, "unreachable"),
        ("UID FETCH", b"OK done", "protocol"),
        ("UID FETCH", b"NO [SERVERBUG] disk on fire", "unreachable"),
        ("EXAMINE", b"NO [NONEXISTENT] no such mailbox", "folder_error"),
    ]
    for command, does, code in cases:
        server.on(command, does)
        for path in PATHS:
            assert_problem(get(api, message_id, path), 502, code)
        server.off(command)
    server.stop()
    for path in PATHS:
        assert_problem(get(api, message_id, path), 502, "unreachable")
    assert box.mirror.conn.execute(ACCOUNT).fetchone() == state
    assert box.mirror.value("select deleted_at from messages where id = %s", message_id) is None


def test_a_silent_server_is_a_gateway_timeout(box: Box, serve: Serve) -> None:
    api = serve(IMAP_READ_TIMEOUT="1s", IMAP_CONNECT_TIMEOUT="1s")
    message_id = box.add(WITH_ATTACHMENT)
    box.server.on("UID FETCH", lambda request: request.hang())
    for path in PATHS:
        assert_problem(get(api, message_id, path), 504, "unreachable")
    box.server.on("EXAMINE", lambda request: request.hang())
    assert_problem(get(api, message_id), 504, "unreachable")
    box.server.greeting = None
    assert_problem(get(api, message_id), 504, "unreachable")


def _broken_off(request: Request) -> bytes:
    request.send(b"* 2 FETCH (UID 2 BODY[]<0> {1000}\r\nthat is not all")
    return request.reset()


def test_a_server_that_echoes_the_password_is_not_quoted(box: Box, serve: Serve) -> None:
    api, account = serve(), next(iter(box.server.accounts.values()))
    for words in (b"NO [UNAVAILABLE] no %s today", b"BAD what is %s", b"NO [AUTHENTICATIONFAILED] not %s"):
        box.server.on("LOGIN", words % account.password.encode())
        for _ in range(2):
            answer = get(api, box.id_of(1))
            assert answer.status == 502
            assert account.password not in f"{answer.body!r} {answer.headers}"
    # the second rejection comes from the account's state, which contains the server's text
    assert account.password not in str(box.mirror.conn.execute("select * from accounts").fetchall())
    assert box.asked().count("LOGIN") == 5


# -- waiting -----------------------------------------------------------------------------------------


def test_a_client_that_follows_retry_after_gets_the_body_once_the_lock_is_free(
    box: Box, serve: Serve, database_url: str
) -> None:
    api, message_id = serve(BODY_LOCK_WAIT="0s"), box.id_of(1)
    with psycopg.connect(database_url, autocommit=True, application_name="somebody") as holder:
        holder.execute("select pg_advisory_lock(mailsync.account_lock_class(), %s)", [box.mirror.account_id])
        refused = get(api, message_id)
        assert_problem(refused, 503, "busy")
        assert 1 <= int(refused.headers["Retry-After"]) <= 10
        with ThreadPoolExecutor(1) as client:
            asked = client.submit(patient, api, message_id)
            api.process.wait_for(lambda: len(refusals(api)) >= 2)
            holder.close()
            answer = asked.result()
    assert (answer.status, json.loads(answer.data)["body_text"]) == (200, "Text of message 0.\n")
    assert answer.retries
    assert {entry.status for entry in answer.retries.history} == {503}


@pytest.mark.long
def test_a_lock_holder_without_a_heartbeat_is_ended(box: Box, serve: Serve, database_url: str) -> None:
    """Takes a little over 30 s, the smallest LOCK_STALE_AFTER."""
    api, message_id = serve(BODY_LOCK_WAIT="0s", LOCK_STALE_AFTER="30s"), box.id_of(1)
    with psycopg.connect(database_url, autocommit=True, application_name="mailsync-worker") as stuck:
        stuck.execute("select pg_advisory_lock(mailsync.account_lock_class(), %s)", [box.mirror.account_id])
        box.mirror.conn.execute("update accounts set heartbeat_at = now()")
        answer = patient(api, message_id)
        assert answer.status == 200
        assert answer.retries
        assert {entry.status for entry in answer.retries.history} == {503}
        with pytest.raises(psycopg.OperationalError):
            stuck.execute("select 1")
    assert "Ended a stale lock holder" in api.process.output


def patient(api: Api, message_id: int) -> urllib3.BaseHTTPResponse:
    """Ask by urllib3, which retries by itself as the answer says."""
    with urllib3.PoolManager(retries=urllib3.Retry(20)) as client:
        url = f"http://127.0.0.1:{api.port}/v1/messages/{message_id}/body"
        return client.request("GET", url, headers=AUTHORIZED, timeout=run_directory.PATIENCE)


def refusals(api: Api) -> list[dict[str, Any]]:
    return [entry for entry in api.process.records() if str(entry.get("message")).endswith("/body 503")]


def test_forty_requests_to_stalled_servers_do_not_block_others(
    database_url: str, scripted: ScriptedServer, serve: Serve, database: psycopg.Connection[Any]
) -> None:
    api = serve(BODY_LOCK_WAIT="60s")
    for _ in range(4):
        user = scripted.new_user()
        letters(user, 11)
        with Mirror(database_url, scripted, user) as mirror:
            mirror.complete()
    ids = [row[0] for row in database.execute("select id from messages order by uid")]
    known = ids.pop()
    assert get(api, known).status == 200
    before = len(scripted.journal.commands())
    scripted.on("UID FETCH", lambda request: request.hang())
    refused: list[int] = []

    def ask(message_id: int) -> int:
        status = get(api, message_id).status
        refused.append(status)
        return status

    def settled() -> bool:
        stalled = [entry for entry in scripted.journal.commands()[before:] if not entry.finished]
        return len(refused) + len(stalled) + waiting_for_locks(database) == 40

    with ThreadPoolExecutor(40) as clients:
        asked = [clients.submit(ask, message_id) for message_id in ids[:40]]
        try:
            wait_until(settled, "all forty to be refused, stalled or queued")
            assert set(refused) == {503}
            for _ in range(10):
                began = Stopwatch()
                assert api.get("/health/live").status == 200
                assert get(api, known).status == 200
                assert began.stop() < 20, "the others wait for 60 s"
            assert len(refused) < 40
        finally:
            scripted.off("UID FETCH")
            scripted.disconnect()
    statuses = [entry.result() for entry in asked]
    assert set(statuses) <= {200, 502, 503}
    # 10 requests of each process may wait; each process may have received fewer
    assert 20 <= statuses.count(503) < 40
    assert value(database, "select count(*) from account_locks") == 0


def test_a_forbidden_host_is_not_a_client_error_for_a_reader(box: Box, serve: Serve) -> None:
    api = serve(IMAP_ALLOW_PRIVATE_HOSTS="false")
    message_id = box.add(WITH_ATTACHMENT)
    for what in PATHS:
        assert "errors" not in assert_problem(get(api, message_id, what), 502, "forbidden_host")
