"""A server or a database role that floods a process does not make it grow.

One worker serves all accounts, and one API process all requests. Each test sends about twice the amount that
would push the process over its limit if it kept the data.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.support import mail, run_directory
from tests.support.api import StartApi
from tests.support.memory import peak
from tests.support.mirrors import add_account, live_uids, value
from tests.support.programs import Mailsync, Running
from tests.support.run_directory import PATIENCE
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

MIB = 1024 * 1024
WORKER_LIMIT = 300 * MIB
API_LIMIT = 400 * MIB
MESSAGES = 500

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]
Blocks = Callable[[Request], Iterator[bytes]]


class Flood(NamedTuple):
    """The bytes that a server sends before its proper answer to a command, and the message that follows."""

    command: str
    blocks: Blocks
    says: str
    synced: bool = False
    """Whether the mirror is complete before the server begins."""
    exists: int = MESSAGES
    """How many messages the server reports for INBOX."""


# -- the floods ---------------------------------------------------------------------------------------


def _repeated(line: bytes, size: int = 48 * MIB, begin: bytes = b"", end: bytes = b"") -> Blocks:
    """Repeat a line until it fills so many bytes."""

    def blocks(request: Request) -> Iterator[bytes]:
        yield begin
        block = line * (64 * 1024 // len(line) or 1)
        for _ in range(size // len(block)):
            yield block
        yield end

    return blocks


def _numbered(
    line: bytes, count: int, first: int = 1, *, step: int = 1, begin: bytes = b"", end: bytes = b""
) -> Blocks:
    """A line repeated so many times, with another number in each of its placeholders."""
    places = line.count(b"%d")

    def blocks(request: Request) -> Iterator[bytes]:
        yield begin
        for n in range(first, first + count * step, 1000 * step):
            yield b"".join([line % ((number,) * places) for number in range(n, n + 1000 * step, step)])
        yield end

    return blocks


def _each_message(fields: Callable[[int], bytes]) -> Blocks:
    """A FETCH response with these fields for each message."""

    def blocks(request: Request) -> Iterator[bytes]:
        for uid in range(1, MESSAGES + 1):
            yield b"* %d FETCH (UID %d %s)\r\n" % (uid, uid, fields(uid))

    return blocks


_DATED = b'INTERNALDATE "01-Feb-2024 10:00:00 +0000" RFC822.SIZE 9'


def _crowded(uid: int) -> bytes:
    """A message with a thousand addresses in each list, and a structure of a thousand attachments."""
    people = b",".join(b"%x@%x.x" % (uid, n) for n in range(1000))
    header = b"".join(b"%s: %s\r\n" % (name, people) for name in (b"To", b"Cc", b"Bcc", b"Reply-To"))
    parts = b"".join(b'("A" "B" ("NAME" "%x-%x") NIL NIL "7BIT" 1)' % (uid, n) for n in range(1000))
    structure = b'BODYSTRUCTURE (%s "MIXED")' % parts
    return b"FLAGS () %s %s BODY[HEADER.FIELDS (TO)] {%d}\r\n%s" % (_DATED, structure, len(header), header)


def _keywords(request: Request) -> Iterator[bytes]:
    """A message with three million keywords, in one line that is not too long."""
    yield b"* 1 FETCH (UID 1 FLAGS ("
    letters = product(bytes(range(0x30, 0x5B)) + bytes(range(0x61, 0x7B)), repeat=4)
    for _ in range(300):
        yield b" ".join(map(bytes, islice(letters, 10_000))) + b" "
    yield b") %s BODYSTRUCTURE NIL BODY[HEADER.FIELDS (TO)] {2}\r\n\r\n)\r\n" % _DATED


def _flagged(uid: int) -> bytes:
    """A message with 500 keywords of 500 characters."""
    words = b" ".join((b"%x-%x-" % (uid, n)).ljust(500, b"k") for n in range(500))
    return b"FLAGS (%s) %s BODYSTRUCTURE NIL BODY[HEADER.FIELDS (TO)] {2}\r\n\r\n" % (words, _DATED)


def _wide(uid: int) -> bytes:
    """A state with 230 long keywords, each with a character that makes its text four times as wide."""
    words = b" ".join((b"%x-%x-" % (uid, n)).ljust(490, b"k") + "\U0001f600".encode() for n in range(230))
    return b"FLAGS ({1}\r\nk %s)" % words


def _shaped(uid: int) -> bytes:
    """A message with a unique structure, just short enough to be cached."""
    shape = b'("A" "B" NIL NIL NIL "7BIT" 1)' * 170
    own = b"".join(b"NIL " if uid >> bit & 1 else b'"" ' for bit in range(12))
    return b'FLAGS () %s BODYSTRUCTURE (%s "M" (%s)) BODY[HEADER.FIELDS (TO)] {2}\r\n\r\n' % (
        _DATED,
        shape,
        own,
    )


def _attributed(request: Request) -> Iterator[bytes]:
    """15,000 folders with about a thousand attributes each, all of them distinct."""
    for folder in range(15_000):
        words = b" ".join(map(b"%x".__mod__, range(folder * 4096, folder * 4096 + 680)))
        yield b'* LIST (%s) "/" f%d\r\n' % (words[:4090], folder)


def _vanished(request: Request) -> Iterator[bytes]:
    """Four lines with 490,000 ranges each."""
    for first in range(10**6, 5 * 10**6, 10**6):
        yield from _numbered(b"%d,", 490_000, first, step=2, begin=b"* VANISHED (EARLIER) ", end=b"1\r\n")(
            request
        )


def _found(ranges: int) -> Blocks:
    """An answer to SEARCH with so many ranges."""
    return _numbered(b"%d,", ranges, 10**6, step=2, begin=b"* ESEARCH UID ALL ", end=b"1\r\n")


_STATUS = b"* STATUS f%d (MESSAGES 1 UIDNEXT %d)\r\n"

FLOODS = {
    "FETCH: empty literals of unknown fields": Flood(
        "UID FETCH", _repeated(b" X {0}\r\n", begin=b"* 1 FETCH (UID 1", end=b")\r\n"), "FETCH"
    ),
    "FETCH: short literals of fields with other names": Flood(
        "UID FETCH", _numbered(b" X%d {1}\r\nx", 3_000_000, begin=b"* 1 FETCH (UID 1", end=b")\r\n"), "FETCH"
    ),
    "FETCH: unknown fields": Flood(
        "UID FETCH", _numbered(b" X%d 1", 1_300_000, begin=b"* 1 FETCH (UID 1", end=b")\r\n"), ""
    ),
    "FETCH: unrequested messages": Flood(
        "UID FETCH", _numbered(b"* %d FETCH (UID %d FLAGS (a) RFC822.SIZE 1)\r\n", 2_500_000, 10_000), "FETCH"
    ),
    "FETCH: pieces of messages": Flood(
        "UID FETCH", _each_message(lambda uid: b"FLAGS (%s)" % (b"%d" % uid).ljust(2 * MIB, b"k")), "FETCH"
    ),
    "FETCH: messages of a thousand parts": Flood("UID FETCH", _each_message(_crowded), "FETCH"),
    "FETCH: messages with long keywords": Flood("UID FETCH", _each_message(_flagged), "FETCH"),
    "FETCH: a message of many keywords": Flood("UID FETCH", _keywords, ""),
    "FETCH: vanished messages": Flood("UID FETCH", _vanished, "", synced=True),
    "FETCH: states with wide keywords": Flood("UID FETCH", _each_message(_wide), "", synced=True),
    "LIST: names": Flood(
        "LIST", _numbered(rb'* LIST (\A%d \B%d \C%d \D%d \E%d) "/" f%d' + b"\r\n", 600_000), "LIST"
    ),
    "LIST: as many folders as may be": Flood(
        "LIST", _numbered(rb'* LIST (\A%d \B%d \C%d) "/" ' + b"f" * 150 + b"%d\r\n", 19_900), ""
    ),
    "LIST: attributes": Flood(
        "LIST", _numbered(rb"\A%d ", 1_500_000, begin=b"* LIST (", end=b') "/" f\r\n'), ""
    ),
    "LIST: folders of many attributes": Flood("LIST", _attributed, ""),
    "LIST: statuses": Flood("LIST", _numbered(_STATUS, 1_400_000), "LIST"),
    "STATUS: others": Flood("STATUS", _numbered(_STATUS, 1_400_000), "STATUS"),
    "SEARCH: ranges": Flood("UID SEARCH", _found(1_000_000), "SEARCH"),
    "SEARCH: a crowded folder": Flood("UID SEARCH", _found(490_000), "", exists=500_000),
    "EXAMINE: codes": Flood("EXAMINE", _numbered(b"* OK [X%d %d]\r\n", 2_600_000), "EXAMINE"),
    "CAPABILITY: words": Flood(
        "CAPABILITY", _numbered(b" X%d", 1_700_000, begin=b"* CAPABILITY IMAP4rev1 ID", end=b"\r\n"), ""
    ),
    "blank lines": Flood("EXAMINE", _repeated(b"\r\n", 256 * MIB), "EXAMINE"),
}  # fmt: skip


# -- the measuring ------------------------------------------------------------------------------------


def _flooding(flood: Flood) -> Callable[[Request], bytes | None]:
    def answer(request: Request) -> bytes | None:
        for block in flood.blocks(request):
            request.send(block)
        return request.default()

    return answer


def _noted(name: str, growth: int) -> None:
    """Write the peak memory to the file that a person who measures has named."""
    if file := os.environ.get("MAILSYNC_TEST_PEAKS"):
        with Path(file).open("a") as out:
            out.write(f"{growth / MIB:8.0f} MiB  {name}\n")


@pytest.mark.long
@pytest.mark.parametrize("name", FLOODS)
def test_a_server_that_floods_does_not_fill_the_memory_of_a_worker(
    name: str,
    mailsync: Mailsync,
    scripted_with: Callable[..., ScriptedServer],
    database: Database,
    start_worker: StartWorker,
) -> None:
    flood = FLOODS[name]
    hostile, honest = scripted_with(), scripted_with()
    if flood.command == "STATUS":
        hostile.capabilities = hostile.capabilities.replace(b" LIST-STATUS", b"")
    victim, neighbour = hostile.new_user("victim@scripted.test"), honest.new_user("neighbour@scripted.test")
    for n in range(1, MESSAGES + 1):
        victim.folder("INBOX").add(mail.message(n))
    neighbour.folder("INBOX").add(mail.message(1))
    bad, good = add_account(mailsync, hostile, victim), add_account(mailsync, honest, neighbour)
    if flood.synced:
        assert mailsync("sync", victim.name).returncode == 0
        victim.folder("INBOX").mails[1].flags = (rb"\Seen",)
        victim.folder("INBOX").add(mail.message(MESSAGES + 1))
    hostile.on(flood.command, _flooding(flood))
    if flood.exists != MESSAGES:
        exists = b"* %d EXISTS" % flood.exists
        hostile.on("EXAMINE", lambda request: re.sub(rb"\* \d+ EXISTS", exists, request.default()))

    worker = start_worker(SYNC_INTERVAL="1s")

    def flooded() -> bool:
        if not flood.says:
            return any(command.finished for command in hostile.journal.commands(flood.command))
        failed = "select count(*) from sync_runs where account_id = %s and error_message like %s"
        return bool(value(database, failed, bad, f"{flood.says}: the server sends more than%"))

    def grown() -> bool:
        return peak(worker.pid) > WORKER_LIMIT

    worker.wait_for(lambda: flooded() or grown())
    uid = neighbour.folder("INBOX").add(mail.message(2))
    worker.wait_for(lambda: uid in live_uids(database, good) or grown())
    _noted(name, peak(worker.pid))
    assert not grown(), f"{peak(worker.pid) // MIB} MiB"
    if flood.says:
        checked = mailsync("check-account", victim.name)
        assert f"{flood.says}: the server sends more than" in " ".join(checked.stdout.split()), checked


@pytest.mark.long
def test_a_role_that_floods_notifications_does_not_fill_the_memory_of_a_worker(
    mailsync: Mailsync,
    scripted: ScriptedServer,
    database: Database,
    database_url: str,
    start_worker: StartWorker,
) -> None:
    """The flood arrives while the worker waits for a server, before the result of its next statement."""
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    account = add_account(mailsync, scripted, user)
    sent = threading.Event()

    def wait_for_the_flood(request: Request) -> bytes:
        assert sent.wait(PATIENCE)
        return request.default()

    scripted.on("LIST", wait_for_the_flood, times=1)
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: scripted.journal.commands("LIST"))
    role = f"curious_{os.getpid()}"
    database.execute(f"create role {role}")
    try:
        database.execute(f"set role {role}")
        for first in range(0, 60_000, 10_000):
            database.execute(
                "select count(pg_notify('mailsync_wake', rpad(n::text, 7900, 'x')))"
                " from generate_series(%s::int, %s::int) n",
                [first, first + 9_999],
            )
    finally:
        database.execute("reset role")
        database.execute(f"drop role {role}")
    sent.set()

    def grown() -> bool:
        return peak(worker.pid) > WORKER_LIMIT

    worker.wait_for(lambda: live_uids(database, account) == [1] or grown())
    uid = user.folder("INBOX").add(mail.message(2))
    worker.wait_for(lambda: uid in live_uids(database, account) or grown())
    _noted("NOTIFY", peak(worker.pid))
    assert not grown(), f"{peak(worker.pid) // MIB} MiB"


@pytest.mark.long
@pytest.mark.parametrize("name", ["LIST: names", "LIST: attributes", "CAPABILITY: words"])
def test_a_server_that_floods_does_not_fill_the_memory_of_an_api_process(
    name: str, mailsync: Mailsync, scripted: ScriptedServer, start_api: StartApi
) -> None:
    flood = FLOODS[name]
    user = scripted.new_user()
    scripted.on(flood.command, _flooding(flood))
    api = start_api()

    document = {
        "email": user.name,
        "password": user.password,
        "imap_host": scripted.host,
        "imap_port": scripted.port,
        "imap_security": "plaintext",
    }
    answer = api.call("POST", "/v1/accounts", document)
    highest = max(peak(process.pid) for process in run_directory.family(api.process.pid))
    _noted(f"API, {name}", highest)
    assert highest < API_LIMIT, f"{highest // MIB} MiB"
    assert answer.status == (502 if flood.says else 201), answer.body
    if flood.says:
        assert f"{flood.says}: the server sends more than" in answer.json()["detail"]
    assert api.get("/health/live").status == 200
