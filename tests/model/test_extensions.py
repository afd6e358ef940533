"""One story with every combination of extensions gives the same mirror; only the cost differs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations
from typing import NamedTuple

import pytest

from tests.model.clients import LISTS_AT_ONCE, Truth
from tests.model.judge import same
from tests.model.story import DATES, Story
from tests.model.worker import EXTENSIONS, Conditions
from tests.support.dovecot import Dovecot


class Played(NamedTuple):
    """The end of a story: the server's mail, and the cost in IMAP commands and bytes."""

    mail: dict[str, Truth]
    commands: int
    received: int
    quiet: int
    deletion: int


def combinations_of_extensions() -> Iterator[frozenset[str]]:
    """All sixteen combinations; QRESYNC without CONDSTORE makes no sense, and has to work."""
    sizes = range(len(EXTENSIONS) + 1)
    return map(frozenset, chain.from_iterable(combinations(EXTENSIONS, size) for size in sizes))


def play(story: Story) -> Iterator[None]:
    """About sixty actions of three clients; a tick follows each ``yield``."""
    for number in range(12):
        story.append(
            number % 3, ("INBOX", "Alpha", "Sent")[number % 3], "unique", ("\\Seen",), DATES[0], number
        )
    yield
    story.store(0, "INBOX", (0, 1), ("\\Flagged",), "+FLAGS")
    story.store(1, "INBOX", (2,), ("\\Seen",), "-FLAGS")
    story.store(2, "Alpha", (0,), ("\\Seen", "later"), "FLAGS")
    yield
    # changes without a change of counts: one message read and another unread; a keyword; one out and one in
    story.store(0, "INBOX", (2,), ("\\Seen",), "+FLAGS")
    story.store(0, "INBOX", (3,), ("\\Seen",), "-FLAGS")
    story.store(1, "Sent", (1,), ("NonJunk",), "+FLAGS")
    story.expunge(2, "Alpha", (1,))
    story.append(2, "Alpha", "unique", (), DATES[1], 10)
    yield
    story.transfer(0, "INBOX", (0, 3), "Gamma", "MOVE")
    story.transfer(1, "INBOX", (1,), "Alpha/Beta", "COPY")
    story.transfer(1, "Sent", (0,), "Sent", "COPY")
    story.transfer(2, "Alpha", (0, 1), "Trash", "MOVE")
    yield
    story.append(0, "Gamma", "double", (), DATES[2], 0)
    story.append(1, "Gamma", "double", (), DATES[2], 0)
    story.append(2, "&ANw-ber", "nameless", ("\\Draft",), DATES[3], 80)
    story.expunge(0, "Gamma", (0,))
    yield
    story.rename(0, "Alpha", "Archive")
    yield
    story.rename(1, "Archive", "Alpha")
    story.rename(1, "Gamma", "Alpha/Beta/Deep")
    yield
    story.recreate(2, "Alpha/Beta", "all")
    story.recreate(0, "&ANw-ber", "none")
    story.append(0, "&ANw-ber", "unique", (), DATES[4], 1)
    yield
    story.delete(1, "Alpha/Beta/Deep")
    story.delete(1, "&ANw-ber")
    story.swap(2, "Alpha", "Sent")
    yield
    story.flood("INBOX")
    yield
    story.store(0, "INBOX", tuple(range(0, 12, 3)), ("\\Seen", "\\Answered"), "+FLAGS")
    story.expunge(1, "INBOX", (1, 2, 11))
    yield
    story.empty(2, "INBOX", 3)
    story.transfer(0, "INBOX", (0,), "Alpha", "MOVE")
    yield


def played(story: Story) -> Played:
    """Play the story with a tick after each scene, then a quiet tick, then one deletion."""
    for _ in play(story):
        story.tick()
    worker = story.worker
    whole = worker.cost.commands, worker.cost.received
    before = worker.cost.commands
    worker.hot()
    quiet = worker.cost.commands - before
    story.expunge(0, "INBOX", (0,))
    before = worker.cost.commands
    worker.hot()
    deletion = worker.cost.commands - before
    story.check()
    return Played(story.reader.all(), *whole, quiet, deletion)


@pytest.mark.long
def test_every_combination_of_extensions_gives_the_same_mirror(
    dovecot_with: type[Dovecot], database_url: str
) -> None:
    server = dovecot_with(settings=LISTS_AT_ONCE)
    ended: dict[frozenset[str], Played] = {}
    for disabled_capabilities in combinations_of_extensions():
        story = Story(database_url, server, server.new_user(), Conditions(disabled_capabilities, batch=50))
        try:
            ended[disabled_capabilities] = played(story)
        finally:
            story.close()
    for disabled_capabilities, end in ended.items():
        print(
            f"{end.commands:>5} commands, {end.received:>7} bytes,"
            f" {end.quiet} for a quiet turn, {end.deletion} for a deletion:"
            f" without {', '.join(sorted(disabled_capabilities)) or 'nothing'}"
        )
    everything, nothing = ended[frozenset()], ended[frozenset(EXTENSIONS)]
    for disabled_capabilities, end in ended.items():
        for name, told in everything.mail.items():
            same(end.mail[name].mails, told.mails, f"{name} without {sorted(disabled_capabilities)}")
        assert everything.commands <= end.commands
        assert end.quiet == 1 if "LIST-STATUS" not in disabled_capabilities else end.quiet > 1
    assert everything.received < nothing.received
    assert everything.commands < nothing.commands
