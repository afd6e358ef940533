"""What must be true for a mirror that is complete; the judge remembers earlier states."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.model.clients import Truth, path_of
from tests.support.mirrors import Mail

EXCLUDED = "Trash"
"""With all of its children."""


def is_excluded(name: str) -> bool:
    """Whether a folder of that name is not mirrored by default."""
    return name.split("/")[0] == EXCLUDED


def same(found: object, expected: object, what: str) -> None:
    """Assert that both are equal; the message names the differences, also without pytest."""
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, expected {expected!r}")


@dataclass
class Judge:
    """Compares the rows of one account with the server, and with the rows of earlier ticks."""

    database: psycopg.Connection[Any]
    account_id: int
    has_grace: bool
    ids: dict[tuple[int, int, int], int] = field(default_factory=dict)
    every_id: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.feed = Feed(self.database, self.account_id)

    def compare(self, truth: Mapping[str, Truth]) -> None:
        """Assert that the mirror equals the server, that its counts are true and its ids are stable."""
        expected = {path_of(name): told for name, told in truth.items() if not is_excluded(name)}
        shown = self._shown()
        same(sorted(shown), sorted(expected), "the folders that are mirrored")
        for path, told in expected.items():
            uidvalidity, mails = shown[path]
            same([m.uid for m in mails], [m.uid for m in told.mails], f"the UIDs of {path}")
            for row, mail in zip(mails, told.mails, strict=True):
                same(row, mail, f"a message of {path}")
            same(uidvalidity, told.uidvalidity, f"the UIDVALIDITY of {path}")
        self._assert_nothing_else_lives()
        self._assert_counts_are_exact()
        self._assert_ids_are_stable()
        self._assert_reset_messages_kept_their_ids()
        self.feed.read()

    def folder_ids(self) -> dict[str, int]:
        """The ids of the folders that are mirrored, by path."""
        return {path: each for each, path in self._rows(_MIRRORED.format("id, path"))}

    def wire_names(self) -> set[str]:
        """The names of all folders that have a row, gone or not."""
        return {
            bytes(name).decode()
            for (name,) in self._rows("select wire_name from folders where account_id = %s")
        }

    def _shown(self) -> dict[str, tuple[int, list[Mail]]]:
        shown: dict[str, tuple[int, list[Mail]]] = {
            path: (uidvalidity, []) for path, uidvalidity in self._rows(_MIRRORED.format("path, uidvalidity"))
        }
        rows = self._rows(
            "select f.path, m.uid, m.flags, m.size_bytes, m.internal_date, m.message_id, m.subject"
            " from messages m join folders f on f.account_id = m.account_id and f.id = m.folder_id"
            "  and f.uidvalidity = m.uidvalidity"
            " where m.account_id = %s and m.deleted_at is null and f.tracked and f.missing_since is null"
            "  and f.status <> 'missing' order by f.path, m.uid"
        )
        for path, uid, flags, size, date, message_id, subject in rows:
            shown[path][1].append(Mail(uid, tuple(flags), size, date, message_id, subject))
        return shown

    def _assert_nothing_else_lives(self) -> None:
        # a folder that is gone keeps its rows for its grace; no other row lives but those compared above
        others = self._rows(
            "select f.path, f.status, f.tracked, m.uid, m.uidvalidity, f.uidvalidity"
            " from messages m join folders f on f.account_id = m.account_id and f.id = m.folder_id"
            " where m.account_id = %s and m.deleted_at is null"
            "  and case when f.missing_since is null then not f.tracked or m.uidvalidity <> f.uidvalidity"
            f"       else f.status = 'missing' or not {self.has_grace} end"
        )
        same(others, [], "rows that should be tombstones")

    def _assert_counts_are_exact(self) -> None:
        wrong = self._rows(
            "select f.path, f.live_count, c.live, f.live_unseen, c.unseen"
            " from folders f cross join lateral ("
            "  select count(*) as live, count(*) filter (where not '\\Seen' = any(flags)) as unseen"
            "  from messages m"
            "  where m.account_id = f.account_id and m.folder_id = f.id and m.deleted_at is null) c"
            " where f.account_id = %s and (f.live_count, f.live_unseen) is distinct from (c.live, c.unseen)"
        )
        same(wrong, [], "live_count and live_unseen")

    def _assert_ids_are_stable(self) -> None:
        live: dict[tuple[int, int, int], int] = {}
        every: set[int] = set()
        for pk, folder_id, uidvalidity, uid, lives in self._rows(
            "select id, folder_id, uidvalidity, uid, deleted_at is null from messages where account_id = %s"
        ):
            every.add(pk)
            if lives:
                live[folder_id, uidvalidity, uid] = pk
        changed = {key: (self.ids[key], pk) for key, pk in live.items() if self.ids.get(key, pk) != pk}
        same(changed, {}, "ids that changed while their message lived")
        same(self.every_id - every, set(), "rows that were deleted for good")
        self.ids |= live
        self.every_id = every

    def _assert_reset_messages_kept_their_ids(self) -> None:
        # what was put back after a UIDVALIDITY change lives in its old row, where only one row can be meant
        doubles = self._rows(
            "select f.path, live.id, dead.id, live.uid, dead.uid"
            " from messages live"
            " join messages dead using (account_id, folder_id, message_id, internal_date, size_bytes)"
            " join folders f on f.account_id = live.account_id and f.id = live.folder_id"
            " where live.account_id = %s and live.deleted_at is null and f.tracked"
            "  and dead.deleted_reason = 'uidvalidity_reset' and dead.uidvalidity <> live.uidvalidity"
            "  and 2 = (select count(*) from messages m where m.account_id = live.account_id"
            "           and m.folder_id = live.folder_id and m.message_id = live.message_id"
            "           and m.internal_date = live.internal_date and m.size_bytes = live.size_bytes)"
        )
        same(doubles, [], "messages that were put back and have new rows")

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.database.execute(query, [self.account_id]).fetchall()


_MIRRORED = (
    "select {} from folders where account_id = %s and tracked"
    " and missing_since is null and status <> 'missing'"
)


class Feed:
    """A reader of ``sync_events`` from the beginning, which derives the live messages from events alone.

    A backfill emits ``folder.backfilled`` for each batch, and the reader then looks up its rows in the
    table. For messages outside of such ranges every event must agree with the earlier ones.
    """

    def __init__(self, database: psycopg.Connection[Any], account_id: int) -> None:
        self._database = database
        self._account_id = account_id
        self._cursor: tuple[int, int] = (0, 0)
        self._live: dict[int, set[int]] = defaultdict(set)
        self._flags: dict[int, list[str]] = {}
        self._backfilled: dict[int, list[range]] = defaultdict(list)

    def read(self) -> None:
        """Read the new events, and assert that all events together give exactly the live messages."""
        events = self._database.execute(
            "select xid::text::bigint, seq, type, folder_id, message_pk, data from sync_events"
            " where account_id = %s and (xid, seq) > (%s::text::xid8, %s) order by xid, seq",
            [self._account_id, *self._cursor],
        ).fetchall()
        rows = {
            pk: (folder_id, uid, flags)
            for pk, folder_id, uid, flags in self._database.execute(
                "select id, folder_id, uid, flags from messages where account_id = %s and deleted_at is null",
                [self._account_id],
            )
        }
        for xid, seq, kind, folder_id, pk, data in events:
            self._cursor = (xid, seq)
            if kind.startswith("message."):
                self._take(kind, folder_id, pk, data)
            elif kind == "folder.backfilled":
                filled = range(data["from_uid"], data["through_uid"] + 1)
                self._backfilled[folder_id].append(filled)
                found = (pk for pk, row in rows.items() if row[0] == folder_id and row[1] in filled)
                self._live[folder_id].update(found)
        told = {pk: folder_id for folder_id, pks in self._live.items() for pk in pks}
        lives = {pk: row[0] for pk, row in rows.items()}
        same(sorted(told.items() - lives.items()), [], "what lives only by the feed")
        same(sorted(lives.items() - told.items()), [], "what lives, and the feed does not know")
        for pk, (_, _, flags) in rows.items():
            same(self._flags.setdefault(pk, flags), flags, f"flags of {pk}, by the feed and by its row")

    def _take(self, kind: str, folder_id: int, pk: int, data: dict[str, Any]) -> None:
        live = self._live[folder_id]
        sure = not any(data["uid"] in filled for filled in self._backfilled[folder_id])
        if kind in ("message.created", "message.restored"):
            assert pk not in live or not sure, (kind, pk, data)
            live.add(pk)
            self._flags.pop(pk, None)
        elif kind == "message.deleted":
            assert pk in live or not sure, (kind, pk, data)
            live.discard(pk)
            self._flags.pop(pk, None)
        elif kind == "message.updated":
            assert pk in live or not sure, (kind, pk, data)
            self._flags.pop(pk, None)
        elif kind == "message.flags_changed":
            assert pk in live or not sure, (kind, pk, data)
            assert not sure or self._flags.get(pk, data["old"]) == data["old"], (kind, pk, data)
            self._flags[pk] = data["new"]
