"""Every message gets a row, whatever its bytes, and whatever the server does with it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import faulty_messages as faults
from tests.support import mail
from tests.support.faulty_messages import fail_at, for_content, kill, refuse
from tests.support.imap_text import in_set
from tests.support.mirrors import add_account, live_uids, value, wake
from tests.support.programs import Mailsync, Running
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

_DEPTH = 5_000
_NOISE = b64encode(bytes(n * 7919 % 251 for n in range(12_000)))  # 16 KB that do not compress well


def _word(charset: str, content: bytes) -> str:
    return f"=?{charset}?B?{b64encode(content).decode()}?="


NASTY: dict[str, bytes] = {
    "plain": mail.message(1),
    "empty": b"",
    "no header": b"\r\nonly a body\r\n",
    "no colon anywhere": b"this is not a header\r\nnor is this\r\n\r\nbody",
    "binary": bytes(range(256)) * 4,
    "nul bytes": b"Subject: a\0b\r\nFrom: \0 <x\0@example.test>\r\nMessage-ID: <\0@x>\r\n\r\n",
    "8-bit, not utf-8": b"Subject: caf\xe9 \xff\xfe \x81\r\nFrom: J\xfcrgen <j@example.test>\r\n\r\n",
    "a megabyte of subject": b"Subject: " + b"word " * 200_000 + b"\r\n\r\n",
    "a megabyte of folds": b"Subject:" + b"\r\n x" * 250_000 + b"\r\n\r\n",
    "a megabyte of references": b"References: " + b"<some-id@x>\r\n " * 80_000 + b"\r\n\r\n",
    "5,000 recipients": b"To: %s\r\n\r\n"
    % b",\r\n ".join(b"N%d <n%d@x.test>" % (n, n) for n in range(5_000)),
    "16 KB message id": b"Message-ID: <%s@x>\r\n\r\n" % _NOISE,
    "16 KB address": b"From: %s@example.test\r\n\r\n" % _NOISE,
    "lone surrogate": mail.message(2, headers={"Subject": _word("utf-16-be", b"\xd8\x00\x00a\xdc\x00")}),
    "lone surrogate in a name": mail.message(
        3, headers={"From": _word("utf-16-le", b"\x00\xd8") + " <a@b.test>"}
    ),
    "surrogates in utf-8": b"Subject: \xed\xa0\x80\xed\xb0\x80\r\n\r\n",
    "utf-7 word": mail.message(4, headers={"Subject": "=?utf-7?Q?+2AA-?="}),
    "unknown charset": mail.message(5, headers={"Subject": _word("x-klingon", b"Qapla'")}),
    "broken word": mail.message(6, headers={"Subject": "=?utf-8?B?!!!!?= =?utf-8?Q?=E?= =?"}),
    "nul in a word": mail.message(7, headers={"Subject": _word("utf-8", b"a\0b")}),
    "year 9999 -1200": mail.message(8, headers={"Date": "Fri, 31 Dec 9999 23:59:59 -1200"}),
    "year 1 +1400": mail.message(9, headers={"Date": "Mon, 01 Jan 0001 00:00:00 +1400"}),
    "20-digit year": mail.message(10, headers={"Date": "Mon, 01 Jan 99999999999999999999 00:00:00 +0000"}),
    "zone of 99 hours": mail.message(11, headers={"Date": "Mon, 01 Jan 2024 00:00:00 +9959"}),
    "date of words": mail.message(12, headers={"Date": "the day before yesterday"}),
    "backslashes": b'Subject: \\N \\. \\x00 {}"\'\r\nTo: "\\\\" <\\N@x.test>\r\n\r\n',
    "controls": b"Subject: \x01\x02\x1f\x7f\t\x0b\x0c\r\nFrom: \x01 <\x01@x.test>\r\n\r\n",
    "backslash from": b'From: "\\\r\n\\" <a@b\r\n\r\n',
    "plain again": mail.message(13),
}
_ODD_DATES = (
    b"31-Dec-9999 23:59:59 -1200",
    b" 1-Jan-0001 00:00:00 +1400",
    b"nonsense",
    b"31-Feb-2024 99:99:99 +0000",
)


def test_every_message_has_a_row_whatever_its_header_holds(
    mailsync: Mailsync, scripted: ScriptedServer, database: psycopg.Connection[Any]
) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    uids = {name: inbox.add(raw) for name, raw in NASTY.items()}
    for date in _ODD_DATES:
        uids[f"internal date {date!r}"] = inbox.add(mail.message(20), date=date)
    account = add_account(mailsync, scripted, user)

    synced = mailsync("sync", user.name)

    assert synced.returncode == 0, synced
    assert live_uids(database, account) == sorted(uids.values())
    sizes = dict(database.execute("select uid, size_bytes from messages").fetchall())
    assert {name: sizes[uid] for name, uid in uids.items() if name in NASTY} == {
        name: len(raw) for name, raw in NASTY.items()
    }
    # every value can be read back, and is as the specification says
    columns = "uid, subject, sent_at, internal_date, parse_errors, cardinality(to_emails)"
    rows = {row[0]: row[1:] for row in database.execute(f"select {columns} from messages")}
    assert rows[uids["plain"]][0] == "Message 1" and rows[uids["plain again"]][0] == "Message 13"
    assert rows[uids["nul bytes"]][0] == "a\ufffdb"
    assert rows[uids["8-bit, not utf-8"]][0].startswith("café ")
    assert len(rows[uids["a megabyte of subject"]][0].encode()) <= 4096
    assert rows[uids["5,000 recipients"]][4] == 1_000
    assert all(
        rows[uids[name]][3] for name in ("a megabyte of subject", "5,000 recipients", "year 9999 -1200")
    )
    for name in ("year 9999 -1200", "year 1 +1400", "20-digit year", "date of words"):
        assert rows[uids[name]][1] is None, name
        assert "sent_at" in rows[uids[name]][3] or "date" in rows[uids[name]][3], rows[uids[name]][3]
    assert value(database, "select sync_state from account_status") == "healthy"


def test_a_bodystructure_5000_levels_deep_costs_at_most_itself(
    mailsync: Mailsync, scripted: ScriptedServer, database: psycopg.Connection[Any]
) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    for n in range(9):
        inbox.add(mail.message(n, attachment=b"x"))
    leaf = b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 2 1)'
    inbox.mails[3].bodystructure = b"(" * _DEPTH + leaf + b' "MIXED")' * _DEPTH
    inbox.mails[5].bodystructure = b"(" * _DEPTH + leaf  # and never closed
    inbox.mails[7].bodystructure = b'("TEXT" "PLAIN" ("charset"'
    add_account(mailsync, scripted, user)

    synced = mailsync("sync", user.name)

    assert synced.returncode == 0, synced
    rows = database.execute(
        "select uid, subject, mime_structure is null, has_attachments from messages order by uid"
    ).fetchall()
    assert [row[:2] for row in rows] == [(n + 1, f"Message {n}") for n in range(9)]
    assert [row[0] for row in rows if row[2]] in ([5, 7], [3, 5, 7])
    assert [row[0] for row in rows if not row[3]] == [3, 5, 7]


def test_what_a_server_garbles_leaves_out_or_blows_up_gets_a_row_each_and_costs_no_other(
    mailsync: Mailsync, scripted: ScriptedServer, database: psycopg.Connection[Any]
) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    for n in range(1, 41):
        inbox.add(mail.message(n, headers={"Subject": "x" * 300_000} if n == 30 else None))

    def answer(request: Request) -> bytes:
        asked = in_set(request.arguments[0], 40)  # type: ignore[arg-type]
        lines = _responses(request.default())
        alone = asked == [(20, 20)]
        for at, line in enumerate(lines):
            if b"(UID 10 " in line:
                lines[at] = b'* 10 FETCH (UID 10 FLAGS (\\Seen BODY[ "((( {x}\r\n'
            if b"(UID 15 " in line:
                lines[at] = b""  # never answered
            if b"(UID 20 " in line and not alone:
                lines[at] = b""  # only when asked for alone
            if b"(UID 25 " in line:
                lines[at] = line.replace(b"UID 25 ", b"")  # without UID
        return b"".join(lines)

    scripted.on("UID FETCH", answer)
    account = add_account(mailsync, scripted, user)

    synced = mailsync("sync", user.name, env={"IMAP_MAX_LITERAL_BYTES": "65536", "FETCH_BATCH": "25"})

    assert synced.returncode == 0, synced
    assert live_uids(database, account) == list(range(1, 41))
    rows = {
        row[0]: row[1:]
        for row in database.execute("select uid, subject, parse_errors, size_bytes from messages")
    }
    bad = {10, 15, 25, 30}
    assert {uid for uid in rows if rows[uid][0] != f"Message {uid}"} == bad
    assert {uid for uid in rows if not rows[uid][1]} == set(range(1, 41)) - bad
    assert "unfetchable" in rows[15][1] and "unfetchable" in rows[25][1]
    assert rows[30][2] == len(inbox.mails[30].raw)
    assert value(database, "select count(*) from fetch_attempts where retry_at is null") == 0


@pytest.mark.parametrize(
    ("fail", "content"),
    [
        (lambda server: fail_at(server, 20, faults.blank_line), True),
        (lambda server: fail_at(server, 20, faults.garbage, when=for_content), False),
        (lambda server: refuse(server, 20, b"NO cannot", when=for_content), False),
        (lambda server: refuse(server, 20, b"BAD what", when=for_content), False),
        (lambda server: kill(server, 20, when=for_content), False),
    ],
    ids=["an empty line", "garbage", "NO", "BAD", "closed"],
)
def test_one_sync_is_enough_for_a_mailbox_with_one_bad_message(
    fail: Callable[[ScriptedServer], None],
    content: bool,
    mailsync: Mailsync,
    scripted: ScriptedServer,
    database: psycopg.Connection[Any],
) -> None:
    user = scripted.new_user()
    user.create("Sent", rb"\Sent")
    for n in range(1, 41):
        for folder in ("INBOX", "Sent"):
            user.folder(folder).add(mail.message(n), date=mail.internal_date(n).encode())
    fail(scripted)
    account = add_account(mailsync, scripted, user)

    synced = mailsync("sync", user.name)

    assert synced.returncode == 0, synced
    for folder in ("INBOX", "Sent"):
        assert live_uids(database, account, folder) == list(range(1, 41))
    bad = "select count(*) from messages where 'unfetchable' = any(parse_errors)"
    assert value(database, bad) == (0 if content else 2)
    given = "array_agg(distinct size_bytes), array_agg(distinct internal_date)"
    row = database.execute(f"select {given} from messages where uid = 20").fetchone()
    assert row == ([len(mail.message(20))], [mail.sent_at(20)])
    assert value(database, "select consecutive_failures from accounts") == 0
    assert value(database, "select backoff_until from accounts") is None


@pytest.mark.parametrize("killers", [(1,), (40,), (1, 17, 18, 40)], ids=["oldest", "newest", "several"])
def test_a_message_that_kills_the_connection_becomes_a_placeholder_and_everything_else_is_there(
    killers: tuple[int, ...],
    mailsync: Mailsync,
    scripted: ScriptedServer,
    database: psycopg.Connection[Any],
    start_worker: Callable[..., Running],
) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    deadly = set(killers)
    for n in range(1, 41):
        inbox.add(mail.message(n))
    _kill_for(scripted, deadly)
    account = add_account(mailsync, scripted, user)

    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="25")
    _wait_through_failures(worker, database, "select count(*) from folders where status = 'active'")

    assert live_uids(database, account) == list(range(1, 41))
    stubs = "select array_agg(uid order by uid) from messages where 'unfetchable' = any(parse_errors)"
    assert value(database, stubs) == sorted(deadly)
    assert value(database, "select count(*) from messages where subject = 'Message ' || uid") == 40 - len(
        deadly
    )

    # the same for new mail: the cursor passes the message, and later mail is there
    deadly.add(41)
    inbox.add(mail.message(41))
    inbox.add(mail.message(42))
    _wait_through_failures(worker, database, "select count(*) from messages where uid = 42")
    deadly.add(43)
    inbox.add(mail.message(43))
    _wait_through_failures(worker, database, "select count(*) from messages where uid = 43")
    _wait_through_failures(worker, database, "select 1 from folders where last_uid = 43")
    reason = "select sync_state_reason from account_status"
    _wait_through_failures(worker, database, f"select 1 where ({reason}) = 'unreadable_messages'")
    assert live_uids(database, account) == list(range(1, 44))
    assert value(database, stubs) == sorted(deadly)
    assert value(database, "select array_agg(uid order by uid) from fetch_attempts") == sorted(deadly)
    assert value(database, "select count(*) from fetch_attempts where retry_at is null") == 0


def test_the_newest_message_is_not_lost_when_the_server_leaves_it_out_once(
    mailsync: Mailsync,
    scripted: ScriptedServer,
    database: psycopg.Connection[Any],
    start_worker: Callable[..., Running],
) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    inbox.add(mail.message(1))
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: value(database, "select sync_state from account_status") == "healthy")

    scripted.on("UID FETCH", lambda request: request.tagged(b"OK nothing"), times=1)
    inbox.add(mail.message(2))

    worker.wait_for(lambda: live_uids(database, account) == [1, 2])


def _kill_for(server: ScriptedServer, deadly: set[int]) -> None:
    def answer(request: Request) -> bytes:
        ranges = in_set(request.arguments[0], 10_000)  # type: ignore[arg-type]
        whole = b"BODY" in request.text or b"INTERNALDATE" in request.text
        if whole and any(first <= uid <= last for uid in deadly for first, last in ranges):
            return request.close()
        return request.default()

    server.on("UID FETCH", answer)


def _wait_through_failures(worker: Running, database: psycopg.Connection[Any], query: str) -> None:
    """Wait until the query returns 1; end each backoff meanwhile."""

    def met() -> bool:
        if value(database, query):
            return True
        wake(database)
        return False

    worker.wait_for(met)


def _responses(answer: bytes) -> list[bytes]:
    """Cut an answer into untagged responses with their literals, and the tagged line."""
    found: list[bytes] = []
    while answer:
        at = 0
        while True:
            end = answer.index(b"\r\n", at) + 2
            line = answer[at:end]
            if not line.endswith(b"}\r\n"):
                break
            at = end + int(line[line.rindex(b"{") + 1 : -3])
        found.append(answer[:end])
        answer = answer[end:]
    return found
