"""Let time pass for a mirror: a clock that tests turn, and stored times that move into the past."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from psycopg import sql

from mailsync.credentials import TokenSet
from mailsync.store import credentials
from mailsync.store.db import Connection
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror


class Hours:
    """A clock in seconds that stands until a test turns it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def move_all_times(conn: Connection, by: timedelta) -> None:
    """Shift every stored time, which has the effect of a jump of the database's clock in the other way."""
    columns = (
        "select column_name from information_schema.columns where table_name = %s"
        " and data_type = 'timestamp with time zone' and table_schema = current_schema()"
    )
    for table in ("accounts", "folders"):
        names = [name for (name,) in conn.execute(columns, [table])]
        assert len(names) > 5
        changes = sql.SQL(", ").join(sql.SQL("{0} = {0} + {1}").format(sql.Identifier(n), by) for n in names)
        conn.execute(sql.SQL("update {} set {}").format(sql.Identifier(table), changes))


def pass_time(mirror: Mirror, server: ScriptedServer, clock: Hours, by: timedelta) -> None:
    """Let time pass for the server, which ends the sessions whose tokens end, and for the mirror.

    Kept sessions do not get too old, as if they were parked.
    """
    clock.now += by.total_seconds()
    server.end_expired()
    tokens = stored_tokens(mirror)
    if tokens.expires_at is not None:
        (sealed,) = credentials.load(mirror.conn, mirror.account_id)
        older = replace(tokens, expires_at=tokens.expires_at - by)
        _, ciphertext = credentials._sealed(
            mirror.settings.encryption_keys(), mirror.account_id, sealed.endpoint, older
        )
        mirror.conn.execute("update account_credentials set ciphertext = %s", [ciphertext])
    move_all_times(mirror.conn, -by)
    for kept in mirror.env.sessions._kept.values():
        if kept.session.token_ends_at is not None:
            kept.session.token_ends_at -= by


def stored_tokens(mirror: Mirror) -> TokenSet:
    """Return the tokens that are stored for the mirror's account."""
    (sealed,) = credentials.load(mirror.conn, mirror.account_id)
    tokens = sealed.open(mirror.settings.encryption_keys(), mirror.account_id, sealed.endpoint)
    assert isinstance(tokens, TokenSet)
    return tokens
