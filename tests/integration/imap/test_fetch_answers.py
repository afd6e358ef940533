"""Rare and malformed answers to FETCH (SPEC §9.5)."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from mailsync.errors import FolderError, MailsyncError, ProtocolError, Throttled, Transient
from mailsync.imap import Session
from mailsync.uidset import UidSet
from tests.support.imap_sessions import FIVE, connect, fetch, in_step, pieces, uids, user_with_five
from tests.support.mailboxes import Account
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.session import Request

NOISE = (
    b"(",
    b")",
    b'"',
    b"\\",
    b"\r\n",
    b"* ",
    b"",
    b"{3}\r\n",
    b"\xff",
    b"\0",
    b"{99999999}\r\n",
    b" NIL ",
)


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


def test_a_response_without_uid_is_ignored(scripted: ScriptedServer, session: Session) -> None:
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


def test_messages_that_were_not_requested_are_ignored(scripted: ScriptedServer, session: Session) -> None:
    scripted.on("UID FETCH", lambda request: request.default().replace(b"(UID 3 ", b"(UID 33 "), times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 4, 5]
    assert str(batch.unanswered) == "3"
    scripted.on("UID FETCH", lambda request: request.default().replace(b"(UID 3 ", b"(UID 0 "), times=1)
    assert str(fetch(session).unanswered) == "3"


def test_flags_that_change_during_the_answer_are_applied_but_do_not_count_as_an_answer(
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


def test_a_malformed_structure_affects_nothing_else(scripted: ScriptedServer, session: Session) -> None:
    def spoil(request: Request) -> bytes:
        return request.default().replace(b'BODYSTRUCTURE ("text"', b'BODYSTRUCTURE ((("text"', 2)

    scripted.on("UID FETCH", spoil, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 3, 4, 5]
    assert [message.parse_errors for message in batch.messages] == [("bodystructure",)] * 2 + [()] * 3
    assert [message.headers.subject for message in batch.messages] == [f"Message {n}" for n in range(1, 6)]
    assert in_step(session)


def test_a_deeply_nested_structure_is_truncated_and_the_message_is_kept(
    scripted: ScriptedServer, session: Session
) -> None:
    deep = (
        b"BODYSTRUCTURE "
        + b"(" * 5000
        + b'("text" "plain" NIL NIL NIL "7bit" 1 1)'
        + b' "mixed")' * 5000
        + b" BODY["
    )

    def nest(request: Request) -> bytes:
        return re.sub(rb"BODYSTRUCTURE .*? BODY\[", lambda _: deep, request.default(), count=1)

    scripted.on("UID FETCH", nest, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 3, 4, 5]
    assert batch.messages[0].parse_errors == ("bodystructure_truncated",)


@pytest.mark.parametrize("size", [65537, 3_000_000])
def test_an_oversized_literal_is_skipped_and_reported(
    scripted: ScriptedServer, session: Session, size: int
) -> None:
    def swell(request: Request) -> bytes:
        return re.sub(
            rb"(UID 3 .*?)\{\d+\}\r\n.*?\r\n\)\r\n",
            lambda match: match[1] + b"{%d}\r\n" % size + b"x" * size + b")\r\n",
            request.default(),
            flags=re.S,
        )

    scripted.on("UID FETCH", swell, times=1)
    batch = fetch(session)
    assert uids(batch.messages) == [1, 2, 4, 5]
    assert batch.unparsable == {3: f"a literal of {size} bytes"}
    assert not batch.unanswered
    assert in_step(session)


def test_an_oversized_line_is_skipped_and_reported(scripted: ScriptedServer, session: Session) -> None:
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


def test_a_broken_extension_is_disabled_once(scripted: ScriptedServer, user: Account) -> None:
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


def test_a_server_that_understands_no_extra_item_still_works(scripted: ScriptedServer, user: Account) -> None:
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


def test_no_after_data_keeps_the_data_and_no_without_data_is_an_error(
    scripted: ScriptedServer, session: Session
) -> None:
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


def whole_and_then(request: Request, *, last: bytes = b"", uid: int = 3) -> bytes:
    """Send whole responses up to the message before `uid`, then `last`, and close."""
    lines, _ = pieces(request.default())
    request.send(b"".join(lines[: uid - 1]) + last)
    return request.close()


@pytest.mark.parametrize(
    ("last", "answered"),
    [
        (b"", [1, 2]),
        (b"* 3 FETCH (UID 3 FLAGS () BODY[] {90}\r\nSubject", [1, 2]),
        (b"* 3 FETCH (UID 3 FLAGS () BODY[] {4}\r\nSubject: x\r\n\r\n)\r\n", [1, 2]),
        (b"not IMAP\r\n", [1]),
    ],
    ids=["between two", "in a literal", "after a miscounted literal", "out of step"],
)
def test_what_was_answered_completely_before_the_connection_broke_is_kept(
    scripted: ScriptedServer, session: Session, last: bytes, answered: list[int]
) -> None:
    scripted.on("UID FETCH", lambda request: whole_and_then(request, last=last), times=1)
    batch = session.fetcher().fetch(FIVE)
    assert uids(batch.messages) == answered
    assert [message.headers.subject for message in batch.messages] == [f"Message {n}" for n in answered]
    assert batch.unanswered == FIVE.minus(UidSet.of(answered))
    assert isinstance(batch.failure, ProtocolError if b"IMAP" in last or b"{4}" in last else Transient)
    assert session.closed


@pytest.mark.parametrize(
    "text", [b"NO cannot", b"BAD what", b"NO [SERVERBUG] oh", b"NO Server Unavailable. 15"]
)
def test_a_refusal_is_the_failure_of_its_batch_and_costs_no_extension(
    scripted: ScriptedServer, session: Session, text: bytes
) -> None:
    scripted.on("UID FETCH", text)
    batch = session.fetcher().fetch(FIVE)
    assert (batch.messages, batch.unanswered) == ([], FIVE)
    assert batch.failure is not None and "FETCH: the server said" in str(batch.failure)
    assert "CONDSTORE" in session.capabilities
    scripted.off("UID FETCH")
    assert in_step(session)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"NO [LIMIT] slow down", Throttled),
        (b"NO [EXPIRED] log in again", Transient),
        (b"NO [NONEXISTENT] no such mailbox", FolderError),
    ],
)
def test_a_refusal_that_no_message_can_cause_is_raised(
    scripted: ScriptedServer, session: Session, text: bytes, error: type[MailsyncError]
) -> None:
    scripted.on("UID FETCH", text, times=1)
    with pytest.raises(error):
        session.fetcher().fetch(FIVE)
    assert in_step(session)


def test_a_bad_answer_disables_no_extension_that_the_server_has_understood(
    scripted: ScriptedServer, session: Session
) -> None:
    assert len(session.fetcher().fetch(FIVE).messages) == 5
    scripted.on("UID FETCH", b"BAD what")
    before = len(scripted.journal.commands("UID FETCH"))
    assert session.fetcher().fetch(FIVE).failure is not None
    assert len(scripted.journal.commands("UID FETCH")) == before + 1


@pytest.mark.parametrize("offset", [-20, 20], ids=["too short", "too long"])
def test_a_header_that_was_miscounted_is_not_taken_for_a_header(
    scripted: ScriptedServer, session: Session, offset: int
) -> None:
    def miscount(request: Request) -> bytes:
        lines, end = pieces(request.default())
        lines[2] = re.sub(rb"\{(\d+)\}", lambda size: b"{%d}" % (int(size[1]) + offset), lines[2])
        return b"".join(lines) + end

    scripted.on("UID FETCH", miscount, times=1)
    batch = session.fetcher().fetch(FIVE)
    assert 3 not in uids(batch.messages)
    for message in batch.messages:
        assert message.headers.subject == f"Message {message.uid}"
        assert message.parse_errors == ()


@pytest.mark.parametrize("how", ["bye", "close", "reset"])
def test_a_connection_that_ends_during_a_fetch_is_transient(
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


def test_an_error_in_the_next_batch_does_not_lose_the_current_one(
    scripted: ScriptedServer, session: Session
) -> None:
    scripted.on("UID FETCH", lambda request: request.close())
    scripted.on("UID FETCH", Request.default, times=1)
    batches = session.fetch_messages([UidSet([(1, 2)]), UidSet([(3, 4)])])
    assert uids(next(batches).messages) == [1, 2]
    with pytest.raises(Transient):
        next(batches)
    assert session.closed


def test_mutilated_answers_raise_only_our_errors_and_lose_no_other_batch(
    scripted: ScriptedServer, user: Account
) -> None:
    rng = random.Random(5)

    def mutilate(request: Request) -> bytes:
        answer = bytearray(request.default())
        for _ in range(rng.randrange(1, 8)):
            start = rng.randrange(len(answer))
            answer[start : start + rng.randrange(4)] = rng.choice(NOISE)
        return bytes(answer)

    outcomes = {"whole": 0, "in step": 0, "closed": 0}
    session = None
    for _ in range(150):
        if session is None or session.closed:
            session = connect(scripted, user, imap_max_literal_bytes=65536)
            session.examine(b"INBOX")
        scripted.on("UID FETCH", mutilate, times=1)
        try:
            with session.deadline(0.1):
                batch = fetch(session)
        except MailsyncError:
            outcomes["closed" if session.closed else "in step"] += 1
            continue
        assert set(uids(batch.messages)) | set(batch.unparsable) | set(batch.unanswered) == {1, 2, 3, 4, 5}
        outcomes["whole"] += 1
        assert uids(fetch(session).messages) == [1, 2, 3, 4, 5]
    assert session is not None
    session.close()
    assert min(outcomes["whole"], outcomes["closed"]) > 10
