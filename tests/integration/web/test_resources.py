"""The IMAP sessions that the API keeps after fetching a body."""

from __future__ import annotations

from mailsync.engine.cycle import hot_turn
from mailsync.engine.runner import take_turn
from mailsync.engine.turn import Turn
from mailsync.web.resources import Resources
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror


def test_reading_closes_old_sessions(database_url: str, scripted: ScriptedServer) -> None:
    with Mirror(database_url, scripted, scripted.new_user()) as mirror:
        resources = Resources(mirror.settings)
        try:
            with resources.turn_environment() as env:
                turn = take_turn(env, mirror.account_id, hot_turn(mirror.settings))
            assert isinstance(turn, Turn)
            with resources.reading():
                pass
            assert not turn.session.closed
            turn.session.opened_at -= 25 * 60
            with resources.reading():
                pass
            assert turn.session.closed
        finally:
            resources.close()
