"""After any renames between two ticks, rows stay with their mailboxes, and each name has its own mail."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

import pytest

from mailsync.engine.turn import Turn
from tests.support import mail
from tests.support.discoveries import ALL, BARE
from tests.support.mailboxes import Account
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror

NAMES = ("A", "B", "C", "D", "A/X", "A/Y", "B/X")
STEPS = 12


class Owner:
    """A user who rearranges folders at random; no two mailboxes or messages share a number."""

    def __init__(self, user: Account, seed: int) -> None:
        self.user = user
        self.chance = random.Random(seed)
        self.numbers = count(1)

    def act(self) -> None:
        """Do one thing, unless it is impossible now."""
        there = [name for name in NAMES if name.encode() in self.user.folders]
        free = [name for name in NAMES if name not in there]
        action = self.chance.choice((self._create, self._rename, self._swap, self._delete, self._add))
        with self.user.lock:
            action(there, free)

    def _create(self, there: list[str], free: list[str]) -> None:
        if free:
            name = self.chance.choice(free)
            self.user.create(name, uidvalidity=1_700_000_000 + next(self.numbers))
            for _ in range(self.chance.choice((0, 1, 3))):
                self._add([name], [])

    def _rename(self, there: list[str], free: list[str]) -> None:
        if there and free:
            self.user.rename(self.chance.choice(there), self.chance.choice(free))

    def _swap(self, there: list[str], free: list[str]) -> None:
        if len(there) > 1:
            one, other = self.chance.sample(there, 2)
            for old, new in ((one, "swapped"), (other, one), ("swapped", other)):
                self.user.rename(old, new)

    def _delete(self, there: list[str], free: list[str]) -> None:
        if there:
            self.user.delete(self.chance.choice(there))

    def _add(self, there: list[str], free: list[str]) -> None:
        if there:
            self.user.folder(self.chance.choice(there)).add(mail.message(next(self.numbers)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("offered", [ALL + b" OBJECTID", ALL, BARE], ids=["OBJECTID too", "all", "none"])
def test_each_name_has_its_own_mail_and_each_mailbox_its_rows(
    offered: bytes, seed: int, database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    owner = Owner(user, seed)
    identities = b"OBJECTID" in offered
    known: dict[bytes, tuple[int, dict[int, int]]] = {}
    settings = {"uidvalidity_max_resets": 1000, "sync_rr_folders": 20}
    with Mirror(database_url, server, user, **settings) as mirror:
        for _ in range(STEPS):
            for _ in range(owner.chance.choice((1, 2, 5))):
                owner.act()
            if not identities:
                mirror.conn.execute("update accounts set next_discovery_at = now()")
            for turn in (mirror.hot, mirror.fill, mirror.hot):
                mirror.conn.execute("update folders set retry_at = now() where retry_at is not null")
                ended = turn()
                assert isinstance(ended, Turn), ended
            for name, folder in user.folders.items():
                path = name.decode()
                rows = _present(mirror, path)
                assert sorted(rows) == sorted(folder.mails), path
                row_id, kept = known.get(folder.mailbox_id, (None, {}))
                now = mirror.value(_ID, path)
                if identities and row_id is not None:
                    assert (now, rows.items() >= kept.items()) == (row_id, True), path
                known[folder.mailbox_id] = (now, rows)


_ID = "select id from folders where path = %s and missing_since is null"


def _present(mirror: Mirror, path: str) -> dict[int, int]:
    query = (
        "select uid, m.id from messages m"
        " join folders f on f.id = m.folder_id and f.uidvalidity = m.uidvalidity"
        " where f.path = %s and f.missing_since is null and m.deleted_at is null"
    )
    return dict(mirror.conn.execute(query, [path]).fetchall())
