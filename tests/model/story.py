"""The actions on one mailbox: of clients, of the worker that mirrors it, and of the judge."""

from __future__ import annotations

import imaplib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mailsync.engine.turn import Turn
from mailsync.errors import TurnOver
from tests.model.clients import Client, Letter, Reader, path_of
from tests.model.judge import Judge, is_excluded, same
from tests.model.worker import Conditions, Worker
from tests.support.imap_server import ImapServer, User, quoted

INBOX = "INBOX"
CLIENTS = 3
NAMES = ("INBOX", "Sent", "Archive", "Alpha", "Alpha/Beta", "Alpha/Beta/Deep", "Gamma", "&ANw-ber", "Trash")
"""The possible folders: two priority ones, a parent, a non-ASCII name, one that is not mirrored."""
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "$Forwarded", "NonJunk", "later")
DATES = (
    "01-Feb-2024 10:00:00 +0000",
    "31-Mar-2024 02:30:00 +0100",
    "29-Feb-2000 23:59:59 -1200",
    "01-Jan-1990 00:00:00 +1400",
    "19-Jan-2038 03:14:08 +0000",
)
FLOOD = 120
"""More messages than a reconcile believes to be deleted at once (SPEC §10.7)."""


@dataclass
class Mailbox:
    """One folder from its creation to its deletion, under all of its names.

    ``folder_id`` is its row as of the last settled tick, ``held`` the number of its messages then. Since
    then, ``changed`` says that messages came or went, ``renamed`` that its name changed, and ``replacing``
    that the new name was another folder's before, or that the old name is another folder's now.
    """

    folder_id: int | None = None
    held: int = 0
    changed: bool = False
    renamed: bool = False
    replacing: bool = False


@dataclass
class Story:
    """One account from its first message on; ``done`` counts the clients' actions by kind."""

    database_url: str
    server: ImapServer
    user: User
    conditions: Conditions = field(default_factory=Conditions)
    done: Counter[str] = field(default_factory=Counter)
    mailboxes: dict[str, Mailbox] = field(default_factory=dict)
    disturbed: bool = False
    is_wrong: bool = False
    _number: int = 0

    def __post_init__(self) -> None:
        self.worker = Worker(self.database_url, self.server, self.user, self.conditions)
        self.clients = [Client(self.server, self.user) for _ in range(CLIENTS)]
        self.reader = Reader(self.server, self.user)
        self.judge = Judge(self.worker.database, self.worker.account_id, self.conditions.grace > 0)
        self.mailboxes = {name: Mailbox() for name in self.reader.names()}

    def close(self) -> None:
        """End all connections."""
        for client in self.clients:
            client.close()
        self.reader.close()
        self.worker.close()

    def begin(self) -> None:
        """Start with some folders and some mail, and nothing from an earlier story."""
        for name in sorted(self.mailboxes, reverse=True):
            self.empty(0, name, 0)
            self.delete(0, name)
        self.done.clear()
        for number, name in enumerate(("INBOX", "INBOX", "INBOX", "Alpha", "Alpha", "Alpha/Beta", "Sent")):
            self.append(0, name, "unique", FLAGS[:number], DATES[0], number)

    # -- messages -------------------------------------------------------------------------------------

    def append(self, who: int, name: str, kind: str, flags: Sequence[str], date: str, size: int) -> None:
        """Add a message: ``unique``, ``double`` (a copy) or ``nameless`` (without Message-ID)."""
        self.put(who, name, Letter(self._message(kind, size), " ".join(flags), f'"{date}"'))
        self.done[f"append {kind}"] += 1

    def put(self, who: int, name: str, letter: Letter) -> None:
        """APPEND the message; create the folder if there is none."""
        self.ensure(who, name)
        content, flags, date = letter
        client = self.clients[who]
        assert client.run(lambda c: c.append(quoted(name), f"({flags})", date, content)), client.answer
        self.mailboxes[name].changed = True

    def _message(self, kind: str, size: int) -> bytes:
        self._number += 1
        number = 0 if kind == "double" else self._number
        name = "" if kind == "nameless" else f"Message-ID: <{number}@model.test>\r\n"
        body = "x" * (0 if kind == "double" else size)
        return f"{name}Subject: Letter {number}\r\nFrom: a@model.test\r\n\r\n{body}\r\n".encode()

    def flood(self, name: str) -> None:
        """Add many messages at once."""
        self.ensure(0, name)
        self.server.seed(self.user, name, [(self._message("unique", n), "", DATES[0]) for n in range(FLOOD)])
        self.mailboxes[name].changed = True
        self.done["flood"] += 1

    def store(self, who: int, name: str, picks: Sequence[int], flags: Sequence[str], how: str) -> None:
        """Change flags; `how` is ``+FLAGS``, ``-FLAGS`` or ``FLAGS``."""
        if chosen := self._pick(name, picks):
            self._uid(who, name, "STORE", chosen, how, f"({' '.join(flags)})")
            self.done[f"store {how}"] += 1

    def expunge(self, who: int, name: str, picks: Sequence[int]) -> None:
        """Delete messages permanently."""
        if chosen := self._pick(name, picks):
            self._expunge(who, name, chosen)
            self.done["expunge"] += 1

    def empty(self, who: int, name: str, spared: int) -> None:
        """Delete all messages but the newest `spared`."""
        uids = self.reader.uids(name) if name in self.mailboxes else []
        if chosen := uids[: len(uids) - spared]:
            self._expunge(who, name, ",".join(map(str, chosen)))
            self.done["empty"] += 1

    def _expunge(self, who: int, name: str, chosen: str) -> None:
        self._uid(who, name, "STORE", chosen, "+FLAGS", "(\\Deleted)")
        self._uid(who, name, "EXPUNGE", chosen)
        self.mailboxes[name].changed = True

    def transfer(self, who: int, name: str, picks: Sequence[int], to: str, how: str) -> None:
        """Move or copy messages to another folder or the same one; `how` is ``MOVE`` or ``COPY``."""
        if chosen := self._pick(name, picks):
            self.ensure(who, to)
            self._uid(who, name, how, chosen, quoted(to))
            self.mailboxes[name].changed = self.mailboxes[to].changed = True
            self.done[how.lower()] += 1

    def _pick(self, name: str, picks: Sequence[int]) -> str:
        uids = self.reader.uids(name) if name in self.mailboxes else []
        return (
            ",".join(str(uid) for uid in sorted({uids[pick % len(uids)] for pick in picks})) if uids else ""
        )

    def _uid(self, who: int, name: str, *command: str) -> bool:
        return self.clients[who].run_in(name, self.mailboxes[name], lambda c: c.uid(*command))

    # -- folders --------------------------------------------------------------------------------------

    def ensure(self, who: int, name: str) -> None:
        """CREATE the folder if there is none."""
        if name not in self.mailboxes:
            assert self._try(who, lambda c: c.create(quoted(name))), self.clients[who].answer
            for missing in self.reader.names() - set(self.mailboxes):
                # some servers also create the parents
                self.mailboxes[missing] = Mailbox()
            self._note_replaced({name})
            self.done["create"] += 1

    def delete(self, who: int, name: str) -> None:
        """DELETE a folder; its children stay."""
        if name != INBOX and name in self.mailboxes and self._deleted(who, name):
            self.done["delete"] += 1

    def _deleted(self, who: int, name: str) -> bool:
        self._leave(name)
        done = self._try(who, lambda c: c.delete(quoted(name)))
        if done:
            del self.mailboxes[name]
        return done

    def recreate(self, who: int, name: str, keep: str) -> None:
        """DELETE and CREATE a folder; `keep` messages are restored: ``none``, ``all`` or ``reversed``."""
        if name == INBOX or name not in self.mailboxes:
            return
        letters = self.reader.letters(name) if keep != "none" else []
        if not self._deleted(who, name):
            return
        self.ensure(who, name)
        for letter in letters if keep == "all" else letters[::-1]:
            self.put(who, name, letter)
        self.done[f"recreate, {keep} put back"] += 1

    def rename(self, who: int, old: str, new: str) -> None:
        """RENAME a folder and its children; servers refuse impossible names."""
        if INBOX in (old, new) or old not in self.mailboxes or new in self.mailboxes:
            return
        self._leave(old)
        if new.startswith(old + "/") or not self._try(who, lambda c: c.rename(quoted(old), quoted(new))):
            return
        moved = [n for n in self.mailboxes if n == old or n.startswith(old + "/")]
        for each in moved:
            mailbox = self.mailboxes.pop(each)
            mailbox.renamed = True
            # a folder that is not mirrored under its old name is not recognised under the new one
            mailbox.replacing |= is_excluded(new)
            self.mailboxes[new + each[len(old) :]] = mailbox
        for missing in self.reader.names() - set(self.mailboxes):
            self.mailboxes[missing] = Mailbox()
        self._note_replaced({new + each[len(old) :] for each in moved})
        self.done["rename with children" if len(moved) > 1 else "rename"] += 1

    def _note_replaced(self, names: set[str]) -> None:
        """Record names that already have another folder's row: the two folders may be confused."""
        known = self.judge.wire_names()
        for name in names & known:
            self.mailboxes[name].replacing = True
        for mailbox in self.mailboxes.values():
            # the old name of a renamed folder exists again
            mailbox.replacing |= mailbox.renamed and bool(names & known)

    def swap(self, who: int, one: str, other: str) -> None:
        """Two folders change their names."""
        if {one, other} <= set(self.mailboxes):
            for old, new in ((one, "Between"), (other, one), ("Between", other)):
                self.rename(who, old, new)

    def _leave(self, name: str) -> None:
        # Dovecot 2.3 damages a folder that is made under the name of one that a client still has open
        for client in self.clients:
            client.leave(name)

    def _try(self, who: int, command: Callable[[imaplib.IMAP4], tuple[str, list[object]]]) -> bool:
        return self.clients[who].run(command)

    # -- the mirror -----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let the mirror settle, and judge it."""
        self.is_wrong = True
        self.worker.settle(disturbed=self.disturbed)
        self.disturbed = False
        self.check()
        self.is_wrong = False
        self.done["tick"] += 1

    def check(self) -> None:
        """Judge the mirror as it is: it must equal the server."""
        truth = self.reader.all()
        same(sorted(self.mailboxes), sorted(truth), "the tests' own idea of the folders")
        self.judge.compare(truth)
        ids = self.judge.folder_ids()
        for name, mailbox in self.mailboxes.items():
            now = ids.get(path_of(name)) if not is_excluded(name) else None
            if mailbox.folder_id is not None and now is not None and self._is_recognised(mailbox):
                same(now, mailbox.folder_id, f"the row of {path_of(name)}, which was renamed")
            mailbox.folder_id, mailbox.held = now, len(truth[name].mails)
            mailbox.changed = mailbox.renamed = mailbox.replacing = False

    def _is_recognised(self, mailbox: Mailbox) -> bool:
        """Whether the mirror must know the folder again (SPEC §6)."""
        if not mailbox.renamed:
            return True
        by_contents = mailbox.held > 0 and not mailbox.changed
        return not mailbox.replacing and (by_contents or not self.worker.is_rich)

    def one_turn(self, kind: str) -> None:
        """One turn, ``hot`` or ``fill``, which may leave things half done."""
        ended = self.worker.take(kind)
        assert isinstance(ended, Turn | TurnOver), ended
        self.disturbed |= self.worker.has_errors()
        self.done["one turn"] += 1

    def full(self) -> None:
        """``mailsync sync --full``, after which no tick is needed."""
        self.is_wrong = True
        self.worker.full()
        self.check()
        self.is_wrong = False
        self.done["full"] += 1

    def interfere(self, kind: str, moment: int, action: Callable[[], object]) -> None:
        """A client does something in the middle of a turn."""
        self.worker.while_working(moment, action, kind)
        self.disturbed = True
        self.done["in the middle of a turn"] += 1

    def die(self, how: str, count: int, kind: str) -> None:
        """The worker, or a connection of it, comes to its end."""
        if how in ("lose_sessions", "lose_database", "restart"):
            getattr(self.worker, how)()
        else:
            getattr(self.worker, how)(count, kind)
            self.disturbed = True
        self.done["death"] += 1
