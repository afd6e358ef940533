"""The memory that a session takes while it is parked (SPEC §22.2)."""

from __future__ import annotations

import pytest

from tests.support.certificates import Authority
from tests.support.crowd_server import CrowdServer
from tests.support.habits import CAPABILITIES, Habits
from tests.support.parked_memory import bytes_each

SESSIONS = 520
FOLDERS = ["INBOX", "Sent", "Archive"]
MOST = 60_000


@pytest.mark.long
@pytest.mark.parametrize("means", [b" IDLE NOTIFY", b" IDLE"], ids=["notify", "idle"])
def test_a_session_with_tls_takes_at_most_60_kb_while_it_is_parked(
    authority: Authority, means: bytes
) -> None:
    server = CrowdServer(Habits(capabilities=CAPABILITIES + means), authority.good())
    try:
        # a password each: what masks it in messages takes memory too
        users = [user for _ in range(SESSIONS) for user in server.add_users(1, FOLDERS, messages=5)]
        assert bytes_each(server, users, FOLDERS, authority.ca_file) <= MOST
        assert server.figures().commands[means.split()[-1].decode()] == SESSIONS
    finally:
        server.stop()
