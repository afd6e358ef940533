"""The loop from UIDs to rows: what is stored when it ends early."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from mailsync.engine.turn import Turn
from mailsync.errors import DatabaseSlow, MailsyncError, Stopped
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror, letters

REFUSE = """
create function refuse() returns trigger language plpgsql as $$
begin
    raise exception 'this row is refused' using errcode = '%s';
end
$$;
create trigger refuse before insert on messages for each row
when (new.uid = 5 and new.subject is not null) execute function refuse()
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
    database.execute((REFUSE % "query_canceled").encode())
    ended = mirror.hot()
    assert isinstance(ended, DatabaseSlow), ended
    assert mirror.folder().last_uid == 4
    assert sorted(mirror.rows()) == [1, 2, 3, 4]
    database.execute("drop trigger refuse on messages")
    assert isinstance(mirror.hot(), Turn)
    assert sorted(mirror.rows()) == list(range(1, 14))


def test_a_connection_that_breaks_costs_no_batch(mirror: Mirror, scripted: ScriptedServer) -> None:
    def answer(request: Request) -> bytes:
        # the third of four batches
        if request.text.startswith(b"8:10 "):
            return request.close()
        return request.default()

    scripted.on("UID FETCH", answer)
    assert isinstance(mirror.hot(), Turn)
    assert mirror.folder().last_uid == 13
    assert mirror.rows() == dict.fromkeys(range(1, 14), ())


def test_a_refused_batch_is_stored_in_parts_even_if_the_next_one_breaks_the_connection(
    mirror: Mirror, database: psycopg.Connection, scripted: ScriptedServer
) -> None:
    database.execute((REFUSE % "data_exception").encode())
    scripted.on(
        "UID FETCH",
        lambda request: request.close() if request.text.startswith(b"8:10 ") else request.default(),
    )
    assert isinstance(mirror.hot(), Turn)
    assert sorted(mirror.rows()) == list(range(1, 14))
    assert mirror.value("select parse_errors from messages where uid = 5") == ["unstorable"]


def test_attempts_are_counted_before_each_fetch_and_forgotten_with_its_rows(
    mirror: Mirror, database: psycopg.Connection, scripted: ScriptedServer
) -> None:
    attempted = []

    def answer(request: Request) -> bytes:
        rows = database.execute(
            "select uid, through_uid from mailsync.fetch_attempts order by uid"
        ).fetchall()
        attempted.append(rows[-1] if rows else None)
        return request.default()

    scripted.on("UID FETCH", answer)
    assert isinstance(mirror.hot(), Turn)
    assert attempted == [(2, 4), (5, 7), (8, 10), (11, 13)]
    assert not mirror.value("select count(*) from fetch_attempts")


@pytest.mark.parametrize("error", [Stopped, ZeroDivisionError])
def test_an_error_between_two_batches_leaves_nothing_in_flight(
    mirror: Mirror, error: type[Exception]
) -> None:
    def fail(turn: Turn) -> None:
        if turn.tally.fetched:
            raise error("now")

    mirror.env.on_progress = fail
    assert isinstance(mirror.hot(), MailsyncError)
    assert mirror.conn.sent_batch is None
    assert mirror.folder().last_uid == 4
    assert sorted(mirror.rows()) == [1, 2, 3, 4]
    mirror.env.on_progress = lambda turn: None
    assert isinstance(mirror.hot(), Turn)
    assert sorted(mirror.rows()) == list(range(1, 14))
