"""FETCH of whole messages, batch after batch, with the next command sent before a batch is handed out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field

from mailsync.errors import MailsyncError, Throttled, Transient
from mailsync.imap.bounds import BYTES_OF_A_MESSAGE, largest_batch, weight
from mailsync.imap.connection import Wire
from mailsync.imap.parsing.fetch_response import Fields, is_fetch, parse_fetch
from mailsync.imap.parsing.message import Detail, build_message, build_state, extras, is_answer, items, uid_of
from mailsync.imap.status_responses import error_for
from mailsync.model import Message
from mailsync.uidset import UidSet

log = logging.getLogger(__name__)

LONGEST_SET = 8000
"""Bytes of a sequence set in one command; many servers stop at 8 KB of command."""


@dataclass(slots=True)
class Batch:
    """What became of one set of UIDs.

    ``messages`` holds those that were asked for and answered; ``unparsable`` says of a UID why its answer
    could not be used; ``unanswered`` are the rest. ``bytes_in`` and ``seconds`` measure reading and parsing,
    ``weight`` estimates the bytes of memory that the answers take.
    """

    asked: UidSet
    messages: list[Message] = field(default_factory=list)
    unparsable: dict[int, str] = field(default_factory=dict)
    unanswered: UidSet = field(default_factory=UidSet)
    bytes_in: int = 0
    weight: int = 0
    seconds: float = 0.0


class Fetcher:
    """One run of FETCH commands over a connection; see :meth:`Session.fetch_messages`.

    ``capabilities`` is asked before every command, and ``hide`` told of those that turn out to be lies.
    """

    def __init__(
        self,
        wire: Wire,
        detail: Detail,
        capabilities: Callable[[], frozenset[str]],
        hide: Callable[[frozenset[str]], None],
    ) -> None:
        self._wire = wire
        self._detail = detail
        self._capabilities = capabilities
        self._hide = hide
        self._tag = b""
        self._sent = frozenset[str]()

    def run(self, batches: Iterable[UidSet], prefetch: bool) -> Generator[Batch, None, None]:
        """Yield a batch for each set; an error in sending ahead is raised after the batch in hand."""
        source = iter(batches)
        asked = next(source, None)
        commands = self._begin(asked)
        try:
            while asked is not None:
                batch = self._receive(asked, commands)
                following, error = None, None
                if prefetch:
                    try:
                        following = next(source, None)
                        commands = self._begin(following)
                    except MailsyncError as caught:
                        error = caught
                yield batch
                if error is not None:
                    raise error
                if not prefetch:
                    following = next(source, None)
                    commands = self._begin(following)
                asked = following
        finally:
            self._wire.drain()

    def _begin(self, asked: UidSet | None) -> list[str]:
        """Send the first command for these UIDs; return all of them."""
        commands = list(asked.to_commands(LONGEST_SET)) if asked else []
        if commands:
            self._send(commands[0])
        return commands

    def _send(self, uids: str) -> None:
        self._sent = self._capabilities()
        self._tag = self._wire.start("UID FETCH", uids.encode("ascii"), items(self._detail, self._sent))

    def _receive(self, asked: UidSet, commands: list[str]) -> Batch:
        began, bytes_before = time.monotonic(), self._wire.reader.bytes_in
        batch = Batch(asked)
        found: dict[int, Message] = {}
        partial: dict[int, Fields] = {}
        for at, uids in enumerate(commands):
            if not self._wire.awaits(self._tag) or at:
                self._send(uids)
            self._read(asked, found, partial, batch)
            while self._wire.reply.status != "OK":
                if not self._settle(bool(found) or bool(batch.unparsable)):
                    break
                self._send(uids)
                self._read(asked, found, partial, batch)
        for uid, fields in partial.items():
            if uid not in found and (b"RFC822.SIZE" in fields or b"INTERNALDATE" in fields):
                self._build(uid, fields, found, batch)
        batch.messages = list(found.values())
        batch.unparsable = {uid: why for uid, why in batch.unparsable.items() if uid not in found}
        answered = UidSet.of([*found, *batch.unparsable])
        batch.unanswered = asked.minus(answered)
        batch.bytes_in = self._wire.reader.bytes_in - bytes_before
        batch.seconds = time.monotonic() - began
        return batch

    def _settle(self, has_data: bool) -> bool:
        """Decide on a completion that is not OK: True to ask once more, False to use what came."""
        reply = self._wire.reply
        error = error_for(reply, "FETCH")
        if reply.status == "BAD" and self._detail is not Detail.BASIC:
            for capability in ("X-GM-EXT-1", "OBJECTID", "CONDSTORE"):
                if capability in self._sent and extras(self._sent) != extras(self._sent - {capability}):
                    log.warning(
                        "The server offers %s but does not know its items: %s", capability, reply.words,
                        extra={"action": "fetch"},
                    )  # fmt: skip
                    self._hide(frozenset({capability}))
                    return True
        if reply.status == "NO" and has_data and not isinstance(error, Throttled | Transient):
            return False
        raise error

    def _read(
        self, asked: UidSet, found: dict[int, Message], partial: dict[int, Fields], batch: Batch
    ) -> None:
        wire, detail = self._wire, self._detail
        for parts in wire.answer(len(asked), BYTES_OF_A_MESSAGE):
            if not is_fetch(parts):
                wire.unasked(parts)
                continue
            cut = wire.reader.oversized
            fields = parse_fetch(parts)
            uid = uid_of(fields)
            if not uid or uid not in asked:
                continue
            if cut is not None:
                batch.unparsable[uid] = cut
            elif uid in found:
                found[uid] = _updated(found[uid], fields)
                batch.weight += sum(map(len, parts))
                self._bound(batch)
            elif is_answer(fields, detail):
                answered = sum(map(len, parts))
                self._build(uid, {**partial.pop(uid, {}), **fields}, found, batch, answered)
                self._bound(batch)
            else:
                # Flags that changed meanwhile, or an answer that comes in pieces.
                partial[uid] = {**partial.get(uid, {}), **fields}
                batch.weight += 512 + sum(map(len, parts))
                self._bound(batch)

    def _bound(self, batch: Batch) -> None:
        """Refuse a batch that takes too much memory; the engine then asks for half as many (SPEC §9.5)."""
        count = len(batch.asked)
        most = largest_batch(count)
        if batch.weight > most:
            raise self._wire.too_much(
                f"{most // 2**20} MiB of data on {count} {'messages' if count > 1 else 'message'}"
            )

    def _build(
        self, uid: int, fields: Fields, found: dict[int, Message], batch: Batch, answered: int = 0
    ) -> None:
        try:
            found[uid] = build_message(uid, fields, self._detail)
            batch.weight += weight(found[uid], answered)
        except Exception as error:
            # Whatever a message holds, it never costs the others (SPEC §0.6); the engine asks for less of it.
            log.exception("A message cannot be parsed", extra={"action": "fetch", "uid": uid})
            batch.unparsable[uid] = type(error).__name__


def _updated(message: Message, fields: Fields) -> Message:
    """Apply flags that came after the message itself."""
    state = build_state(message.uid, fields)
    return message._replace(
        flags=message.flags if state.flags is None else state.flags,
        modseq=message.modseq if state.modseq is None else state.modseq,
    )
