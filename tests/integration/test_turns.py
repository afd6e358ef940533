"""Turns at a scripted server: what a turn that ends early, or a server that misbehaves, leaves behind."""

from __future__ import annotations

from mailsync.errors import OutOfTokens
from tests.integration.turns import Mirror, letters
from tests.servers import mail
from tests.servers.scripted import ScriptedServer


def test_a_message_that_the_command_budget_did_not_reach_is_not_counted_as_tried(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.settle()
        inbox.add(mail.message(3))
        mirror.configure(imap_max_commands_per_minute=10)
        for _ in range(4):
            # above the reserve of two: LIST-STATUS and EXAMINE
            mirror.conn.execute("update accounts set throttle_tokens = 4.1, throttle_at = now()")
            ended = mirror.hot()
            assert isinstance(ended, OutOfTokens)
            assert 60 < ended.retry_after < 200
            assert mirror.value("select extract(epoch from next_sync_at - now()) from accounts") > 60
        assert mirror.value("select count(*) from fetch_attempts") == 0

        mirror.configure(imap_max_commands_per_minute=1_000_000)
        mirror.conn.execute("update accounts set throttle_tokens = null")
        mirror.hot()
        assert mirror.rows() == {1: (), 2: (), 3: (), 4: ()}
