"""The worker of one mirrored mailbox: turns in this process, which also dies between and during turns."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg

from mailsync.engine.catch_up import catch_up
from mailsync.engine.cycle import backfill_turn, hot_turn
from mailsync.engine.runner import take_turn
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn import Turn
from mailsync.engine.turn_kind import TurnEnvironment, TurnKind
from mailsync.engine.wake import wake_turn
from mailsync.errors import DatabaseUnavailable, LockLost, MailsyncError, TurnOver
from mailsync.model import Endpoint, FolderState
from mailsync.store import accounts, db, folders
from mailsync.worker.listening import Listening
from tests.support.imap_server import ImapServer, User
from tests.support.postgres import SCHEMA
from tests.support.proxy import Proxy, postgres_target
from tests.support.run_directory import wait_until
from tests.support.stored import settings_for

EXTENSIONS = ("CONDSTORE", "QRESYNC", "LIST-STATUS", "ESEARCH")


@dataclass(frozen=True)
class Conditions:
    """What differs between examples; the mirror has to be the same.

    ``disabled_capabilities`` extensions are treated as not offered. ``limit`` is how many seconds a turn
    may last; with 0 every turn ends after its first piece of work. ``grace`` is how many days a folder that
    is no longer listed keeps its rows. ``round`` is how many folders a turn asks by STATUS. ``push`` is how
    the worker listens between turns: by ``notify``, else by ``idle``, or ``off``.
    """

    disabled_capabilities: frozenset[str] = frozenset()
    batch: int = 500
    limit: float = 300.0
    grace: int = 7
    round: int = 5
    push: str = "off"


@dataclass
class Cost:
    """Commands and bytes of all turns."""

    turns: int = 0
    commands: int = 0
    received: int = 0


@dataclass
class Worker:
    """The worker of one account; it may die and start again, and the database stays."""

    database_url: str
    server: ImapServer
    user: User
    conditions: Conditions = field(default_factory=Conditions)
    cost: Cost = field(default_factory=Cost)
    most_turns: int = 0

    def __post_init__(self) -> None:
        given = {
            "imap_allow_private_hosts": True,
            "imap_allow_plaintext": True,
            "imap_max_commands_per_minute": 1_000_000,
            "sync_max_accounts": 100_000,
            "uidvalidity_max_resets": 1_000,
            "fetch_batch": self.conditions.batch,
            "folder_missing_grace": self.conditions.grace * 86400,
            "sync_rr_folders": self.conditions.round,
        }
        limits = {"hot_turn_max": self.conditions.limit, "backfill_turn_max": self.conditions.limit}
        self.settings = settings_for(self.database_url, **given).model_copy(update=limits)
        self.imap = Proxy((self.server.host, self.server.port))
        # for the judge's queries, and for terminating the worker's connection
        self.database = psycopg.connect(self.database_url, autocommit=True)
        self.database.execute(f"SET search_path TO {SCHEMA}, public")
        endpoint = Endpoint(self.imap.host, self.imap.port, "plaintext", self.user.name)
        with closing(db.connect(self.settings, "test")) as conn:
            # many stories may use the same user's mailbox
            email = f"{self._value('select count(*) from accounts')}.{self.user.name}"
            new = accounts.NewAccount(email, endpoint)
            self.account_id = accounts.create(conn, new, self.user.password, self.settings)
        self.env = self._begin(self.database_url)

    def _begin(self, url: str) -> TurnEnvironment:
        settings = self.settings.model_copy(update={"database_url": url})
        disabled = self.conditions.disabled_capabilities
        self.listening = Listening(settings.push_renew)
        sessions = SessionCache(
            settings,
            disabled_capabilities=disabled | {"NOTIFY"} if self.conditions.push == "idle" else disabled,
            on_removed=self.listening.forget,
            on_surplus=self.listening.lost,
        )
        return TurnEnvironment(
            db.connect(settings, "test"),
            settings,
            "test",
            sessions,
            chance=lambda: 0.5,
            listener=None if self.conditions.push == "off" else self.listening,
        )

    def close(self) -> None:
        """End everything."""
        self._end()
        self.database.close()
        self.imap.stop()

    def _end(self) -> None:
        self.env.sessions.close()
        self.listening.remove()
        self.env.conn.close()

    def restart(self) -> None:
        """Continue as another process: only the database is left of this one."""
        self._end()
        self.env = self._begin(self.database_url)

    # -- turns ----------------------------------------------------------------------------------------

    def hot(self) -> Turn | MailsyncError:
        """Take a turn of the hot pass, after one that follows hints; returns what ended it early."""
        self.listening.wait(0.0)
        if self.account_id in self.listening.accounts and self.listening.seconds_until_wake() < math.inf:
            self._take(wake_turn(self.settings))
        return self._take(hot_turn(self.settings))

    def fill(self) -> Turn | MailsyncError:
        """A turn of the backfill pass."""
        return self._take(backfill_turn(self.settings))

    def take(self, kind: str) -> Turn | MailsyncError:
        """A turn of either pass, ``hot`` or ``fill``."""
        return self.hot() if kind == "hot" else self.fill()

    def full(self) -> None:
        """Do what ``mailsync sync --full`` does."""
        catch_up(self.env, self.account_id, wait=5, full=True)

    def _take(self, work: TurnKind) -> Turn | MailsyncError:
        self.cost.turns += 1
        before = self.imap.sent_down
        try:
            turn = take_turn(self.env, self.account_id, work)
        except MailsyncError as error:
            return error
        assert turn is not None
        self.cost.commands += turn.run_result(None).imap_commands
        self.cost.received += self.imap.sent_down - before
        return turn

    def while_working(self, moment: int, action: Callable[[], object], kind: str) -> None:
        """Take a turn, and run `action` in the middle of it: at its `moment`-th heartbeat or batch."""
        left = moment

        def once(_: object = None) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                action()

        self.env.on_progress, self.env.on_alive = once, once
        self.take(kind)
        self.env.on_progress, self.env.on_alive = (lambda _: None), (lambda: None)

    # -- deaths ---------------------------------------------------------------------------------------

    def lose_sessions(self) -> None:
        """Close all of the worker's IMAP connections between two turns."""
        self.imap.close_connections()
        wait_until(lambda: not self.imap.open_connections, "the end of the connections")

    def lose_database(self) -> None:
        """Terminate the worker's Postgres connection between two turns."""
        self.database.execute("select pg_terminate_backend(%s, 10000)", [self.env.conn.info.backend_pid])
        ended = self.hot()
        assert isinstance(ended, DatabaseUnavailable | LockLost), ended
        self.restart()
        self._refund()

    def _refund(self) -> None:
        # give back the commands that a dead turn had reserved, rather than wait a minute for them
        self.database.execute(
            "update accounts set throttle_tokens = null, throttle_at = null where id = %s", [self.account_id]
        )

    def cut_imap(self, count: int, kind: str) -> None:
        """Take a turn whose IMAP connection breaks after `count` bytes."""
        self.imap.cut_after(count)
        self.take(kind)
        self.imap.cut_after(1 << 60)

    def cut_database(self, count: int, kind: str) -> None:
        """Take a turn whose database connection breaks after `count` bytes, which ends the process."""
        target, url = postgres_target(self.database_url)
        proxy = Proxy(target)
        self._end()
        self.env = self._begin(url.format(host=proxy.host, port=proxy.port))
        backend = self.env.conn.info.backend_pid
        proxy.cut_after(count)
        self.take(kind)
        self._end()
        proxy.stop()
        gone = "select not exists (select from pg_stat_activity where pid = %s)"
        wait_until(lambda: self._value(gone, backend), "Postgres to notice")
        self.env = self._begin(self.database_url)
        self._refund()

    # -- settling -------------------------------------------------------------------------------------

    def settle(self, *, disturbed: bool = False) -> int:
        """Take hot and backfill turns until nothing is left to do; returns their number.

        Changes that a server does not report are found when a scan is due (the table of SPEC §7), so scans
        are made due: flag scans without CONDSTORE, and discovery without LIST-STATUS. Without LIST-STATUS
        folders are asked round robin, so as many turns of nothing new are needed as a round takes. With both
        nothing is made due: the next tick has to find it all. `disturbed` says that an error since the last
        time may have left a folder waiting for its retry, which is made due too.
        """
        self._make_due(disturbed)
        quiet, turns = 0, 0
        while quiet < self._round():
            ended = self.hot()
            turns += 1
            assert isinstance(ended, Turn | TurnOver), ended
            is_quiet = isinstance(ended, Turn) and ended.result.run_id is None
            if not all(folder.is_complete for folder in self.tracked()):
                ended = self.fill()
                turns += 1
                assert isinstance(ended, Turn | TurnOver), ended
            is_quiet = is_quiet and not self.unfinished() and not self._discovers()
            quiet = quiet + 1 if is_quiet else 0
            assert turns <= self._bound(), f"not settled after {turns} turns: {self.unfinished()}"
        self.most_turns = max(self.most_turns, turns)
        return turns

    def _make_due(self, disturbed: bool) -> None:
        if "CONDSTORE" not in self.offered():
            self.database.execute("update folders set next_flag_scan_at = now() where status = 'active'")
        if "LIST-STATUS" not in self.offered():
            self.database.execute("update accounts set next_discovery_at = now()")
        if disturbed:
            self.database.execute("update folders set retry_at = now() where retry_at is not null")

    def offered(self) -> frozenset[str]:
        """The extensions that this mirror can use."""
        if self.is_rich:
            return frozenset(EXTENSIONS) - self.conditions.disabled_capabilities
        return frozenset()

    @property
    def is_rich(self) -> bool:
        """Whether the server has all extensions, including hidden ones."""
        return hasattr(self.server, "separator")

    def _round(self) -> int:
        if "LIST-STATUS" in self.offered():
            return 1
        others = sum(not folder.is_priority for folder in self.tracked())
        return 1 + -(-others // self.conditions.round)

    def _bound(self) -> int:
        # with no time, a turn ends after each batch and each folder
        return 16 * self._round() if self.conditions.limit else 400

    def tracked(self) -> list[FolderState]:
        """The folders that are tracked now."""
        found = folders.load(self.env.conn, self.account_id)
        return [f for f in found if f.tracked and not f.missing_since and f.status != "missing"]

    def _discovers(self) -> bool:
        return bool(
            self._value("select next_discovery_at <= now() from accounts where id = %s", self.account_id)
        )

    def has_errors(self) -> bool:
        """Whether a folder waits for its retry."""
        query = "select exists (select from folders where account_id = %s and last_error is not null)"
        return bool(self._value(query, self.account_id))

    def _value(self, query: str, *params: object) -> Any:
        row = self.database.execute(query, params).fetchone()
        return row[0] if row else None

    def unfinished(self) -> list[tuple[Any, ...]]:
        """The folders that have something due now."""
        scans = "CONDSTORE" not in self.offered()
        return self.database.execute(
            "select path, status, last_error, suspect_deletion, next_reconcile_at <= clock_timestamp()"
            " from folders"
            " where account_id = %s and tracked and missing_since is null and status <> 'missing'"
            "  and (status <> 'active' or last_error is not null or suspect_deletion is not null"
            "       or next_reconcile_at <= clock_timestamp()"
            "       or (%s and next_flag_scan_at <= clock_timestamp()))",
            [self.account_id, scans],
        ).fetchall()
