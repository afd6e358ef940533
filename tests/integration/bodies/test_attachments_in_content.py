"""Attachments that only the content of a message shows: the row has them, and they can be downloaded."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from mailsync.bodies.fetch import Spooled, fetch_attachment
from mailsync.errors import ProtocolError
from tests.integration.bodies.test_attachments import with_attachment
from tests.support import mail
from tests.support.boxes import Box, boxed
from tests.support.scripted import ScriptedServer
from tests.unit.mail.test_uuencode import uuencoded

DATA = random.Random(11).randbytes(3000)


@pytest.fixture
def box(database_url: str, scripted: ScriptedServer) -> Iterator[Box]:
    """One message on the scripted server, mirrored."""
    with boxed(database_url, scripted) as box:
        yield box


def download(box: Box, message_id: int, part: str) -> tuple[bytes, tuple[str, ...]]:
    with fetch_attachment(box.mirror.env, box.mirror.account_id, message_id, part) as spooled:
        assert isinstance(spooled, Spooled)
        return b"".join(spooled), spooled.warnings


def listed(box: Box, message_id: int) -> list[tuple[Any, ...]]:
    return box.mirror.conn.execute(
        "select part, filename, content_type, from_content from attachments"
        " where message_pk = %s order by part",
        [message_id],
    ).fetchall()


def has_attachments(box: Box, message_id: int) -> bool:
    has: bool = box.mirror.value("select has_attachments from messages where id = %s", message_id)
    return has


def test_a_file_in_a_text_is_listed_once_the_body_is_fetched(box: Box) -> None:
    message_id = box.add(mail.message(5, body=b"See the file.\r\n\r\n" + uuencoded(DATA)))
    assert (listed(box, message_id), has_attachments(box, message_id)) == ([], False)
    body = box.fetch(message_id)
    assert (body.text, [file.part for file in body.attachments]) == ("See the file.\n\n", ["1.1"])
    expected = [("1.1", "a file.bin", "application/octet-stream", True)]
    assert (listed(box, message_id), has_attachments(box, message_id)) == (expected, True)
    assert download(box, message_id, "1.1") == (DATA, ())
    # the row is stored again, as after a reset
    box.mirror.conn.execute("update folders set last_uid = 0, uidnext = null")
    box.mirror.hot()
    assert (listed(box, message_id), has_attachments(box, message_id)) == (expected, True)
    assert download(box, message_id, "1.1") == (DATA, ())


def test_a_part_that_bodystructure_does_not_show_is_found_in_the_content(box: Box) -> None:
    """As if the server misread the header of the message."""
    text = b'BODYSTRUCTURE ("text" "plain" NIL NIL NIL "7bit" 100 5 NIL NIL NIL NIL) '

    def misread(request: Any) -> bytes:
        answer: bytes = request.default()
        start = answer.find(b"BODYSTRUCTURE (")
        if start < 0:
            return answer
        depth, end = 0, start + len(b"BODYSTRUCTURE ")
        while True:
            depth += {ord("("): 1, ord(")"): -1}.get(answer[end], 0)
            end += 1
            if not depth:
                return answer[:start] + text.rstrip() + answer[end:]

    box.server.on("UID FETCH", misread)
    message_id = box.add(with_attachment("x-uuencode", uuencoded(DATA)))
    assert (listed(box, message_id), has_attachments(box, message_id)) == ([], False)
    box.fetch(message_id)
    assert listed(box, message_id) == [("2", "file.bin", "application/octet-stream", True)]
    assert has_attachments(box, message_id)
    box.server.off("UID FETCH")
    assert download(box, message_id, "2") == (DATA, ())


def test_an_attachment_that_the_content_does_not_have_is_no_longer_listed(box: Box) -> None:
    message_id = box.add(with_attachment("binary", b"content"))
    box.mirror.conn.execute(
        "insert into attachments (account_id, message_pk, part, content_type) values (%s, %s, '7', 'a/b')",
        [box.mirror.account_id, message_id],
    )
    before = box.mirror.value("select updated_at from messages where id = %s", message_id)
    box.fetch(message_id)
    assert listed(box, message_id) == [("2", "file.bin", "application/octet-stream", False)]
    assert box.mirror.value("select updated_at from messages where id = %s", message_id) > before


def test_what_a_cut_message_shows_does_not_replace_what_bodystructure_shows(box: Box) -> None:
    box.mirror.configure(body_max_bytes=64 * 1024)
    long = with_attachment("binary", b"content").replace(b"Text of", b"Text\r\n" * 20_000 + b"Text of")
    message_id = box.add(long)
    assert box.fetch(message_id).truncated
    assert listed(box, message_id) == [("2", "file.bin", "application/octet-stream", False)]
    assert has_attachments(box, message_id)


@pytest.mark.parametrize("answer", ["NO", "BAD", "empty"])
def test_a_part_that_the_server_does_not_send_is_taken_out_of_the_message(box: Box, answer: str) -> None:
    message_id = box.add(with_attachment("x-uuencode", uuencoded(DATA)))

    def refuse(request: Any) -> bytes:
        if b"BODY.PEEK[2]" not in request.text:
            return bytes(request.default())
        if answer == "empty":
            return b'* 2 FETCH (UID 2 BODY[2]<0> "")\r\n' + bytes(request.tagged(b"OK done"))
        return bytes(request.tagged(answer.encode() + b" cannot"))

    box.server.on("UID FETCH", refuse)
    assert download(box, message_id, "2") == (DATA, ())


def test_a_part_that_neither_server_nor_message_has_is_the_servers_failure(box: Box) -> None:
    message_id = box.add(mail.message(5))
    box.mirror.conn.execute(
        "insert into attachments (account_id, message_pk, part, content_type) values (%s, %s, '7', 'a/b')",
        [box.mirror.account_id, message_id],
    )

    def refuse(request: Any) -> bytes:
        is_part = b"BODY.PEEK[7" in request.text
        return bytes(request.tagged(b"BAD no such part") if is_part else request.default())

    box.server.on("UID FETCH", refuse)
    with pytest.raises(ProtocolError):
        download(box, message_id, "7")


def test_content_that_is_not_encoded_as_it_says_comes_as_it_is_with_a_warning(box: Box) -> None:
    for encoding, content in (("base64", b"name;sum\r\nAnn;1"), ("x-rot13", b"abc"), ("uue", b"plain")):
        message_id = box.add(with_attachment(encoding, content))
        assert download(box, message_id, "2") == (content, ("transfer_encoding",))
