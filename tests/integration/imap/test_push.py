"""NOTIFY and IDLE of a real Dovecot: what each change looks like to a session that listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mailsync.imap import Session
from mailsync.model import MailboxStatus
from tests.support import mail
from tests.support.certificates import Authority
from tests.support.dovecot import Dovecot, User, offering
from tests.support.imap_sessions import connect
from tests.support.patience import pause
from tests.support.run_directory import wait_until

ODD_NAMES = ("Entw&APw-rfe", "R &- D", "&U,BTFw-", "a/b c/(d)", 'say "hi" \\o', "100% *")


@pytest.fixture
def server(dovecot_with: Callable[..., Dovecot], authority: Authority) -> Dovecot:
    return dovecot_with(certificate=authority.good())


@pytest.fixture
def user(server: Dovecot) -> User:
    user = server.new_user()
    server.create(user, *ODD_NAMES, "Unwatched")
    server.seed(user, "INBOX", [mail.message(n) for n in range(1, 4)])
    return user


@pytest.fixture
def notified(server: Dovecot, user: User, authority: Authority) -> Iterator[Session]:
    """A session under TLS that is told of all mailboxes but one."""
    with connect(
        server, user, port=server.tls_port, security="tls", imap_ca_file=authority.ca_file
    ) as session:
        session.push.watched = frozenset(name.encode() for name in ("INBOX", *ODD_NAMES))
        statuses = session.notify()
        assert statuses is not None
        assert statuses.keys() == session.push.watched | {b"Unwatched"}
        assert statuses[b"INBOX"].messages == 3
        session.release_memory()
        pause(0.7, "Dovecot tells once more of mailboxes that are new")
        session.push.listen()
        session.push.hints.take()
        yield session


def told(session: Session, is_enough: Callable[[Session], object]) -> None:
    wait_until(lambda: session.push.listen() and is_enough(session), "the server to report a change")


def test_notify_names_the_mailbox_and_what_changed(server: Dovecot, user: User, notified: Session) -> None:
    names = ["INBOX", *ODD_NAMES]
    wire_names = {name.encode() for name in names}
    for name in ("Unwatched", *names):
        server.append(user, name, mail.message(9))
    told(notified, lambda session: session.push.hints.statuses.keys() == wire_names)
    hints = notified.push.hints.take()
    sizes = {(name == b"INBOX", status.messages, status.uidnext) for name, status in hints.statuses.items()}
    assert sizes == {(True, 4, 5), (False, 1, 2)}
    for name in names:
        server.store(user, name, "1", r"\Flagged")
    told(notified, lambda session: session.push.hints.statuses.keys() == wire_names)
    assert all(status.modseq for status in notified.push.hints.take().statuses.values())
    assert not hints.names_changed


def test_notify_tells_of_names(server: Dovecot, user: User, notified: Session) -> None:
    for change in (server.create, server.delete):
        change(user, "Gr&APY-n")
        told(notified, lambda session: session.push.hints.names_changed)
        assert not notified.push.hints.take().statuses
    notified.push.watched |= {b"Gr&APY-n"}
    assert notified.push.watched.issubset(notified.push.notified or ())


def test_notify_goes_on_after_commands(server: Dovecot, user: User, notified: Session) -> None:
    notified.examine(b"INBOX")
    notified.look_back()
    assert len(notified.list_status().statuses) == 2 + len(ODD_NAMES)
    assert len(notified.statuses([b"INBOX", b"Unwatched"])) == 2
    notified.push.hints.take()
    server.append(user, "Entw&APw-rfe", mail.message(9))
    told(notified, lambda session: b"Entw&APw-rfe" in session.push.hints.statuses)


def test_idle_tells_of_the_open_mailbox(dovecot_with: Callable[..., Dovecot]) -> None:
    server = dovecot_with(**offering("idle"))
    user = server.new_user()
    server.seed(user, "INBOX", [mail.message(n) for n in range(1, 4)])
    with connect(server, user) as session:
        assert not session.push.can_notify
        for size, change in (
            (3, lambda: server.append(user, "INBOX", mail.message(4))),
            (4, lambda: server.store(user, "INBOX", "1", r"\Seen")),
            (4, lambda: server.expunge(user, "INBOX", "2")),
            (3, lambda: server.append(user, "INBOX", mail.message(5))),
        ):
            assert session.idle(b"INBOX").messages == size
            session.release_memory()
            assert session.push.listen()
            assert not session.push.hints
            change()
            told(session, lambda session: session.push.hints.mailbox_changed)
            session.push.hints.take()
        [(_, status)] = session.statuses([b"INBOX"])
        assert isinstance(status, MailboxStatus)
        assert status.messages == 4


def test_done_and_a_change_may_cross(dovecot_with: Callable[..., Dovecot]) -> None:
    server = dovecot_with(**offering("idle"))
    user = server.new_user()
    with connect(server, user) as session:
        for size in range(12):
            assert session.idle(b"INBOX").messages == size
            server.append(user, "INBOX", mail.message(size + 1))
            if size % 3 == 0:
                assert session.examine(b"INBOX").messages == size + 1
            elif size % 3 == 1:
                session.unselect()
            assert not session.closed
