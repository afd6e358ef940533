"""What real servers do rarely and wrongly (FIELD_NOTES §2, §5; SPEC §9.5), by a scripted server."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import date
from itertools import pairwise

import pytest

from mailsync.errors import FolderError, LockLost, ProtocolError, Throttled, Transient
from mailsync.imap import Batch, Detail, Session
from mailsync.model import MailboxStatus, Message
from mailsync.uids import UidSet
from tests.integration.imap_sessions import connect
from tests.servers import mail
from tests.servers.mailboxes import Account
from tests.servers.scripted import CAPABILITIES, ScriptedServer
from tests.servers.session import Request

ALL = UidSet([(1, 5)])


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    """A user with five messages in INBOX."""
    account = scripted.new_user()
    for n in range(1, 6):
        account.folder("INBOX").add(mail.message(n), rb"\Seen")
    return account


@pytest.fixture
def session(scripted: ScriptedServer, user: Account) -> Iterator[Session]:
    with connect(scripted, user, imap_max_literal_bytes=65536) as opened:
        opened.examine(b"INBOX")
        yield opened


def fetch(session: Session, uids: UidSet = ALL, detail: Detail = Detail.FULL) -> Batch:
    [batch] = session.fetch_messages([uids], detail)
    return batch


def uids(messages: list[Message]) -> list[int]:
    return [message.uid for message in messages]


def pieces(answer: bytes) -> tuple[list[bytes], bytes]:
    """The responses of an honest answer to FETCH, and its completion."""
    *lines, end = re.split(rb"(?=^\* \d+ FETCH|^M\d+\.)", answer, flags=re.MULTILINE)
    return [line for line in lines if line], end


def in_step(session: Session) -> bool:
    """Whether the session still serves."""
    return not session.closed and str(session.search()) == "1:5"


# -- answers to FETCH ----------------------------------------------------------------------------------


def test_a_response_without_uid_is_nobodys(scripted: ScriptedServer, session: Session) -> None:
    stray = b'* 2 FETCH (FLAGS (\\Deleted) INTERNALDATE "01-Jan-2000 00:00:00 +0000" RFC822.SIZE 1)\r\n'
    scripted.inject("UID FETCH", stray * 2)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 3, 4, 5]
    assert all(message.flags == ("\\Seen",) for message in batch.messages)


def test_responses_in_any_order_with_uid_last_and_others_in_between(
    scripted: ScriptedServer, session: Session
) -> None:
    def shuffle(request: Request) -> bytes:
        lines, end = pieces(request.default())
        last = re.compile(rb"\(UID (\d+) (.*)\)\r\n\Z", re.DOTALL)
        moved = [last.sub(rb"(\2 UID \1)\r\n", line) for line in lines]
        return b"* 7 EXISTS\r\n".join(reversed(moved)) + b"* 3 EXPUNGE\r\n* OK still here\r\n" + end

    scripted.on("UID FETCH", shuffle, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [5, 4, 3, 2, 1]
    assert [message.headers.subject for message in batch.messages] == [
        f"Message {n}" for n in (5, 4, 3, 2, 1)
    ]
    assert session.exists == 6


def test_messages_that_were_not_asked_for_are_left_out(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("UID FETCH", lambda request: request.default().replace(b"(UID 3 ", b"(UID 33 "), times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 4, 5]
    assert str(batch.unanswered) == "3"
    scripted.on("UID FETCH", lambda request: request.default().replace(b"(UID 3 ", b"(UID 0 "), times=1)
    assert str(fetch(session).unanswered) == "3"


def test_flags_that_change_during_the_answer_are_applied_and_are_no_answer(
    scripted: ScriptedServer, session: Session
) -> None:
    news = b"* 2 FETCH (UID 2 FLAGS (\\Flagged))\r\n* 4 FETCH (UID 4 FLAGS ())\r\n"

    def answer(request: Request) -> bytes:
        lines, end = pieces(request.default())
        return news + b"".join(line for line in lines if not line.startswith(b"* 4 ")) + news + end

    scripted.on("UID FETCH", answer, times=1)
    batch = fetch(session)
    assert {message.uid: message.flags for message in batch.messages}[2] == ("\\Flagged",)
    assert str(batch.unanswered) == "4"


def test_an_answer_in_two_pieces_is_one_message(scripted: ScriptedServer, session: Session) -> None:
    def halve(request: Request) -> bytes:
        return re.sub(
            rb"(\* \d+ FETCH \(UID \d+)(.*?) BODYSTRUCTURE", rb"\1\2)\r\n\1 BODYSTRUCTURE", request.default()
        )

    scripted.on("UID FETCH", halve, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 3, 4, 5]
    assert {message.parse_errors for message in batch.messages} == {()}


def test_a_bad_structure_costs_only_itself(scripted: ScriptedServer, session: Session) -> None:
    def spoil(request: Request) -> bytes:
        return request.default().replace(b'BODYSTRUCTURE ("text"', b'BODYSTRUCTURE ((("text"', 2)

    scripted.on("UID FETCH", spoil, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 3, 4, 5]
    assert [message.parse_errors for message in batch.messages] == [("bodystructure",)] * 2 + [()] * 3
    assert [message.headers.subject for message in batch.messages] == [f"Message {n}" for n in range(1, 6)]
    assert in_step(session)


def test_a_structure_of_any_depth_costs_no_message(scripted: ScriptedServer, session: Session) -> None:
    deep = (
        b"BODYSTRUCTURE "
        + b"(" * 5000
        + b'("text" "plain" NIL NIL NIL "7bit" 1 1)'
        + b' "mixed")' * 5000
        + b" BODY["
    )

    def bury(request: Request) -> bytes:
        return re.sub(rb"BODYSTRUCTURE .*? BODY\[", lambda _: deep, request.default(), count=1)

    scripted.on("UID FETCH", bury, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 3, 4, 5]
    assert batch.messages[0].parse_errors == ("bodystructure_truncated",)


@pytest.mark.parametrize("size", [65537, 3_000_000])
def test_an_oversized_literal_is_drained_and_named(
    scripted: ScriptedServer, session: Session, size: int
) -> None:
    def swell(request: Request) -> bytes:
        return re.sub(
            rb"(UID 3 .*?)\{\d+\}\r\n.*?\r\n\)\r\n",
            lambda found: found[1] + b"{%d}\r\n" % size + b"x" * size + b")\r\n",
            request.default(),
            flags=re.S,
        )

    scripted.on("UID FETCH", swell, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 4, 5]
    assert batch.unparsable == {3: f"a literal of {size} bytes"}
    assert not batch.unanswered
    assert in_step(session)


def test_an_oversized_line_is_drained_and_named(scripted: ScriptedServer, session: Session) -> None:
    def swell(request: Request) -> bytes:
        return request.default().replace(b"(UID 2 ", b'(UID 2 X "' + b"x" * 500_000 + b'" ')

    scripted.on("UID FETCH", swell, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 3, 4, 5]
    assert batch.unparsable == {2: "a line of more than 65536 bytes"}
    assert in_step(session)


def test_an_oversized_response_without_uid_is_unanswered(scripted: ScriptedServer, session: Session) -> None:
    def swell(request: Request) -> bytes:
        return request.default().replace(b"(UID 2 ", b'(X "' + b"x" * 500_000 + b'" UID 2 ')

    scripted.on("UID FETCH", swell, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 3, 4, 5]
    assert str(batch.unanswered) == "2"
    assert in_step(session)


def test_a_capability_that_lies_is_found_out_once(scripted: ScriptedServer, user: Account) -> None:
    scripted.capabilities = CAPABILITIES + b" OBJECTID"

    def refuse(request: Request) -> bytes:
        return request.tagged(b"BAD unknown item") if b"EMAILID" in request.text else request.default()

    scripted.on("UID FETCH", refuse)
    with connect(scripted, user) as session:
        session.examine(b"INBOX")
        batches = list(session.fetch_messages([UidSet([(1, 2)]), UidSet([(3, 4)]), UidSet([(5, 5)])]))
        assert [uids(batch.messages) for batch in batches] == [[1, 2], [3, 4], [5]]
        assert "OBJECTID" not in session.capabilities
        assert "CONDSTORE" in session.capabilities
        assert batches[0].messages[0].modseq


def test_a_server_that_knows_no_extra_item_still_serves(scripted: ScriptedServer, user: Account) -> None:
    scripted.capabilities = CAPABILITIES + b" OBJECTID"
    scripted.on(
        "UID FETCH",
        lambda request: request.tagged(b"BAD no") if b"MODSEQ" in request.text else request.default(),
    )
    with connect(scripted, user) as session:
        session.examine(b"INBOX")
        assert len(fetch(session).messages) == 5
        assert "CONDSTORE" not in session.capabilities
    scripted.on("UID FETCH", b"BAD never")
    with connect(scripted, user) as session:
        session.examine(b"INBOX")
        with pytest.raises(ProtocolError):
            fetch(session)
        assert in_step(session)


def test_no_after_data_is_data_and_no_without_is_an_error(scripted: ScriptedServer, session: Session) -> None:
    def some(request: Request) -> bytes:
        lines, _ = pieces(request.default())
        return b"".join(lines[:3]) + request.tagged(b"NO Some messages no longer exist")

    scripted.on("UID FETCH", some, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 3]
    assert str(batch.unanswered) == "4:5"
    scripted.on("UID FETCH", b"NO Some messages no longer exist", times=1)
    with pytest.raises(ProtocolError):
        fetch(session)
    scripted.on("UID FETCH", b"NO [LIMIT] slow down, try again in 20 seconds", times=1)
    with pytest.raises(Throttled) as caught:
        fetch(session)
    assert caught.value.retry_after == 20
    assert in_step(session)


@pytest.mark.parametrize("how", ["bye", "close", "reset"])
def test_an_end_in_the_middle_of_a_fetch_is_transient(
    scripted: ScriptedServer, session: Session, how: str
) -> None:
    def end(request: Request) -> bytes:
        request.send(request.default()[:900])
        return getattr(request, how)()  # type: ignore[no-any-return]

    scripted.on("UID FETCH", end, times=1)
    with pytest.raises(Transient):
        fetch(session)
    assert session.closed
    with pytest.raises(Transient, match="closed"):
        session.search()


def test_an_error_in_the_next_batch_does_not_cost_the_one_in_hand(
    scripted: ScriptedServer, session: Session
) -> None:
    scripted.on("UID FETCH", lambda request: request.close())
    scripted.on("UID FETCH", Request.default, times=1)
    batches = session.fetch_messages([UidSet([(1, 2)]), UidSet([(3, 4)])])
    assert uids(next(batches).messages) == [1, 2]
    with pytest.raises(Transient):
        next(batches)
    assert session.closed


# -- waiting -------------------------------------------------------------------------------------------


def test_silence_ends_after_the_read_timeout(scripted: ScriptedServer, user: Account) -> None:
    with connect(scripted, user, imap_read_timeout=1) as session:
        session.examine(b"INBOX")
        scripted.on("UID FETCH", lambda request: request.hang())
        began = time.monotonic()
        with pytest.raises(Transient, match="timed out after 1 s"):
            fetch(session)
        assert 0.9 < time.monotonic() - began < 2.5
        assert session.closed


def test_a_server_that_drips_meets_the_deadline(scripted: ScriptedServer, session: Session) -> None:
    def drip(request: Request) -> None:
        for byte in request.default():
            request.send(bytes([byte]))
            request.delay(0.05)

    scripted.on("UID FETCH", drip)
    began = time.monotonic()
    with pytest.raises(Transient, match=r"timed out after 0\.5 s"), session.deadline(0.5):
        fetch(session)
    assert time.monotonic() - began < 1.5
    assert session.closed


def test_the_caller_is_called_back_while_the_server_is_slow_and_may_end_it(
    scripted: ScriptedServer, session: Session
) -> None:
    calls: list[float] = []

    def beat() -> None:
        calls.append(time.monotonic())
        if len(calls) == 3:
            raise LockLost("the lock is gone")

    session.resume(session._wire.throttle, beat)
    scripted.on("UID FETCH", lambda request: request.hang())
    with pytest.raises(LockLost):
        fetch(session)
    assert session.closed
    assert all(0.5 < b - a < 1.6 for a, b in pairwise(calls))


def test_a_generator_closed_early_leaves_the_session_in_step_or_closed(
    scripted: ScriptedServer, session: Session
) -> None:
    batches = session.fetch_messages([UidSet([(1, 2)]), UidSet([(3, 4)])])
    next(batches)
    batches.close()
    assert in_step(session)
    scripted.on("UID FETCH", lambda request: request.hang())
    scripted.on("UID FETCH", Request.default, times=1)
    batches = session.fetch_messages([UidSet([(1, 2)]), UidSet([(3, 4)])])
    next(batches)
    began = time.monotonic()
    batches.close()
    assert session.closed
    assert time.monotonic() - began < 7


def test_bye_between_two_turns_is_seen_by_alive(scripted: ScriptedServer, session: Session) -> None:
    scripted.push(b"* 6 EXISTS\r\n")
    time.sleep(0.05)
    assert session.alive()
    assert in_step(session)
    assert session.exists == 6
    scripted.push(b"* BYE idle for too long\r\n")
    time.sleep(0.05)
    assert not session.alive()
    assert session.closed


def test_a_stop_while_draining_is_not_swallowed(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("UID FETCH", lambda request: request.hang())
    scripted.on("UID FETCH", Request.default, times=1)
    batches = session.fetch_messages([UidSet([(1, 2)]), UidSet([(3, 4)])])
    next(batches)

    def stop() -> None:
        raise LockLost("the lock is gone")

    session.resume(session._wire.throttle, stop)
    with pytest.raises(LockLost):
        batches.close()
    assert session.closed


def test_a_server_that_talks_to_an_idle_session_without_end_is_left(
    scripted: ScriptedServer, session: Session
) -> None:
    for _ in range(40):
        scripted.push(b"* 6 EXISTS\r\n" * 4000)
        time.sleep(0.005)
        if not session.alive():
            break
    assert session.closed


# -- SEARCH --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [frozenset[str](), frozenset({"ESEARCH"})])
def test_a_search_line_that_is_missing_is_no_proof(
    scripted: ScriptedServer, user: Account, hidden: frozenset[str]
) -> None:
    with connect(scripted, user, hidden=hidden) as session:
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
    lines = b"* SEARCH 5 1\r\n* 5 EXISTS\r\n* SEARCH 2,3\r\n* SEARCH\r\n"
    with connect(scripted, user, hidden=frozenset({"ESEARCH"})) as session:
        session.examine(b"INBOX")
        scripted.on("UID SEARCH", lambda request: lines + request.tagged(b"OK done"))
        assert str(session.search()) == "1:3,5"
        assert str(session.search(uids=UidSet([(2, 4)]))) == "2:3"
        assert str(session.search(since=date(2024, 1, 1))) == "1:3,5"


def test_esearch_that_is_a_lie_falls_back_for_the_session(scripted: ScriptedServer, session: Session) -> None:
    def refuse(request: Request) -> bytes:
        return request.tagged(b"BAD what is RETURN") if b"RETURN" in request.text else request.default()

    scripted.on("UID SEARCH", refuse)
    assert len(session.search()) == 5
    assert len(session.search()) == 5
    assert session.commands["SEARCH"] == 3
    assert "ESEARCH" not in session.capabilities


def test_an_esearch_answer_that_is_none_is_refused(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("UID SEARCH", lambda request: b"* ESEARCH UID ALL 1:2:3\r\n" + request.tagged(b"OK"), times=1)
    with pytest.raises(ProtocolError):
        session.search()
    assert in_step(session)


def test_a_search_of_a_million_uids_is_read(scripted: ScriptedServer, user: Account) -> None:
    line = b"* SEARCH " + b" ".join(b"%d" % uid for uid in range(1, 2_000_000, 2)) + b"\r\n"
    with connect(scripted, user, hidden=frozenset({"ESEARCH"})) as session:
        session.examine(b"INBOX")
        scripted.on("UID SEARCH", lambda request: line + request.tagged(b"OK done"), times=1)
        assert len(session.search()) == 1_000_000
        assert in_step(session)


# -- folders -------------------------------------------------------------------------------------------


def test_an_empty_list_is_an_error(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("LIST", b"OK done", times=1)
    with pytest.raises(ProtocolError, match="no folder"):
        session.list_folders()
    assert not session.closed


def test_one_bad_row_never_costs_the_list(scripted: ScriptedServer, session: Session) -> None:
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


def test_a_folder_without_status_is_unknown_not_missing(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("LIST", lambda request: b'* LIST () "/" x\r\n* STATUS y nonsense\r\n' + request.tagged(b"OK"))
    assert session.list_status() == {}
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
def test_whatever_examine_leaves_out_is_none(
    scripted: ScriptedServer, session: Session, codes: list[bytes], status: MailboxStatus
) -> None:
    said = b"* 99 EXISTS\r\n* OK [CLOSED] bye\r\n* 3 EXISTS\r\n" + b"".join(
        b"* OK [%s] x\r\n" % c for c in codes
    )
    scripted.on("EXAMINE", lambda request: said + request.tagged(b"OK [READ-ONLY] done"))
    assert session.examine(b"INBOX") == status


def test_a_refused_examine_leaves_nothing_selected(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("EXAMINE", b"NO Mailbox is broken")
    with pytest.raises(FolderError):
        session.examine(b"INBOX")
    assert session.selected is None
    session.unselect()
    assert session.commands["UNSELECT"] == 0


def test_names_that_no_quoted_string_can_hold_are_sent_as_literals(
    scripted: ScriptedServer, user: Account
) -> None:
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
    ("lie", "command", "pattern"),
    [
        ("SPECIAL-USE", "LIST", b"SPECIAL-USE"),
        ("OBJECTID", "LIST", b"MAILBOXID"),
        ("OBJECTID", "STATUS", b"MAILBOXID"),
        ("CONDSTORE", "STATUS", b"HIGHESTMODSEQ"),
        ("CONDSTORE", "EXAMINE", b"CONDSTORE"),
    ],
)
def test_an_extension_that_is_a_lie_is_found_out_by_each_command(
    scripted: ScriptedServer, user: Account, lie: str, command: str, pattern: bytes
) -> None:
    scripted.capabilities = CAPABILITIES.replace(b"ENABLE ", b"") + b" OBJECTID"

    def refuse(request: Request) -> bytes:
        return request.tagged(b"BAD what?") if pattern in request.text.upper() else request.default()

    scripted.on(command, refuse)
    with connect(scripted, user) as session:
        assert session.list_folders()
        assert session.list_status()[b"INBOX"].messages == 5
        assert session.status(b"INBOX").messages == 5
        assert session.examine(b"INBOX").messages == 5
        assert lie not in session.capabilities
        assert session.has_list_status


def test_list_status_that_is_a_lie_is_not_asked_for_again(scripted: ScriptedServer, session: Session) -> None:
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


def test_an_answer_without_end_is_not_read_for_ever(scripted: ScriptedServer, session: Session) -> None:
    def flood(request: Request) -> bytes:
        line = b'* LIST () "/" ' + b"x" * 60_000 + b"\r\n"
        while True:
            request.send(line * 16)

    scripted.on("LIST", flood)
    with pytest.raises(ProtocolError, match="does not end"), session.deadline(30):
        session.list_folders()
    assert session.closed


# -- flags ---------------------------------------------------------------------------------------------


def test_flag_scans_survive_what_is_in_between(scripted: ScriptedServer, session: Session) -> None:
    strange = (
        b'* 6 EXISTS\r\n* 1 FETCH (FLAGS (\\Deleted))\r\n* 1 FETCH (FLAGS (\\Flagged "odd key") UID 1)\r\n'
        b"* 9 FETCH (UID 99 FLAGS ())\r\n* VANISHED 4\r\n* VANISHED (EARLIER) 7:9\r\n"
    )
    scripted.inject("UID FETCH", strange)
    changes = session.fetch_flags(ALL, changed_since=1, vanished=True)
    states = [state for chunk in changes.states for state in chunk]
    assert [(state.uid, state.flags) for state in states] == [(n, ("\\Seen",)) for n in range(1, 6)]
    assert str(changes.vanished) == "7:9"
    assert session.exists == 5


def test_changedsince_that_is_a_lie_is_hidden(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("UID FETCH", b"BAD no", times=2)
    with pytest.raises(ProtocolError):
        list(session.fetch_flags(ALL, changed_since=5, vanished=True).states)
    assert "QRESYNC" not in session.capabilities
    with pytest.raises(ProtocolError):
        list(session.fetch_flags(ALL, changed_since=5).states)
    assert "CONDSTORE" not in session.capabilities
    assert len(next(session.fetch_flags(ALL).states)) == 5


def test_lines_that_are_none_close_the_session(scripted: ScriptedServer, session: Session) -> None:
    scripted.inject("UID FETCH", b"\r\n", times=1)
    assert len(fetch(session).messages) == 5
    scripted.inject("UID FETCH", b"what is this\r\n", times=1)
    with pytest.raises(ProtocolError, match="out of step"):
        fetch(session)
    assert session.closed


def test_a_part_that_is_not_answered_is_a_protocol_error(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("UID FETCH", b"OK done", times=1)
    with pytest.raises(ProtocolError):
        session.fetch_part(1, "", 0, 10)
    assert session.fetch_part(1, "HEADER", 0, 10) == mail.message(1)[:10]
