"""Every method of a session, against a real Dovecot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date

import pytest

from mailsync.errors import FolderError, OutOfTokens
from mailsync.imap import Detail, Session, TokenBucket
from mailsync.uidset import UidSet
from tests.support import mail
from tests.support.certificates import Authority
from tests.support.dovecot import Dovecot, User
from tests.support.imap_sessions import connect
from tests.support.run_directory import wait_until


@pytest.fixture
def user(dovecot: Dovecot) -> User:
    return dovecot.new_user()


@pytest.fixture
def session(dovecot: Dovecot, user: User) -> Iterator[Session]:
    with connect(dovecot, user) as session:
        yield session


def fill(dovecot: Dovecot, user: User, count: int, folder: str = "INBOX") -> None:
    dovecot.seed(user, folder, [(mail.message(n), "", mail.internal_date(n)) for n in range(1, count + 1)])


def test_opening_takes_three_commands(session: Session) -> None:
    assert session.commands == {"LOGIN": 1, "ID": 1, "ENABLE": 1}
    assert {"CONDSTORE", "QRESYNC", "ESEARCH", "LIST-STATUS"} <= session.capabilities
    assert session.has_list_status
    assert session.is_alive()
    assert not session.closed
    assert session.bytes_in > 100


def test_folders_are_listed_with_their_special_use(dovecot: Dovecot, user: User, session: Session) -> None:
    dovecot.create(user, "Sent", "Entw&APw-rfe", "a/b c/(d)", 'say "hi" \\o')
    rows = {row.path: row for row in session.list_folders()}
    assert set(rows) >= {"INBOX", "Sent", "Entwürfe", "a/b c/(d)", 'say "hi" \\o'}
    assert "\\sent" in rows["Sent"].attributes
    assert rows["Entwürfe"].wire_name == b"Entw&APw-rfe"
    assert {row.delimiter for row in rows.values()} == {"/"}


def test_list_status_status_and_examine_agree(dovecot: Dovecot, user: User, session: Session) -> None:
    dovecot.create(user, 'odd "name" (x)')
    fill(dovecot, user, 3, 'odd "name" (x)')
    name = next(row.wire_name for row in session.list_folders() if row.path.startswith("odd"))
    by_list = session.list_status().statuses
    by_status = session.status(name)
    assert by_list[name] == by_status
    assert (by_status.messages, by_status.uidnext, by_status.unseen) == (3, 4, 3)
    examined = session.examine(name)
    assert examined.unseen is None
    assert examined.messages == session.exists == 3
    assert (examined.uidvalidity, examined.uidnext) == (by_status.uidvalidity, by_status.uidnext)
    assert examined.modseq == by_status.modseq
    assert by_list[b"INBOX"].messages == 0


def test_the_status_of_a_selected_folder_is_current(dovecot: Dovecot, user: User, session: Session) -> None:
    session.examine(b"INBOX")
    assert session.selected == b"INBOX"
    fill(dovecot, user, 2)
    assert session.status(b"INBOX").messages == 2
    assert session.selected is None
    session.examine(b"INBOX")
    fill(dovecot, user, 1)
    assert session.list_status().statuses[b"INBOX"].messages == 3
    assert session.commands["UNSELECT"] == 2
    session.unselect()
    assert session.commands["UNSELECT"] == 2


def test_a_missing_folder_is_a_folder_error(session: Session) -> None:
    for method in (session.examine, session.status):
        with pytest.raises(FolderError):
            method(b"Nowhere")
    assert session.selected is None
    assert not session.closed
    assert session.status(b"INBOX").messages == 0


@pytest.mark.parametrize("disabled_capabilities", [frozenset[str](), frozenset({"ESEARCH"})])
def test_searches(dovecot: Dovecot, user: User, disabled_capabilities: frozenset[str]) -> None:
    fill(dovecot, user, 300)
    dovecot.expunge(user, "INBOX", "5:7")
    with connect(dovecot, user, disabled_capabilities=disabled_capabilities) as session:
        session.examine(b"INBOX")
        assert str(session.search()) == "1:4,8:300"
        assert str(session.search(uids=UidSet.parse("3:6,999"))) == "3:4"
        assert str(session.search(since=date(2024, 1, 2))) == "206:300"
        assert str(session.search(uids=UidSet.parse("1:210"), since=date(2024, 1, 2))) == "206:210"
        scattered = UidSet.of(range(1, 12_000, 2))
        assert str(session.search(uids=scattered)) == str(UidSet.of([1, 3, *range(9, 300, 2)]))
        assert session.search(uids=UidSet.parse("999")) == UidSet()


def test_messages_are_complete_and_come_in_batches(dovecot: Dovecot, user: User, session: Session) -> None:
    dovecot.seed(
        user,
        "INBOX",
        [
            (mail.message(n, attachment=b"x" * 10 if n == 2 else None), r"\Seen Work", mail.internal_date(n))
            for n in range(1, 8)
        ],
    )
    session.examine(b"INBOX")
    requested = [UidSet.parse("5:7"), UidSet.parse("1:4,99")]
    batches = list(session.fetch_messages(requested))
    assert [batch.requested for batch in batches] == requested
    assert [[message.uid for message in batch.messages] for batch in batches] == [[5, 6, 7], [1, 2, 3, 4]]
    assert [str(batch.unanswered) for batch in batches] == ["", "99"]
    assert all(batch.weight > 500 and batch.seconds > 0 and not batch.unparsable for batch in batches)
    second = batches[1].messages[1]
    assert second.flags == ("Work", "\\Seen")
    assert second.internal_date == mail.sent_at(2)
    assert second.size_bytes == len(mail.message(2, attachment=b"x" * 10))
    assert second.headers.subject == "Message 2"
    assert second.headers.message_id == "2@mail.test"
    assert second.has_attachments
    assert second.attachments[0].filename == "file.bin"
    assert second.modseq
    assert second.mime_structure is not None
    assert json.loads(second.mime_structure)["type"] == "multipart/mixed"
    assert second.parse_errors == ()


def test_less_detail_fetches_fewer_fields(dovecot: Dovecot, user: User, session: Session) -> None:
    fill(dovecot, user, 2)
    session.examine(b"INBOX")
    [batch] = session.fetch_messages([UidSet.parse("1:2")], Detail.NO_STRUCTURE)
    assert batch.messages[0].mime_structure is None
    assert batch.messages[0].headers.subject == "Message 1"
    [batch] = session.fetch_messages([UidSet.parse("1:2")], Detail.BASIC)
    assert batch.messages[0].headers.subject is None
    assert batch.messages[0].size_bytes == len(mail.message(1))


def test_the_mailbox_is_never_changed(dovecot: Dovecot, user: User, session: Session) -> None:
    fill(dovecot, user, 3)
    before = session.status(b"INBOX")
    session.examine(b"INBOX")
    list(session.fetch_messages([UidSet.parse("1:3")]))
    session.fetch_part(1, "", 0, 100)
    session.unselect()
    assert session.status(b"INBOX") == before


def test_the_next_fetch_is_sent_before_a_batch_is_yielded(
    dovecot: Dovecot, user: User, session: Session
) -> None:
    fill(dovecot, user, 9)
    session.examine(b"INBOX")
    requested_from: list[int] = []

    def batches() -> Iterator[UidSet]:
        for first in (1, 4, 7):
            requested_from.append(first)
            yield UidSet([(first, first + 2)])

    ahead = session.fetch_messages(batches())
    next(ahead)
    assert requested_from == [1, 4]
    assert session.commands["FETCH"] == 2
    next(ahead)
    assert session.commands["FETCH"] == 3
    ahead.close()
    assert not session.closed
    assert len(session.search()) == 9

    requested_from.clear()
    step_by_step = session.fetch_messages(batches(), prefetch=False)
    next(step_by_step)
    assert requested_from == [1]
    assert session.commands["FETCH"] == 4
    step_by_step.close()


def test_a_command_between_two_batches_is_answered_and_loses_no_batch(
    dovecot: Dovecot, user: User, session: Session
) -> None:
    fill(dovecot, user, 9)
    session.examine(b"INBOX")
    seen: list[int] = []
    for batch in session.fetch_messages([UidSet.parse("1:3"), UidSet.parse("4:6"), UidSet.parse("7:9")]):
        seen += [message.uid for message in batch.messages]
        assert len(session.search()) == 9
    assert seen == list(range(1, 10))


def test_a_batch_too_long_for_one_command_is_split(dovecot: Dovecot, user: User, session: Session) -> None:
    fill(dovecot, user, 40)
    session.examine(b"INBOX")
    requested = UidSet.of(range(2, 9000, 2))
    [batch] = session.fetch_messages([requested])
    assert [message.uid for message in batch.messages] == list(range(2, 41, 2))
    assert len(batch.unanswered) == len(requested) - 20
    assert session.commands["FETCH"] == 3


def test_running_out_of_tokens_while_sending_ahead_does_not_lose_the_current_batch(
    dovecot: Dovecot, user: User
) -> None:
    fill(dovecot, user, 6)
    with connect(dovecot, user, bucket=TokenBucket(5, 20, 0, lambda: 0.0)) as session:
        session.examine(b"INBOX")
        batches = session.fetch_messages([UidSet.parse("1:3"), UidSet.parse("4:6")])
        assert len(next(batches).messages) == 3
        with pytest.raises(OutOfTokens):
            next(batches)
        assert not session.closed
        session.resume(TokenBucket(5, 20, 0), lambda: None)
        assert len(session.search()) == 6


def test_flags_and_vanished_since_a_modseq(dovecot: Dovecot, user: User, session: Session) -> None:
    fill(dovecot, user, 10)
    since = session.examine(b"INBOX").modseq
    assert since
    dovecot.store(user, "INBOX", "3", r"\Flagged")
    dovecot.expunge(user, "INBOX", "7:8")
    session.examine(b"INBOX")
    changes = session.fetch_flags(UidSet([(1, 10)]), changed_since=since, vanished=True)
    states = [state for chunk in changes.states for state in chunk]
    assert [(state.uid, state.flags) for state in states] == [(3, ("\\Flagged",))]
    assert states[0].modseq
    assert str(changes.vanished) == "7:8"
    everything = session.fetch_flags(UidSet([(1, 10)]))
    assert [state.uid for chunk in everything.states for state in chunk] == [1, 2, 3, 4, 5, 6, 9, 10]
    with pytest.raises(ValueError, match="CHANGEDSINCE 0"):
        session.fetch_flags(UidSet([(1, 10)]), changed_since=0)


def test_states_have_the_date_and_size_that_identify_a_message(
    dovecot: Dovecot, user: User, session: Session
) -> None:
    fill(dovecot, user, 3)
    session.examine(b"INBOX")
    [chunk] = session.fetch_states(UidSet([(1, 99)]))
    assert [state.uid for state in chunk] == [1, 2, 3]
    assert chunk[0].internal_date == mail.sent_at(1)
    assert chunk[0].size_bytes == len(mail.message(1))
    assert chunk[0].flags == ()


def test_parts_are_read_piece_by_piece(dovecot: Dovecot, user: User, session: Session) -> None:
    whole = mail.message(1, body=bytes(range(32, 127)) * 3)
    dovecot.append(user, "INBOX", whole)
    session.examine(b"INBOX")
    pieces = [session.fetch_part(1, "", offset, 100) for offset in range(0, len(whole) + 100, 100)]
    assert b"".join(pieces) == whole
    assert pieces[-1] == b""
    assert session.fetch_part(1, "1", 0, 5) == whole[whole.index(b"\r\n\r\n") + 4 :][:5]
    with pytest.raises(ValueError, match="section"):
        session.fetch_part(1, "1] BODY[", 0, 5)


def test_exists_follows_the_responses_of_the_server(dovecot: Dovecot, user: User, session: Session) -> None:
    fill(dovecot, user, 5)
    session.examine(b"INBOX")
    fill(dovecot, user, 2)
    dovecot.expunge(user, "INBOX", "1:3")
    session.search()
    list(session.fetch_states(UidSet([(1, 9)])))
    assert session.exists == 4


def test_a_session_that_the_server_closed_is_noticed_without_a_command(
    new_dovecot: Callable[..., Dovecot],
) -> None:
    server = new_dovecot()
    with connect(server, server.new_user()) as session:
        assert session.is_alive()
        commands = dict(session.commands)
        server.kill()
        wait_until(lambda: not session.is_alive(), "the session to notice the end")
        assert session.closed
        assert session.commands == commands


def test_a_password_of_any_characters_logs_in(dovecot: Dovecot) -> None:
    for password in (' a "quote" and \\backslash\\ {5} %(x) * ] ', 'pässwörd 日本 "\\ {5}'):
        with connect(dovecot, dovecot.new_user(password=password)) as session:
            assert session.status(b"INBOX").messages == 0


def test_a_server_without_extensions_works_too(dovecot: Dovecot, user: User) -> None:
    fill(dovecot, user, 4)
    offered = {"CONDSTORE", "QRESYNC", "ESEARCH", "LIST-STATUS", "SPECIAL-USE", "UNSELECT", "ENABLE", "ID"}
    with connect(dovecot, user, disabled_capabilities=frozenset(offered)) as session:
        assert session.commands == {"LOGIN": 1}
        assert not session.has_list_status
        assert session.examine(b"INBOX").messages == 4
        assert str(session.search()) == "1:4"
        [batch] = session.fetch_messages([UidSet([(1, 4)])])
        assert [message.modseq for message in batch.messages] == [None] * 4
        assert {
            state.modseq for chunk in session.fetch_flags(UidSet([(1, 4)])).states for state in chunk
        } == {None}
        session.unselect()
        assert session.commands["CLOSE"] == 1
        assert session.status(b"INBOX").modseq is None


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_thousand_messages_over_tls(tls_dovecot: Dovecot, authority: Authority, security: str) -> None:
    user = tls_dovecot.new_user()
    fill(tls_dovecot, user, 1000)
    port = tls_dovecot.tls_port if security == "tls" else tls_dovecot.port
    with connect(
        tls_dovecot, user, port=port, host="localhost", security=security, imap_ca_file=authority.ca_file
    ) as session:
        session.examine(b"INBOX")
        batches = list(session.fetch_messages(UidSet([(first, first + 99)]) for first in range(1, 1000, 100)))
        assert [message.uid for batch in batches for message in batch.messages] == list(range(1, 1001))
        assert session.is_alive()
