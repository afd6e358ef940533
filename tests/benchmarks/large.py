"""The sizes of measurements in both kinds of database, and changes of mailboxes on the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.bench import Bench
from tests.support.dovecot import User
from tests.support.imap_server import done


@dataclass(frozen=True)
class Sizes:
    """How much is measured: messages, folders, rounds."""

    held: int = 1_000_000
    first: int = 10_000
    large: int = 100_000
    deleted: int = 10_000
    folders: int = 20
    rounds: int = 3

    @classmethod
    def scaled(cls, factor: float, rounds: int) -> Sizes:
        """All numbers of messages times `factor`, in whole folders; at least ten a folder."""
        whole = {
            name: max(10, round(getattr(cls, name) * factor / cls.folders)) * cls.folders
            for name in ("held", "first", "large", "deleted")
        }
        # a deletion of more than half of a folder is believed only in the second turn
        return cls(**{**whole, "large": max(whole["large"], 4 * whole["deleted"])}, rounds=rounds)


def change_flags(bench: Bench, user: User, names: Sequence[str], number: int) -> str:
    r"""Set \Seen on every message, or remove it if `number` is odd; returns the flags they have now."""
    for name in names:
        bench.dovecot.store(user, name, "1:*", r"\Seen", "-FLAGS.SILENT" if number % 2 else "+FLAGS.SILENT")
    return "" if number % 2 else r"\Seen"


def expunge(bench: Bench, user: User, names: Sequence[str], count: int) -> int:
    """Expunge the oldest messages of each folder, `count` in all; returns the number for each folder."""
    each = count // len(names)
    for name in names:
        with bench.dovecot.imap(user, name) as client:
            done(client.store(f"1:{each}", "+FLAGS.SILENT", r"(\Deleted)"))
            done(client.expunge())
    return each
