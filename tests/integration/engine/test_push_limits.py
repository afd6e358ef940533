"""Budgets, backoffs and servers that never stop to report: a wake has the same limits as a tick."""

from __future__ import annotations

from mailsync.errors import OutOfTokens
from tests.integration.engine.test_push_ends import BY_NOTIFY, StartScripted, ready
from tests.support.pushed import PushedMirror

PARKED = "select parked_by is not null and parked_kind = 'notify' from accounts"


def test_a_turn_without_commands_leaves_the_session_parked(
    database_url: str, scripted_with: StartScripted
) -> None:
    server = scripted_with(capabilities=BY_NOTIFY)
    user = ready(server)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        mirror.conn.execute(
            "update accounts set throttle_tokens = 0, throttle_at = now() + interval '1 hour'"
        )
        ticks = mirror.value("select tick_seconds from accounts")
        assert isinstance(mirror.hot(), OutOfTokens)
        assert mirror.is_parked
        assert mirror.value(PARKED)
        assert mirror.value("select tick_seconds from accounts") == ticks
