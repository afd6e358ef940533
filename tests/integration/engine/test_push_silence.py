"""A connection that is lost without a packet looks like a quiet one, until it is proven."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailsync.engine.turn import Turn
from tests.support import mail
from tests.support.habits import CAPABILITIES
from tests.support.proxy import Proxy
from tests.support.pushed import PushedMirror
from tests.support.scripted import ScriptedServer
from tests.support.turns import letters

StartProxy = Callable[[tuple[str, int] | str], Proxy]


@pytest.mark.parametrize("capability", [b" NOTIFY", b" IDLE"])
def test_a_quiet_session_is_proven_and_goes_on(
    database_url: str, scripted_with: Callable[..., ScriptedServer], capability: bytes
) -> None:
    server = scripted_with(capabilities=CAPABILITIES + capability)
    user = server.new_user()
    letters(user, 2)
    with PushedMirror(database_url, server, user, push_renew=60) as mirror:
        mirror.complete()
        mirror.settle()
        mirror.listening._renew_after = 0.5
        before = server.journal.counts()
        proof = {b" NOTIFY": "NOOP", b" IDLE": "DONE"}[capability]
        mirror.follow(lambda: server.journal.counts()[proof] > before[proof], "the proof")
        mirror.listening._renew_after = 60.0
        mirror.settle()
        cost = server.journal.counts() - before
        assert set(cost) <= {"NOOP", "DONE", "EXAMINE", "IDLE"}, cost
        assert len(server.journal.sessions()) == 1
        user.folder("INBOX").add(mail.message(9))
        mirror.follow(lambda: 3 in mirror.rows(), "the message")


@pytest.mark.long
@pytest.mark.parametrize("capability", [b" NOTIFY", b" IDLE"])
def test_mail_that_came_while_a_connection_was_lost_is_a_row_after_the_proof(
    database_url: str,
    scripted_with: Callable[..., ScriptedServer],
    proxy_to: StartProxy,
    capability: bytes,
) -> None:
    server = scripted_with(capabilities=CAPABILITIES + capability)
    proxy = proxy_to((server.host, server.port))
    user = server.new_user()
    letters(user, 2)
    with PushedMirror(database_url, proxy, user, push_renew=60) as mirror:
        mirror.complete()
        mirror.settle()
        assert proxy.lose_links() == 1
        user.folder("INBOX").add(mail.message(9))
        mirror.listening._renew_after = 1.0
        mirror.follow(lambda: 3 in mirror.rows(), "the message")
        mirror.listening._renew_after = 60.0
        assert mirror.is_parked
        assert mirror.state == ("healthy", None)
        assert mirror.value("select consecutive_failures from accounts") == 0
        assert isinstance(mirror.hot(), Turn)
