"""The demo's IMAP server: it is filled, and takes new mail while it runs."""

from __future__ import annotations

import imaplib
import threading
from pathlib import Path

from mailsync.cli.sample_server import HOST, PASSWORD, USER, arriving_mail, sample_server
from mailsync.demo.mailbox import SampleMessage
from tests.support.patience import PATIENCE


def test_new_messages_arrive_until_the_end(tmp_path: Path) -> None:
    arrived: list[SampleMessage] = []
    three = threading.Event()

    def arrive(message: SampleMessage) -> None:
        arrived.append(message)
        if len(arrived) == 3:
            three.set()

    with sample_server(tmp_path) as server:
        before = unread(server.port)
        with arriving_mail(server, 0.01, arrive):
            assert three.wait(PATIENCE)
        assert unread(server.port) == before + len(arrived)
    assert len({message.raw for message in arrived}) == len(arrived)


def test_a_server_that_has_ended_takes_no_more_mail_and_is_no_error(tmp_path: Path) -> None:
    with sample_server(tmp_path) as server:
        pass
    with arriving_mail(server, 0.0, lambda message: None):
        assert True


def unread(port: int) -> int:
    """The number of unread messages in INBOX."""
    with imaplib.IMAP4(HOST, port) as client:
        client.login(USER, PASSWORD)
        client.select("INBOX", readonly=True)
        _, (uids,) = client.search(None, "UNSEEN")
        return len(uids.split())
