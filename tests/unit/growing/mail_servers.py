"""The functions that parse data of mail servers and web servers, except FETCH."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import h11

from mailsync.core.folder_roles import assign_roles, inbox_alias
from mailsync.errors import Transient
from mailsync.imap import unasked
from mailsync.imap.arguments import astring
from mailsync.imap.fetch_flags import parse_vanished
from mailsync.imap.hints import Hints, is_flag_change
from mailsync.imap.message_limit import parse_cut
from mailsync.imap.parsing.list_response import (
    LONGEST_NAME,
    is_list,
    parse_list,
    parse_list_name,
    parse_number,
    parse_object_id,
    parse_status,
)
from mailsync.imap.parsing.mailbox_name import decode_name
from mailsync.imap.parsing.namespace_response import parse_namespaces
from mailsync.imap.parsing.pushed import whole_responses
from mailsync.imap.parsing.search_response import is_search, parse_search
from mailsync.imap.reader import Reader
from mailsync.imap.sasl import MOST_CHALLENGES, Challenges, Refusal, read_refusal, token_error
from mailsync.imap.selected import SelectedMailbox
from mailsync.imap.status_responses import (
    StatusResponse,
    error_for,
    parse_status_response,
    quoted,
    requested_wait,
)
from mailsync.model import ListedFolder
from mailsync.network.http import ResponseReader
from mailsync.network.timeouts import Timeouts
from tests.unit.growing.entries import Reads, as_line, as_response, as_text, as_utf8, reads

_LIMIT = 16 * 1024 * 1024


def _responses(raw: bytes) -> None:
    """Read all responses from a real socket; only the time of the reader counts."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def send() -> None:
        with suppress(OSError):
            theirs.sendall(raw)
        theirs.close()

    with ours:
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        reader = Reader(ours, Timeouts(lambda: None, 60), _LIMIT)
        with suppress(Transient):
            while True:
                reader.read_response()
        ours.close()
        sender.join()


def _web_response(raw: bytes) -> None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LIMIT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    reader = ResponseReader(connection, "a", _LIMIT)
    for start in range(0, len(raw), 4096):
        if reader.feed(raw[start : start + 4096]):
            return
    reader.feed(b"")


def _status_response(raw: bytes) -> None:
    response = parse_status_response(raw)
    if response is not None:
        assert response.code is not None
        assert response.argument is not None
        assert response.words is not None


def _error(step: str | None, command: str) -> object:
    return lambda raw: error_for(StatusResponse("NO", raw), command, step=step)


def _lines(raw: bytes) -> None:
    mailbox = SelectedMailbox()
    for line in raw.split(b"\n"):
        mailbox.handle_response([line])
    mailbox.status()


def _folders(raw: bytes) -> None:
    # list_response ignores rows with longer names
    names = [name[:LONGEST_NAME] for name in raw.split(b"\n")]
    rows = [ListedFolder(name, name.decode("latin-1"), "/", frozenset()) for name in names]
    assign_roles(rows)
    inbox_alias(rows)


def _pushed(raw: bytes) -> None:
    hints = Hints()
    for response in whole_responses(raw)[0]:
        hints.note(response, {b"a": b"a"}, idles=True)


def _challenges(raw: bytes) -> None:
    challenges = Challenges(b"")
    # at most MOST_CHALLENGES are answered
    for line in raw.split(b"\n", MOST_CHALLENGES):
        challenges.reply(line, lambda answer: None)
    read_refusal(challenges.parts)


def _token_error(raw: bytes) -> None:
    text = raw.decode("latin-1")
    token_error(StatusResponse("NO", raw), Refusal(text, text))


_STATUS = b'* STATUS "a" '

MAIL_SERVERS: list[Reads] = [
    reads(
        "pushed responses",
        _pushed,
        (b"", b"\n"),
        (b"", b"* 1 EXISTS\r\n"),
        (b"", b'* STATUS "a" (UIDNEXT 3)\r\n'),
        (b"* LIST () ", b"a {1}\r\nx"),
        (b"* LIST () ", b"{0}\r\n"),
        (b"* LIST ", b"( "),
        (b"* 1 FETCH (", b"{"),
    ),
    reads(
        "challenges",
        _challenges,
        (b"", b"+ \n"),
        (b"+ ", b"a\n"),
        (b"+ ", b"a"),
        (b"+ ", b"="),
        (b"+ ", b"a="),
        (b"+ ", b"["),
        (b"+ ", b'{"a":'),
        (b"+ ", b"W1tb"),
        (b"+ ", b" ", b"a"),
    ),
    reads(
        "refusal",
        lambda raw: read_refusal([raw]),
        (b"", b'"status"'),
        (b'"status"', b" "),
        (b'"status":', b" "),
        (b'"status":', b"a"),
        (b"", b'"status":'),
        (b'"status":1,"scope":', b"a"),
        (b'"status":1,', b'"scope"'),
        (b'{"status":"1","scope"', b" "),
        (b"", b"["),
        (b"", b'{"a":'),
        (b'{"status":"', b"\\u0061"),
        (b'{"status":', b"1"),
    ),
    reads(
        "error for a refused token",
        _token_error,
        (b"", b"a"),
        (b"", b" "),
        (b"5", b"5"),
        (b"", b"server_error"),
    ),
    reads(
        "flag change",
        as_response(is_flag_change),
        (b"* ", b"1"),
        (b"* 1 FETCH (", b"a"),
    ),
    reads(
        "hint",
        as_response(lambda parts: Hints().note(parts, {b"a": b"a"}, idles=True)),
        (b"* ", b"1"),
        (b"* 1 FETCH (", b"a"),
        (b"* VANISHED ", b"1,"),
        (b"* OK [", b"a"),
        (b'* LIST () "/" a ("OLDNAME" (', b"a", b"))"),
    ),
    reads(
        "web response",
        _web_response,
        (b"HTTP/1.1 ", b"2"),
        (b"HTTP/1.1 200 ", b"a"),
        (b"HTTP/1.1 200 a\r\n", b"\n"),
        (b"HTTP/1.1 200 a\r\n", b"a: b\r\n"),
        (b"HTTP/1.1 200 a\r\n", b"a: b\r\n", b"\r\n"),
        (b"HTTP/1.1 200 a\r\n", b"a:\r\n b\r\n", b"\r\n"),
        (b"HTTP/1.1 200 a\r\na: b\r\n", b" a\r\n", b"\r\n"),
        (b"HTTP/1.1 200 a\r\na:", b" "),
        (b"HTTP/1.1 200 a\r\na: ", b"a", b"\r\n\r\n"),
        (b"HTTP/1.1 200 a\r\nContent-Length: ", b"1", b"\r\n\r\n"),
        (b"HTTP/1.1 200 a\r\nContent-Length: ", b"1, ", b"1\r\n\r\n"),
        (b"", b"HTTP/1.1 100 a\r\n\r\n"),
        (b"HTTP/1.1 200 a\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"HTTP/1.1 200 a\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (b"HTTP/1.1 200 a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    ),
    reads(
        "responses",
        _responses,
        (b"", b"* OK hello\r\n"),
        (b"", b"\n"),
        (b"* OK ", b"a"),
        (b"a1 OK ", b"a"),
        (b"+ ", b"a"),
        (b"* 1 FETCH (", b"a {1}\r\nx"),
        (b"* 1 FETCH (", b"a {0}\r\n"),
        (b"* 1 FETCH (", b"a {0}\r\n\r\n "),
        (b"", b"* 1 FETCH (a {0}\r\n\r\n"),
        (b"* 1 FETCH (", b"{"),
        (b"* SEARCH ", b"1 "),
        (b"* LIST ", b"( "),
        (b"* 1 FETCH (X ", b"{9}\r\n123456789"),
        (b"* 1 FETCH (", b"{", b"{1}\r\na)\r\n"),
        (b"* 1 FETCH (", b"{1", b"}\r\n"),
        (b"* OK ", b"a", b"{1}\r\n"),
        (b"* LIST ", b"(", b" {1}\r\na\r\n"),
        (b"* ", b"1", b"\r\n"),
    ),
    reads(
        "status response",
        _status_response,
        (b"OK ", b" "),
        (b"OK [", b"a"),
        (b"OK [a", b" "),
        (b"OK ", b"[a"),
        (b"OK [A ", b"["),
        (b"OK [A [", b"]"),
        (b"NO ", b"a://"),
        (b"BAD [a.", b"a."),
    ),
    reads(
        "quoted",
        quoted,
        (b"", b"a"),
        (b"", b" "),
        (b"", b"a."),
        (b"", b"a://"),
        (b"", b"a://b@ "),
        (b"LOGIN ", b'"\\'),
        (b"", b"LOGIN "),
        (b"", b'LOGIN "'),
        (b"", b'LOGIN \\"'),
        (b"", b'LOGIN a \\"'),
        (b"", b"AUTHENTICATE "),
        (b"AUTHENTICATE a ", b'\\"'),
        (b"", b'AUTHENTICATE a \\"'),
        (b"", b"\x00"),
    ),
    *(
        reads(
            name,
            _error(step, command),
            (b"", b"["),
            (b"", b"[a"),
            (b"", b" "),
            (b"[", b"a"),
            (b"[a", b" "),
            (b"", b"exceeded "),
            (b"", b"max"),
            (b"", b"max connectio "),
            (b"max", b"a"),
            (b"", b"bad "),
            (b"", b"bad a "),
            (b"bad", b" "),
            (b"invalid ", b"a"),
            (b"invalid", b"-"),
            (b"", b"retry "),
            (b"", b"again 5"),
            (b"retry 5", b" "),
            (b"retry 5millis", b"a"),
            (b"", b"backoff"),
            (b"", b"time"),
            (b"time", b"d"),
            (b"", b"internal "),
            (b"internal ", b"a"),
            (b"", b"requires "),
            (b"", b"unknown "),
            (b"", b"password is "),
            (b"", b"too many "),
        )
        for name, step, command in (
            ("refusal of LOGIN", "login", "LOGIN"),
            ("refusal of EXAMINE", None, "EXAMINE"),
            ("refusal of FETCH", None, "FETCH"),
        )
    ),
    reads(
        "requested wait",
        as_text(requested_wait),
        (b"", b"retry "),
        (b"retry ", b"5"),
        (b"retry 5", b" "),
        (b"", b"again5"),
    ),
    reads(
        "list row",
        as_response(parse_list),
        (b"* LIST (", b"a "),
        (b"* LIST (", b"a"),
        (b"* LIST ", b" "),
        (b"* LIST ", b"("),
        (b'* LIST () "/" ', b" "),
        (b'* LIST () "/" ', b'"'),
        (b'* LIST () "/" ', b'\\"'),
        (b'* LIST () "/" "', b'\\"'),
        (b'* LIST () "/" a("', b" "),
        (b'* LIST () "/" a("', b" ("),
        (b'* LIST () "/" a("', b" ()"),
        (b'* LIST () "/" a (("', b"()"),
        (b'* LIST () "/" a("', b" (a"),
        (b'* LIST () "/" a("', b")"),
        (b'* LIST () "/" a("', b" (()"),
        (b'* LIST () "/" ', b"&a"),
        (b'* LIST () "/" a (', b'"(")'),
        (b'* LIST () "/" a(" (', b"a", b"x"),
        (b"* LIST () NIL \0", b"a"),
    ),
    reads("is list row", as_line(is_list), (b"* LIST ", b" "), (b"* LIST (", b"a ")),
    reads(
        "list row's name", as_response(parse_list_name), (b'* LIST () "/" a("', b" "), (b"* LIST (", b"a ")
    ),
    reads(
        "status row",
        as_response(parse_status),
        (_STATUS + b"(", b"a", b")"),
        (_STATUS + b"(", b"a ", b")"),
        (_STATUS + b"(", b'a "', b")"),
        (_STATUS + b"(", b"a ("),
        (_STATUS + b"(", b"a (b) ", b")"),
        (_STATUS, b"("),
        (_STATUS, b"(("),
        (_STATUS + b"(", b"()"),
        (_STATUS, b"()"),
        (_STATUS + b"(", b"a", b" 1)"),
        (_STATUS, b") "),
        (_STATUS + b"()", b" ", b"x"),
        (b"* STATUS ", b" "),
        (_STATUS + b"(", b"a-", b")"),
        (b"* STATUS \0", b"a", b"\0 (MESSAGES 1)"),
        (_STATUS + b"(", b"MESSAGES 1 ", b")"),
    ),
    reads(
        "namespaces",
        as_response(parse_namespaces),
        (b"* NAMESPACE ", b"("),
        (b"* NAMESPACE ", b"()"),
        (b"* NAMESPACE (", b'("" "/")'),
        (b'* NAMESPACE (("', b"\\a"),
        (b'* NAMESPACE (("', b'"'),
        (b"* NAMESPACE ", b" "),
        (b"* NAMESPACE ", b"a"),
        (b"* NAMESPACE \0", b"(", b"\0a"),
        (b"* NAMESPACE ((", b'"a" ', b")) NIL NIL"),
    ),
    reads(
        "limit of a command",
        lambda text: parse_cut(StatusResponse("OK", text)),
        (b"[MESSAGELIMIT ", b"1", b"]"),
        (b"[MESSAGELIMIT ", b"1 ", b"]"),
        (b"[MESSAGELIMIT ", b" "),
    ),
    reads("number", parse_number, (b"", b"1")),
    reads("object id", parse_object_id, (b"", b"("), (b"", b"a"), (b"", b"\xff")),
    reads(
        "mailbox name", decode_name, (b"", b"&"), (b"&", b"A"), (b"", b"&A"), (b"", b"&AA-"), (b"", b"\xff")
    ),
    reads(
        "folders",
        _folders,
        (b"Trash/", b"/"),
        (b"", b"a/b\n"),
        (b"Trash\n", b"Trash/a\n"),
        (b"Trash\n", b"/"),
        (b"", b"\n"),
    ),
    reads(
        "folder, decomposed",
        as_utf8(lambda text: assign_roles([ListedFolder(b"a", text, "/", frozenset())])),
        (b"a", "\u0301\u0316".encode()),
        (b"Ent", "u\u0308".encode()),
    ),
    reads("argument", astring, (b"", b"a"), (b"", b'"'), (b"", b"\\"), (b"", b"\n")),
    reads("is SEARCH", as_line(is_search), (b"* SEARCH", b" "), (b"* ", b"E")),
    reads(
        "SEARCH",
        as_line(parse_search),
        (b"* SEARCH ", b"1 "),
        (b"* SEARCH ", b"1"),
        (b"* SEARCH ", b"(MODSEQ "),
        (b"* SEARCH ", b"(MODSEQ 1"),
        (b"* SEARCH ", b"9,7,5,3 "),
        (b"* ESEARCH ", b"ALL "),
        (b"* ESEARCH ALL ", b"1:2,"),
        (b"* ESEARCH ALL ", b"9,7:3,"),
        (b"* ESEARCH ALL ", b"1"),
        (b"* ESEARCH ALL ", b","),
        (b"* ESEARCH ALL ", b" "),
        (b"* ESEARCH ALL ", b"1:"),
    ),
    reads(
        "VANISHED",
        as_line(parse_vanished),
        (b"* VANISHED ", b"1,"),
        (b"* VANISHED ", b"9:3,5,"),
        (b"* VANISHED", b" "),
        (b"* VANISHED ", b"1"),
        (b"* VANISHED (EARLIER) ", b","),
        (b"* VANISHED (EARLIER)", b" "),
    ),
    reads(
        "untagged responses",
        _lines,
        (b"", b"* 1 EXISTS\n"),
        (b"", b"* OK [A a]\n"),
        (b"", b"* VANISHED 1,3,5\n"),
        (b"* ", b"1"),
        (b"* OK [", b"a"),
        (b"* OK [a", b" "),
        (b"* OK [A ", b"["),
        (b"* VANISHED ", b"1,"),
        (b"* OK [HIGHESTMODSEQ ", b"1", b"]"),
        (b"* OK [MAILBOXID (", b"a", b")]"),
    ),
    reads(
        "BYE among unread bytes",
        lambda raw: unasked._BYE.search(raw),
        (b"", b"\n"),
        (b"", b"* BY"),
        (b"", b"\n* "),
    ),
]
