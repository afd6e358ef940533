"""The loop from UIDs to rows: what is stored when it ends early."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from mailsync.engine.turn import Turn
from mailsync.errors import DatabaseSlow, Transient
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror, letters

REFUSE = """
create function refuse() returns trigger language plpgsql as $$
begin
    raise exception 'this row takes too long' using errcode = 'query_canceled';
end
$$;
create trigger refuse before insert on messages for each row when (new.uid = 5) execute function refuse()
"""


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer) -> Iterator[Mirror]:
    user = scripted.new_user()
    letters(user, 1)
    with Mirror(database_url, scripted, user, fetch_batch=3) as mirror:
        mirror.complete()
        letters(user, 12)
        yield mirror


def test_the_cursor_never_passes_a_batch_that_could_not_be_stored(
    mirror: Mirror, database: psycopg.Connection
) -> None:
    # the second of four batches of new mail, while the third one is read
    database.execute(REFUSE)
    ended = mirror.hot()
    assert isinstance(ended, DatabaseSlow), ended
    assert mirror.folder().last_uid == 4
    assert sorted(mirror.rows()) == [1, 2, 3, 4]
    database.execute("drop trigger refuse on messages")
    assert isinstance(mirror.hot(), Turn)
    assert sorted(mirror.rows()) == list(range(1, 14))


def test_a_connection_that_breaks_costs_no_batch_that_was_received(
    mirror: Mirror, scripted: ScriptedServer
) -> None:
    def answer(request: Request) -> bytes:
        # the third of four batches
        if request.text.startswith(b"8:10 "):
            return request.close()
        return request.default()

    scripted.on("UID FETCH", answer)
    ended = mirror.hot()
    assert isinstance(ended, Transient), ended
    assert mirror.folder().last_uid == 7
    assert sorted(mirror.rows()) == list(range(1, 8))
