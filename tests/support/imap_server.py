"""Changes that tests make on a real IMAP server. They use imaplib, so that nothing depends on mailsync."""

from __future__ import annotations

import contextlib
import imaplib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

Seed = bytes | tuple[bytes, str] | tuple[bytes, str, str]  # message, flags like r"\Seen", INTERNALDATE


@dataclass(frozen=True)
class User:
    """A user with a mailbox of its own; ``directory`` holds its mail, if that is on disk."""

    name: str
    password: str
    directory: Path | None = None


class ImapServer:
    """A running server; folders are given as wire names (modified UTF-7 where they are not ASCII)."""

    host = "127.0.0.1"
    port: int

    @contextlib.contextmanager
    def imap(self, user: User, folder: str | None = None) -> Iterator[imaplib.IMAP4]:
        """Log in by plain imaplib, SELECT the folder if one is given, and yield the connection."""
        with imaplib.IMAP4(self.host, self.port, timeout=60) as client:
            client.login(user.name, user.password)
            if folder is not None:
                done(client.select(quoted(folder)))
            yield client

    def create(self, user: User, *folders: str) -> None:
        """CREATE folders."""
        with self.imap(user) as client:
            for folder in folders:
                done(client.create(quoted(folder)))

    def delete(self, user: User, folder: str) -> None:
        """DELETE a folder."""
        with self.imap(user) as client:
            done(client.delete(quoted(folder)))

    def rename(self, user: User, old: str, new: str) -> None:
        """RENAME a folder."""
        with self.imap(user) as client:
            done(client.rename(quoted(old), quoted(new)))

    def store(self, user: User, folder: str, uids: str, flags: str, how: str = "+FLAGS.SILENT") -> None:
        """Change flags: ``store(user, "INBOX", "1:5", r"\\Seen")``; `how` may be ``-FLAGS`` or ``FLAGS``."""
        with self.imap(user, folder) as client:
            done(client.uid("STORE", uids, how, f"({flags})"))

    def expunge(self, user: User, folder: str, uids: str) -> None:
        """Remove messages (UIDPLUS)."""
        with self.imap(user, folder) as client:
            done(client.uid("STORE", uids, "+FLAGS.SILENT", r"(\Deleted)"))
            done(client.uid("EXPUNGE", uids))

    def append(self, user: User, folder: str, message: bytes, flags: str = "", date: str = "") -> None:
        """APPEND one message; `date` is an INTERNALDATE like ``01-Feb-2024 10:00:00 +0000``."""
        self.seed(user, folder, [(message, flags, date)])

    def seed(self, user: User, folder: str, messages: Iterable[Seed], chunk: int = 500) -> int:
        """Append many messages quickly; return how many.

        One command takes `chunk` messages, by MULTIAPPEND (RFC 3502) with LITERAL+ (RFC 7888).
        """
        total = 0
        with self.imap(user) as client:
            rest = iter(messages)
            while batch := list(islice(rest, chunk)):
                client.send(
                    b"s APPEND %s" % quoted(folder).encode() + b"".join(map(_literal, batch)) + b"\r\n"
                )
                while not (line := client.readline()).startswith(b"s "):
                    assert line.startswith(b"* "), line
                assert line.startswith(b"s OK"), line
                total += len(batch)
        return total


def _literal(seed: Seed) -> bytes:
    message, flags, date = (*((seed,) if isinstance(seed, bytes) else seed), "", "")[:3]
    quoted_date = f' "{date}"' if date else ""
    return b" (%s)%s {%d+}\r\n%s" % (flags.encode(), quoted_date.encode(), len(message), message)


def quoted(folder: str) -> str:
    """Return a mailbox name as an IMAP quoted string."""
    return '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'


def done(answer: tuple[str, list[Any]]) -> list[Any]:
    """Return the data of an answer of imaplib; raise AssertionError unless it is OK."""
    status, data = answer
    assert status == "OK", data
    return data
