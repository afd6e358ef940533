"""Servers that answer with something else than was asked for: no wrong bytes are stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mailsync.bodies.fetch import fetch_raw
from mailsync.errors import ProtocolError, UidValidityMoved
from tests.support import mail
from tests.support.boxes import Box, boxed
from tests.support.scripted import Handler, ScriptedServer
from tests.support.session import Request

# three ranges
LONG = mail.message(5, body=b"".join(b"line %07d\r\n" % n for n in range(170_000)))


@pytest.fixture
def box(database_url: str, scripted: ScriptedServer) -> Iterator[Box]:
    """One message on the scripted server, mirrored."""
    with boxed(database_url, scripted) as box:
        yield box


def saying(item: bytes) -> Handler:
    """Answer each FETCH with this item of the second message."""
    return lambda request: b"* 2 FETCH (UID 2 %s)\r\n" % item + request.tagged(b"OK done")


def raw(box: Box, message_id: int) -> bytes:
    with fetch_raw(box.mirror.env, box.mirror.account_id, message_id) as spooled:
        return b"".join(spooled)


def test_a_server_that_knows_no_ranges_gives_each_byte_once(box: Box) -> None:
    message_id = box.add(LONG)
    box.server.on("UID FETCH", saying(b"BODY[] {%d}\r\n%s" % (len(LONG), LONG)))
    assert raw(box, message_id) == LONG
    body = box.fetch(message_id)
    assert (body.raw_bytes, body.warnings) == (len(LONG), ())


def test_a_server_that_does_not_say_where_a_range_begins_is_believed(box: Box) -> None:
    message_id = box.add(LONG)
    box.server.on("UID FETCH", lambda request: re.sub(rb"\]<\d+> ", b"] ", request.default(), count=1))
    assert raw(box, message_id) == LONG


@pytest.mark.parametrize("size", [None, len(LONG), len(LONG) + 1000])
def test_a_server_that_sends_less_than_it_is_asked_for_is_asked_for_the_rest(
    box: Box, size: int | None
) -> None:
    message_id = box.add(LONG)
    box.mirror.conn.execute("update messages set size_bytes = %s where id = %s", [size, message_id])

    def at_most(request: Request) -> bytes:
        head, literal, rest = re.split(rb"\{(?=\d+\}\r\n)|\}\r\n", request.default(), maxsplit=2)
        data, tail = rest[: int(literal)], rest[int(literal) :]
        return b"%s{%d}\r\n%s%s" % (head, len(data[:700_000]), data[:700_000], tail)

    box.server.on("UID FETCH", at_most)
    assert raw(box, message_id) == LONG


def test_a_range_from_elsewhere_is_the_servers_failure(box: Box) -> None:
    message_id = box.add(LONG)
    box.server.on("UID FETCH", lambda request: request.default().replace(b"]<1048576> ", b"]<0> ", 1))
    box.fails(message_id, ProtocolError)
    assert box.mirror.value("select count(*) from message_bodies") == 0


@pytest.mark.parametrize("nothing", [b"NIL", b'""', b"{0}\r\n"])
def test_nothing_in_the_place_of_a_message_is_not_its_body(box: Box, nothing: bytes) -> None:
    message_id = box.add(mail.message(5))
    box.server.on("UID FETCH", saying(b"BODY[]<0> " + nothing))
    box.fails(message_id, ProtocolError)
    assert box.mirror.value("select count(*) from message_bodies") == 0
    assert box.mirror.value("select deleted_at from messages where id = %s", message_id) is None
    box.server.off("UID FETCH")
    assert box.fetch(message_id).text == "Text of message 5.\n"


def test_another_message_under_the_uid_is_not_the_rows(box: Box) -> None:
    """As if a server recreated a folder, or swapped two names, and kept UIDVALIDITY and UIDs."""
    known = mail.message(5)
    message_id = box.add(known)
    box.folder.mails[2] = replace(
        box.folder.mails[2], raw=b"Subject: x\r\n\r\n", date=b"02-Feb-2024 10:00:00 +0000"
    )
    assert "another message" in str(box.fails(message_id, UidValidityMoved))
    with pytest.raises(UidValidityMoved):
        raw(box, message_id)
    assert box.mirror.value("select count(*) from message_bodies") == 0
    # a server may report another size, or another date, for the same message
    box.folder.mails[2] = replace(box.folder.mails[2], raw=known)
    assert box.fetch(message_id).text == "Text of message 5.\n"


def test_a_message_without_a_byte_has_an_empty_body(box: Box) -> None:
    body = box.fetch(box.add(b""))
    assert (body.text, body.raw_bytes) == ("", 0)
