"""Wrong and missing answers to SEARCH, LIST, STATUS, EXAMINE and flag scans, and broken extensions."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import date

import pytest

from mailsync.errors import FolderError, ProtocolError, SentTooMuch
from mailsync.imap import Session
from mailsync.model import MailboxStatus
from mailsync.uidset import UidSet
from tests.support import mail
from tests.support.imap_sessions import FIVE, connect, fetch, in_step, user_with_five
from tests.support.mailboxes import Account
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.session import Request


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    """A user with five messages in INBOX."""
    return user_with_five(scripted)


@pytest.fixture
def session(scripted: ScriptedServer, user: Account) -> Iterator[Session]:
    """A session with that INBOX selected, and a small limit for literals."""
    with connect(scripted, user, imap_max_literal_bytes=65536) as session:
        session.examine(b"INBOX")
        yield session


@pytest.mark.parametrize("disabled_capabilities", [frozenset[str](), frozenset({"ESEARCH"})])
def test_a_missing_search_line_does_not_mean_no_messages(
    scripted: ScriptedServer, user: Account, disabled_capabilities: frozenset[str]
) -> None:
    with connect(scripted, user, disabled_capabilities=disabled_capabilities) as session:
        session.examine(b"INBOX")
        scripted.on("UID SEARCH", b"OK done")
        with pytest.raises(ProtocolError, match="missing"):
            session.search()
        with pytest.raises(ProtocolError, match="missing"):
            session.search(uids=UidSet([(1, 1)]))
        assert not session.closed
        user.create("Empty")
        session.examine(b"Empty")
        assert session.search() == UidSet()


def test_search_lines_may_be_split_and_mixed_with_others(scripted: ScriptedServer, user: Account) -> None:
    lines = b"* SEARCH 5 1\r\n* 4 EXISTS\r\n* SEARCH 2,3\r\n* SEARCH\r\n"
    with connect(scripted, user, disabled_capabilities=frozenset({"ESEARCH"})) as session:
        session.examine(b"INBOX")
        scripted.on("UID SEARCH", lambda request: lines + request.tagged(b"OK done"))
        assert str(session.search()) == "1:3,5"
        assert str(session.search(uids=UidSet([(2, 4)]))) == "2:3"
        assert str(session.search(since=date(2024, 1, 1))) == "1:3,5"


def test_broken_esearch_is_disabled_for_the_session(scripted: ScriptedServer, session: Session) -> None:
    def refuse(request: Request) -> bytes:
        return request.tagged(b"BAD what is RETURN") if b"RETURN" in request.text else request.default()

    scripted.on("UID SEARCH", refuse)
    assert len(session.search()) == 5
    assert len(session.search()) == 5
    assert session.commands["SEARCH"] == 3
    assert "ESEARCH" not in session.capabilities


def test_a_malformed_esearch_answer_is_an_error(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("UID SEARCH", lambda request: b"* ESEARCH UID ALL 1:2:3\r\n" + request.tagged(b"OK"), times=1)
    with pytest.raises(ProtocolError):
        session.search()
    assert in_step(session)


def test_a_search_answer_with_a_million_uids_is_parsed(scripted: ScriptedServer, user: Account) -> None:
    line = b"* SEARCH " + b" ".join(b"%d" % uid for uid in range(1, 1_250_000) if uid % 5) + b"\r\n"
    scripted.on("EXAMINE", lambda request: request.default().replace(b"* 5 EXISTS", b"* 1000000 EXISTS"))
    with connect(scripted, user, disabled_capabilities=frozenset({"ESEARCH"})) as session:
        session.examine(b"INBOX")
        scripted.on("UID SEARCH", lambda request: line + request.tagged(b"OK done"), times=1)
        assert len(session.search()) == 1_000_000
        assert in_step(session)


def test_an_empty_list_is_an_error(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("LIST", b"OK done", times=1)
    with pytest.raises(ProtocolError, match="no folders"):
        session.list_folders()
    assert not session.closed


def test_malformed_rows_do_not_affect_the_others(scripted: ScriptedServer, session: Session) -> None:
    rows = [
        b'* LIST () "/" INBOX',
        b'* LIST () "/" Inbox',
        b'* LIST () "/" "R & D"',
        b'* LIST () "/" "&2D0-"',
        b'* LIST () "/" Sent Items',
        b"* LIST () NIL flat",
        b'* LIST () "/" {6}\r\na "b" ',
        b"* LIST broken",
        b'* LIST () "/"',
        b'* LIST () "/" "' + b"x" * 100_000 + b'"',
        b'* LIST () "/" "last"',
    ]
    scripted.on("LIST", lambda request: b"\r\n".join(rows) + b"\r\n" + request.tagged(b"OK done"))
    assert [row.path for row in session.list_folders()] == [
        "INBOX", "R & D", "\ufffd", "Sent Items", "flat", 'a "b" ', "last",
    ]  # fmt: skip


def test_a_folder_without_a_status_is_unknown_and_not_missing(
    scripted: ScriptedServer, session: Session
) -> None:
    scripted.on("LIST", lambda request: b'* LIST () "/" x\r\n* STATUS y nonsense\r\n' + request.tagged(b"OK"))
    assert session.list_status().statuses == {}
    scripted.on("STATUS", b"OK done")
    with pytest.raises(ProtocolError, match="missing"):
        session.status(b"INBOX")


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        ([], MailboxStatus(messages=3)),
        ([b"UIDVALIDITY 0"], MailboxStatus(messages=3, uidvalidity=0)),
        ([b"NOMODSEQ"], MailboxStatus(messages=3, modseq=0)),
        ([b"HIGHESTMODSEQ 0"], MailboxStatus(messages=3, modseq=0)),
        ([b"UIDNEXT x", b"UIDVALIDITY -1"], MailboxStatus(messages=3)),
        (
            [b"UIDNEXT 7", b"UNSEEN 2", b"MAILBOXID (F1)"],
            MailboxStatus(messages=3, uidnext=7, mailbox_id="F1"),
        ),
    ],
)
def test_values_that_examine_leaves_out_are_none(
    scripted: ScriptedServer, session: Session, codes: list[bytes], status: MailboxStatus
) -> None:
    answer = b"* 99 EXISTS\r\n* OK [CLOSED] bye\r\n* 3 EXISTS\r\n" + b"".join(
        b"* OK [%s] x\r\n" % c for c in codes
    )
    scripted.on("EXAMINE", lambda request: answer + request.tagged(b"OK [READ-ONLY] done"))
    assert session.examine(b"INBOX") == status


def test_a_refused_examine_leaves_nothing_selected(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("EXAMINE", b"NO Mailbox is broken")
    with pytest.raises(FolderError):
        session.examine(b"INBOX")
    assert session.selected is None
    session.unselect()
    assert session.commands["UNSELECT"] == 0


def test_names_that_cannot_be_quoted_are_sent_as_literals(scripted: ScriptedServer, user: Account) -> None:
    names = ["Ünïcödé".encode(), b"caf\xe9", b'q"u\\o']
    for name in names:
        user.create(name.decode("latin-1").encode("latin-1"))
    with connect(scripted, user) as session:
        for name in names:
            assert session.examine(name).messages == 0
            assert session.status(name).messages == 0
        assert {row.wire_name for row in session.list_folders()} == {b"INBOX", *names}
    scripted.on("EXAMINE", b"NO no such name")


@pytest.mark.parametrize(
    ("extension", "command", "pattern"),
    [
        ("SPECIAL-USE", "LIST", b"SPECIAL-USE"),
        ("OBJECTID", "LIST", b"MAILBOXID"),
        ("OBJECTID", "STATUS", b"MAILBOXID"),
        ("CONDSTORE", "STATUS", b"HIGHESTMODSEQ"),
        ("CONDSTORE", "EXAMINE", b"CONDSTORE"),
    ],
)
def test_each_command_disables_a_broken_extension(
    scripted: ScriptedServer, user: Account, extension: str, command: str, pattern: bytes
) -> None:
    scripted.capabilities = CAPABILITIES.replace(b"ENABLE ", b"") + b" OBJECTID"

    def refuse(request: Request) -> bytes:
        return request.tagged(b"BAD what?") if pattern in request.text.upper() else request.default()

    scripted.on(command, refuse)
    with connect(scripted, user) as session:
        assert session.list_folders()
        assert session.list_status().statuses[b"INBOX"].messages == 5
        assert session.status(b"INBOX").messages == 5
        assert session.examine(b"INBOX").messages == 5
        assert extension not in session.capabilities
        assert session.has_list_status


def test_broken_list_status_is_not_used_again(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("LIST", lambda request: request.tagged(b"BAD no"))
    with pytest.raises(ProtocolError):
        session.list_status()
    assert not session.has_list_status
    assert not session.closed


def test_qresync_that_is_not_enabled_does_not_count(scripted: ScriptedServer, user: Account) -> None:
    scripted.on("ENABLE", lambda request: b"* ENABLED CONDSTORE\r\n" + request.tagged(b"OK"))
    with connect(scripted, user) as session:
        assert "QRESYNC" not in session.capabilities
        assert "CONDSTORE" in session.capabilities


def test_an_endless_answer_is_cut_off(scripted: ScriptedServer, session: Session) -> None:
    def flood(request: Request) -> bytes:
        line = b"* OK " + b"x" * 60_000 + b"\r\n"
        while True:
            request.send(line * 16)

    scripted.on("LIST", flood)
    with (
        pytest.raises(ProtocolError, match="LIST: the server sends more than 67,108,864 bytes"),
        session.deadline(120),
    ):
        session.list_folders()
    assert session.closed


def test_flag_scans_ignore_unrelated_responses(scripted: ScriptedServer, session: Session) -> None:
    strange = (
        b'* 6 EXISTS\r\n* 1 FETCH (FLAGS (\\Deleted))\r\n* 1 FETCH (FLAGS (\\Flagged "odd key") UID 1)\r\n'
        b"* 9 FETCH (UID 99 FLAGS ())\r\n* VANISHED 4\r\n* VANISHED (EARLIER) 5:4294967295\r\n"
    )
    scripted.inject("UID FETCH", strange)
    changes = session.fetch_flags(FIVE, changed_since=1, vanished=True)
    states = [state for chunk in changes.states for state in chunk]
    assert [(state.uid, state.flags) for state in states] == [(n, ("\\Seen",)) for n in range(1, 6)]
    assert str(changes.vanished) == "5"
    assert session.exists == 5


def test_a_hundred_thousand_flags_are_yielded_in_small_lists(
    scripted: ScriptedServer, session: Session
) -> None:
    lines = b"".join(b"* %d FETCH (UID %d FLAGS (\\Seen) MODSEQ (7))\r\n" % (n, n) for n in range(1, 100_001))
    scripted.on("UID FETCH", lambda request: lines + request.tagged(b"OK done"))
    seen = most = 0
    tracemalloc.start()
    try:
        for states in session.fetch_flags(UidSet([(1, 100_000)])).states:
            seen += len(states)
            most = max(most, len(states))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == 100_000
    assert most <= 5000
    assert peak < 15_000_000 + len(lines)  # the server, in this process, holds its answer


def test_flags_that_were_cut_are_none(scripted: ScriptedServer, session: Session) -> None:
    long = b"* 2 FETCH (UID 2 FLAGS (" + b"a" * 40_000 + b" " + b"b" * 40_000 + b"))\r\n"
    scripted.on("UID FETCH", lambda request: long + request.tagged(b"OK done"))
    changes = session.fetch_flags(FIVE)
    assert [(state.uid, state.flags) for chunk in changes.states for state in chunk] == [(2, None)]


def test_deletions_that_were_cut_are_an_error(scripted: ScriptedServer, session: Session) -> None:
    long = b"* VANISHED (EARLIER) " + b"1,3," * 30_000 + b"5\r\n"
    scripted.on("UID FETCH", lambda request: long + request.tagged(b"OK done"))
    changes = session.fetch_flags(FIVE, changed_since=1, vanished=True)
    with pytest.raises(ProtocolError, match="a line of more than 65536 bytes"):
        list(changes.states)
    assert not changes.vanished


def test_a_status_line_that_was_cut_does_not_affect_a_search(
    scripted: ScriptedServer, session: Session
) -> None:
    scripted.inject("UID SEARCH", b"* OK " + b"a" * 100_000 + b"\r\n* OK [ALERT] (MESSAGES 1)\r\n")
    assert str(session.search()) == "1:5"


def test_broken_changedsince_is_disabled(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("UID FETCH", b"BAD no", times=2)
    with pytest.raises(ProtocolError):
        list(session.fetch_flags(FIVE, changed_since=5, vanished=True).states)
    assert "QRESYNC" not in session.capabilities
    with pytest.raises(ProtocolError):
        list(session.fetch_flags(FIVE, changed_since=5).states)
    assert "CONDSTORE" not in session.capabilities
    assert len(next(session.fetch_flags(FIVE).states)) == 5


def test_a_line_that_is_no_response_closes_the_session(scripted: ScriptedServer, session: Session) -> None:
    scripted.inject("UID FETCH", b"\r\n", times=1)
    assert len(fetch(session).messages) == 5
    scripted.inject("UID FETCH", b"what is this\r\n", times=1)
    with pytest.raises(ProtocolError, match="out of step"):
        fetch(session)
    assert session.closed


def test_a_part_without_an_answer_is_a_protocol_error(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("UID FETCH", b"OK done", times=1)
    with pytest.raises(ProtocolError):
        session.fetch_part(1, "", 0, 10)
    assert session.fetch_part(1, "HEADER", 0, 10) == mail.message(1)[:10]


def test_a_status_of_another_folder_is_ignored(scripted: ScriptedServer, session: Session) -> None:
    scripted.inject("LIST", b"".join(b"* STATUS f%d (MESSAGES 1)\r\n" % n for n in range(100)), times=None)
    assert set(session.list_status().statuses) == {b"INBOX"}
    scripted.inject("STATUS", b"".join(b"* STATUS f%d (MESSAGES 1)\r\n" % n for n in range(100)), times=1)
    assert session.status(b"INBOX").messages == 5


def test_too_many_folders_close_the_session(scripted: ScriptedServer, session: Session) -> None:
    scripted.inject("LIST", b"".join(b'* LIST () "/" f%d\r\n' % n for n in range(60_000)), times=None)
    with pytest.raises(SentTooMuch, match="LIST: the server sends more than 20,000 folders"):
        session.list_folders()
    assert session.closed


def test_a_search_answer_with_too_many_messages_is_an_error(
    scripted: ScriptedServer, session: Session
) -> None:
    scripted.on(
        "UID SEARCH", lambda request: b"* ESEARCH UID ALL 1:4294967295\r\n" + request.tagged(b"OK done")
    )
    with pytest.raises(ProtocolError, match="SEARCH: the answer names 4294967295 messages; the folder has 5"):
        session.search()
    assert not session.closed
    assert session.search(uids=UidSet([(2, 3)])) == UidSet([(2, 3)])
