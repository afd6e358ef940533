"""Attachments and raw messages: byte for byte, of any size; a slow reader delays no other process."""

from __future__ import annotations

import base64
import hashlib
import json
import quopri
import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mailsync.bodies.fetch import fetch_attachment, fetch_body, fetch_raw
from mailsync.errors import Gone, NotFound, Paused
from tests import ROOT
from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.run_directory import PATIENCE
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters

BINARY = random.Random(7).randbytes(100_000)
LINES = b"".join(b"Zeile %d = \xc3\xbc \xff \t.\r\n" % n for n in range(3000))


def lines_of(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


ENCODED = {
    "base64": (lines_of(BINARY), BINARY),
    "quoted-printable": (quopri.encodestring(LINES.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n"), LINES),
    "7bit": (b"plain text\r\n" * 20_000, b"plain text\r\n" * 20_000),
    "8bit": (LINES, LINES),
    "binary": (LINES, LINES),
}


def with_attachment(encoding: str, encoded: bytes) -> bytes:
    """A message whose part 2 has this encoding."""
    field = f"Content-Transfer-Encoding: {encoding}\r\nContent-Disposition:".encode()
    return mail.message(1, attachment=encoded).replace(b"Content-Disposition:", field)


@pytest.fixture(params=["scripted", "dovecot"])
def mirror_of(
    request: pytest.FixtureRequest, database_url: str, scripted: ScriptedServer, dovecot: Dovecot
) -> Iterator[object]:
    """Mirror a mailbox with these messages, in ranges of 64 KiB."""
    mirrors = []

    def make(*messages: bytes) -> Mirror:
        if request.param == "scripted":
            user = scripted.new_user()
            folder = letters(user, 0)
            for raw in messages:
                folder.add(raw)
            mirror = Mirror(database_url, scripted, user, imap_max_literal_bytes=64 * 1024)
        else:
            login = dovecot.new_user()
            for raw in messages:
                dovecot.append(login, "INBOX", raw)
            mirror = Mirror(database_url, dovecot, login, imap_max_literal_bytes=64 * 1024)
        mirrors.append(mirror)
        mirror.complete()
        return mirror

    yield make
    for each in mirrors:
        each.__exit__(None, None, None)


def test_each_transfer_encoding_is_undone_byte_for_byte(mirror_of) -> None:  # type: ignore[no-untyped-def]
    mirror = mirror_of(*(with_attachment(name, encoded) for name, (encoded, _) in ENCODED.items()))
    ids = [row[0] for row in mirror.conn.execute("select id from messages order by uid")]
    for message_id, (name, (_, plain)) in zip(ids, ENCODED.items(), strict=True):
        with fetch_attachment(mirror.env, mirror.account_id, message_id, "2") as spooled:
            # the line break before the boundary does not belong to the part
            assert b"".join(spooled).removesuffix(b"\r\n") == plain.removesuffix(b"\r\n"), name
            assert spooled.attachment is not None
            assert spooled.attachment.filename == "file.bin"
    assert mirror.state == ("healthy", None)


def test_a_raw_message_is_given_as_it_is(mirror_of) -> None:  # type: ignore[no-untyped-def]
    raw = with_attachment("base64", ENCODED["base64"][0])
    mirror = mirror_of(raw)
    message_id = mirror.value("select id from messages")
    with fetch_raw(mirror.env, mirror.account_id, message_id) as spooled:
        assert spooled.size == len(raw)
        assert b"".join(spooled) == raw


@pytest.fixture
def scripted_mirror(database_url: str, scripted: ScriptedServer) -> Iterator[Mirror]:
    """One message with an attachment."""
    user = scripted.new_user()
    letters(user, 0).add(with_attachment("base64", b"YWJj"))
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        yield mirror


def test_who_reads_slowly_holds_nobody_up(scripted_mirror: Mirror) -> None:
    mirror = scripted_mirror
    message_id = mirror.value("select id from messages")
    with fetch_attachment(mirror.env, mirror.account_id, message_id, "2") as spooled:
        reading = iter(spooled)
        assert next(reading) == b"abc"
        assert mirror.value("select count(*) from account_locks") == 0
        mirror.hot()
        assert list(reading) == []
    assert mirror.state == ("healthy", None)


def test_a_part_that_is_none_is_not_found_without_asking(
    scripted_mirror: Mirror, scripted: ScriptedServer
) -> None:
    mirror = scripted_mirror
    message_id = mirror.value("select id from messages")
    before = len(scripted.journal.commands())
    for part in ("1", "9", "2.1", "", "HEADER", "2] BODY[", "x" * 1000):
        with pytest.raises(NotFound):
            fetch_attachment(mirror.env, mirror.account_id, message_id, part)
    assert len(scripted.journal.commands()) == before


def test_an_attachment_of_what_is_gone_or_paused(scripted_mirror: Mirror, scripted: ScriptedServer) -> None:
    mirror = scripted_mirror
    message_id = mirror.value("select id from messages")
    mirror.conn.execute("update accounts set paused_at = now()")
    with pytest.raises(Paused):
        fetch_raw(mirror.env, mirror.account_id, message_id)
    mirror.conn.execute("update accounts set paused_at = null")
    next(iter(scripted.accounts.values())).folders[b"INBOX"].expunge(1)
    with pytest.raises(Gone):
        fetch_attachment(mirror.env, mirror.account_id, message_id, "2")
    assert mirror.value("select deleted_reason from messages") == "expunged"


def test_without_a_structure_the_encoding_is_read_from_the_part(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    folder = letters(user, 0)
    folder.add(with_attachment("base64", b"YWJj"))
    folder.add(b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nZGVm")
    broken = b"BODYSTRUCTURE ((("
    scripted.on("UID FETCH", lambda request: request.default().replace(b"BODYSTRUCTURE (", broken))
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        scripted.off("UID FETCH")

        def mime(request) -> bytes:  # type: ignore[no-untyped-def]
            # the scripted server knows no MIME
            if b"[2.MIME]" in request.text:
                header = b"Content-Transfer-Encoding: base64\r\n\r\n"
                return b"* 1 FETCH (UID 1 BODY[2.MIME]<0> {%d}\r\n%s)\r\n" % (
                    len(header), header,
                ) + request.tagged(b"OK done")  # fmt: skip
            if b".MIME]" in request.text:
                return bytes(request.tagged(b"BAD no such section"))
            return bytes(request.default())

        scripted.on("UID FETCH", mime)
        for uid, part, plain in ((1, "2", b"abc"), (2, "1", b"def")):
            message_id = mirror.value("select id from messages where uid = %s", uid)
            fetch_body(mirror.env, mirror.account_id, message_id)
            with fetch_attachment(mirror.env, mirror.account_id, message_id, part) as spooled:
                assert b"".join(spooled) == plain


def test_64_megabytes_are_streamed_in_little_memory(dovecot: Dovecot, database_url: str) -> None:
    data = random.Random(64).randbytes(1_000_000) * 64
    user = dovecot.new_user()
    dovecot.append(user, "INBOX", with_attachment("base64", ENCODED["base64"][0]))
    dovecot.append(user, "INBOX", with_attachment("base64", lines_of(data)))
    with Mirror(database_url, dovecot, user) as mirror:
        mirror.complete()
        ids = [str(row[0]) for row in mirror.conn.execute("select id from messages order by uid")]
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.streaming", database_url, str(mirror.account_id), *ids],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["size"] == len(data)
        assert told["digest"] == hashlib.sha256(data).hexdigest()
        assert told["growth"] < 30_000_000
        print(told["growth"])
