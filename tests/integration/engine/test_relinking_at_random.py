"""Whatever arrives, goes, is lost or renumbered, an id always belongs to the same message (SPEC §11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailsync.model import FolderState
from mailsync.store import db, folders, messages
from mailsync.store.db import Connection
from mailsync.uidset import UidSet
from tests.support.reappearing import REASONS, ids, letter, restarted
from tests.support.stored import assert_counts_are_true, new_account, new_folder, settings_for, store

FIXED = settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    with db.connect(settings_for(database_url), "test") as conn:
        yield conn


@pytest.fixture
def folder(conn: Connection, database_url: str) -> FolderState:
    return new_folder(conn, new_account(conn, settings_for(database_url)))


RENUMBERED = st.tuples(st.integers(5, 7), st.permutations(range(10)), st.integers(1, 4))
NAMES = st.sampled_from("abcdefg")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.lists(NAMES, min_size=1, max_size=4)),
        st.tuples(st.just("go"), st.sets(st.integers(0, 9), min_size=1, max_size=4)),
        st.tuples(st.just("reset"), RENUMBERED),
        st.tuples(st.just("lose"), st.sampled_from(REASONS)),
    ),
    max_size=12,
)  # fmt: skip


class Mailbox(NamedTuple):
    """The server's messages: UIDs and names."""

    uidvalidity: int
    uidnext: int
    mails: dict[int, str]


@FIXED
@given(steps=STEPS)
def test_an_id_always_names_the_same_message(
    conn: Connection, folder: FolderState, steps: list[tuple[str, Any]]
) -> None:
    conn.execute("delete from messages")
    conn.execute("update folders set live_count = 0, live_unseen = 0, uidvalidity = 5")
    (known,) = folders.load(conn, folder.account_id, folder.id)
    server = Mailbox(5, 1, {})
    meaning: dict[int, str] = {}
    for step, what in steps:
        uids = list(server.mails)
        if step == "arrive":
            added = dict(enumerate(what, server.uidnext))
            server = server._replace(mails=server.mails | added, uidnext=server.uidnext + len(added))
            store(conn, known, *[letter(uid, name) for uid, name in added.items()], announce=True)
        elif step == "go":
            gone = {uid for at, uid in enumerate(uids) if at in what}
            server = server._replace(mails={u: n for u, n in server.mails.items() if u not in gone})
            messages.tombstone(conn, known, UidSet.of(gone), "expunged")
        elif step == "reset" and what[0] != server.uidvalidity:
            uidvalidity, order, size = what
            names = [server.mails[uids[at]] for at in order if at < len(uids)]
            names += [server.mails[uid] for uid in uids[10:]]
            server = Mailbox(uidvalidity, len(names) + 1, dict(enumerate(names, 1)))
            were = {pk: meaning[pk] for pk in ids(conn, known).values()}
            known = restarted(conn, known, uidvalidity)
            refill(conn, known, server, size)
            assert_ids_survived(conn, known, server, were, meaning)
        elif step == "lose":
            while messages.tombstone_chunk(conn, known, what):
                pass
            refill(conn, known, server, 3)
        live = ids(conn, known)
        assert set(live) == set(server.mails)
        for uid, pk in live.items():
            assert meaning.setdefault(pk, server.mails[uid]) == server.mails[uid]
        states = conn.execute("select uid, subject from messages where deleted_at is null").fetchall()
        assert dict(states) == server.mails
        assert_counts_are_true(conn, known)


def refill(conn: Connection, folder: FolderState, server: Mailbox, size: int) -> None:
    """Store all of the server's messages, newest first, in batches."""
    uids = sorted(server.mails, reverse=True)
    for at in range(0, len(uids), size):
        store(conn, folder, *[letter(uid, server.mails[uid]) for uid in uids[at : at + size]])


def assert_ids_survived(
    conn: Connection, folder: FolderState, server: Mailbox, were: dict[int, str], meaning: dict[int, str]
) -> None:
    """Check that messages that always had exactly one row have kept it."""
    now = {server.mails[uid]: pk for uid, pk in ids(conn, folder).items()}
    seen = list(meaning.values())
    for pk, name in were.items():
        if seen.count(name) == 1 and list(server.mails.values()).count(name) == 1:
            assert now[name] == pk
