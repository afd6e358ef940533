"""Servers that process only so many messages a command (RFC 9738), whether they say so or not.

Such a server processes the messages with the highest UIDs and says in ``[MESSAGELIMIT 1000 23221]`` how many
it processed and where it stopped. Others cut an answer without a word. Either way the rest is requested by
ranges of UIDs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mailsync.imap.bounds import LONGEST_SET
from mailsync.imap.status_responses import StatusResponse
from mailsync.uidset import LARGEST_UID, UidSet

_LONGEST_NUMBER = 18
_MOST_COMMANDS = 64
_LARGE_FOLDER = 1_000_000
"""Messages of a folder whose number is unknown, for the bound on the number of commands."""


class Cut(NamedTuple):
    """An answer that the server cut: to ``limit`` messages, down to UID ``lowest``; each None if unknown.

    One that ``is_silent`` may be whole: only another search tells whether there are more messages below or
    above those that it names.
    """

    limit: int | None = None
    lowest: int | None = None
    is_silent: bool = False


class SearchAnswer(NamedTuple):
    """The UIDs of one SEARCH; ``cut`` is None for an answer that claims to be whole."""

    uids: UidSet
    cut: Cut | None = None


def announced_limit(capabilities: frozenset[str]) -> int | None:
    """Return the number of ``MESSAGELIMIT=1000`` among capabilities in upper case; None if there is none."""
    for capability in capabilities:
        name, _, number = capability.partition("=")
        if name == "MESSAGELIMIT":
            return _number(number.encode("utf-8", "replace"))
    return None


def parse_cut(response: StatusResponse | None) -> Cut | None:
    """Return what ``OK [MESSAGELIMIT 1000 23221] …`` or ``OK [LIMIT] …`` says; None for other responses.

    ``NO [LIMIT]`` is not a cut answer but a refusal (RFC 5530).
    """
    if response is None or response.status not in ("OK", "NO"):
        return None
    code = response.code
    if code == "LIMIT" and response.status == "OK":
        return Cut()
    if code != "MESSAGELIMIT":
        return None
    limit, lowest, *_ = [*map(_number, response.argument.split(maxsplit=2)), None, None]
    return Cut(limit, lowest)


def _number(word: bytes) -> int | None:
    return int(word) or None if word.isdigit() and len(word) <= _LONGEST_NUMBER else None


def sequence_sets(uids: UidSet, most: int | None) -> Iterator[str]:
    """Split `uids` into sequence sets that a command line can hold, each of at most `most` UIDs.

    The highest UIDs come first if `most` divides them; None means no limit.
    """
    while most is not None and len(uids) > most:
        yield from (part := uids.newest(most)).to_commands(LONGEST_SET)
        uids = uids.minus(part)
    yield from uids.to_commands(LONGEST_SET)


class RangeSearch:
    """A search that continues by ranges of UIDs, because the `first` answer was cut or may have been.

    `asked` are the UIDs among which the first search looked, ``found`` those found so far. A search that has
    to wait for commands can be continued later.
    """

    def __init__(self, asked: UidSet, first: SearchAnswer, limit: int | None) -> None:
        self.found = first.uids
        self._open = _left_open(first, asked, limit)
        # how many UIDs were known when all others were requested
        self._known = -1
        # a server that refuses too many messages is asked for halves, down to its limit
        self._commands_each = 2 if first.uids else 34
        self._answer_size = len(first.uids) or (first.cut and first.cut.limit) or limit or 1
        self._commands = 0

    def ask_above(self) -> None:
        """Ask for messages that arrived meanwhile, too."""
        if self.found.highest < LARGEST_UID:
            self._open.append(UidSet([(self.found.highest + 1, LARGEST_UID)]))

    def run(
        self,
        ask: Callable[[UidSet], SearchAnswer],
        *,
        exists: int | None,
        limit: int | None,
        may_ask: Callable[[], bool],
    ) -> bool:
        """Search until nothing is open; returns False if `may_ask` forbade another command before that.

        `ask` searches among the UIDs that it is given. `exists` is how many messages the folder holds, and
        None if the search has other criteria than the UID. `limit` is how many messages the server processes.
        While the UIDs are fewer than `exists`, all other UIDs are requested, as long as each round finds
        some. The number of commands is bounded by about twice the number of answers of the first one's size,
        and by more only if the server refuses to search among too many messages.
        """
        most = _MOST_COMMANDS + self._commands_each * ((exists or _LARGE_FOLDER) // self._answer_size)
        while exists is None or len(self.found) < exists:
            while self._open and len(self.found) != exists:
                if self._commands >= most:
                    return True
                if not may_ask():
                    return False
                self._commands += 1
                part, rest = _first_command(self._open.pop())
                answer = ask(part)
                self.found = self.found.union(answer.uids)
                self._open += [*([rest] if rest else []), *_left_open(answer, part, limit)]
            if exists is None or len(self.found) == self._known:
                break
            self._known = len(self.found)
            self._open = [UidSet([(1, LARGEST_UID)]).minus(self.found)]
        return True


def _first_command(uids: UidSet) -> tuple[UidSet, UidSet]:
    """Divide `uids` into those that one command can name and the rest."""
    part = UidSet.parse(next(uids.to_commands(LONGEST_SET)))
    return part, uids.minus(part)


def _left_open(answer: SearchAnswer, asked: UidSet, limit: int | None) -> list[UidSet]:
    """Return the sets to ask for next: those of `asked` about which `answer` says nothing."""
    uids, cut = answer
    if cut is None:
        if limit is None or len(uids) < limit:
            return []
        rest = asked.between(1, uids.lowest - 1)
    elif cut.is_silent:
        rest = asked.minus(UidSet([(uids.lowest, uids.highest)])) if uids else UidSet()
    elif cut.lowest is not None and cut.lowest <= asked.highest:
        rest = asked.between(1, cut.lowest - 1)
    elif uids:
        rest = asked.minus(uids)
    elif asked.highest > asked.lowest:
        # a refusal of so many messages: each half may hold few enough
        middle = (asked.lowest + asked.highest) // 2
        halves = (asked.between(1, middle), asked.between(middle + 1, asked.highest))
        return [half for half in halves if half]
    else:
        rest = UidSet()
    return [rest] if rest else []
