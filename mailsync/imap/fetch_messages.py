"""FETCH of whole messages in batches; the next command is sent before a batch is yielded."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

from mailsync.errors import MailsyncError, Throttled, Transient
from mailsync.imap.bounds import BYTES_OF_A_MESSAGE, largest_batch, weight
from mailsync.imap.capabilities import Capabilities
from mailsync.imap.connection import Connection
from mailsync.imap.message_limit import parse_cut, sequence_sets
from mailsync.imap.parsing.fetch_response import Fields, is_fetch, parse_fetch
from mailsync.imap.parsing.message import Detail, build_message, build_state, extras, is_answer, items, uid_of
from mailsync.imap.status_responses import error_for
from mailsync.model import Message
from mailsync.uidset import UidSet

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Batch:
    """The answer to FETCH for one set of UIDs, ``requested``.

    ``messages`` holds those that were answered, ``unparsable`` why an answer could not be used, by UID, and
    ``unanswered`` the remaining UIDs. ``seconds`` is how long reading and parsing took, ``weight`` an
    estimate of the bytes of memory that the answers take.
    """

    requested: UidSet
    messages: list[Message] = field(default_factory=list)
    unparsable: dict[int, str] = field(default_factory=dict)
    unanswered: UidSet = field(default_factory=UidSet)
    weight: int = 0
    seconds: float = 0.0


class Fetcher:
    """FETCH commands over a connection, each sent by :meth:`send` and answered by :meth:`receive`.

    At most one set of UIDs is in flight. A fetcher has to be closed.
    """

    def __init__(self, connection: Connection, detail: Detail, capabilities: Capabilities) -> None:
        self._connection = connection
        self._detail = detail
        self._capabilities = capabilities
        self._uids = UidSet()
        self._sequence_sets: list[str] = []
        self._tag = b""
        self._used = frozenset[str]()
        """The capabilities that the items of the last command relied on."""

    def run(self, batches: Iterable[UidSet], prefetch: bool) -> Generator[Batch, None, None]:
        """Yield a batch for each set; an error in sending ahead is raised after the current batch."""
        source = iter(batches)
        try:
            more = self._send_next(source)
            while more:
                batch, error = self.receive(), None
                if prefetch:
                    try:
                        more = self._send_next(source)
                    except MailsyncError as caught:
                        error = caught
                yield batch
                if error is not None:
                    raise error
                if not prefetch:
                    more = self._send_next(source)
        finally:
            self.close()

    def _send_next(self, source: Iterator[UidSet]) -> bool:
        uids = next(source, None)
        if uids is not None:
            self.send(uids)
        return uids is not None

    def send(self, uids: UidSet) -> None:
        """Send the command for `uids`, or the first one if a command cannot name all of them."""
        self._uids = uids
        self._sequence_sets = list(sequence_sets(uids, self._capabilities.message_limit))
        if self._sequence_sets:
            self._send(self._sequence_sets[0])

    def close(self) -> None:
        """Read and forget the answer in flight, or close the connection."""
        self._connection.drain()

    def _send(self, sequence_set: str) -> None:
        self._used = self._capabilities.usable
        self._tag = self._connection.start(
            "UID FETCH", sequence_set.encode("ascii"), items(self._detail, self._used)
        )

    def receive(self) -> Batch:
        """Wait for the answer to the UIDs that were sent, and parse it."""
        requested = self._uids
        started_at = time.monotonic()
        batch = Batch(requested)
        messages: dict[int, Message] = {}
        partial: dict[int, Fields] = {}
        for i, sequence_set in enumerate(self._sequence_sets):
            if i or not self._connection.is_in_flight(self._tag):
                self._send(sequence_set)
            self._read(requested, messages, partial, batch)
            self._capabilities.note_limit(parse_cut(self._connection.completion))
            while self._connection.completion.status != "OK":
                if not self._retry_or_keep(has_data=bool(messages) or bool(batch.unparsable)):
                    break
                self._send(sequence_set)
                self._read(requested, messages, partial, batch)
        for uid, fields in partial.items():
            if uid not in messages and (b"RFC822.SIZE" in fields or b"INTERNALDATE" in fields):
                self._build(uid, fields, messages, batch)
        batch.messages = list(messages.values())
        batch.unparsable = {uid: why for uid, why in batch.unparsable.items() if uid not in messages}
        answered = UidSet.of([*messages, *batch.unparsable])
        batch.unanswered = requested.minus(answered)
        batch.seconds = time.monotonic() - started_at
        return batch

    def _retry_or_keep(self, *, has_data: bool) -> bool:
        """Decide on a completion that is not OK: True to send the command again, False to keep the data.

        Raises the error that the completion stands for if neither can be done.
        """
        completion = self._connection.completion
        error = error_for(completion, "FETCH")
        if completion.status == "BAD" and self._detail is not Detail.BASIC:
            for capability in ("X-GM-EXT-1", "OBJECTID", "CONDSTORE"):
                if capability in self._used and extras(self._used) != extras(self._used - {capability}):
                    log.warning(
                        "The server offers %s but does not understand its items: %s",
                        capability, completion.words, extra={"action": "fetch"},
                    )  # fmt: skip
                    self._capabilities.disable(capability)
                    return True
        if completion.status == "NO" and has_data and not isinstance(error, Throttled | Transient):
            return False
        raise error

    def _read(
        self, requested: UidSet, messages: dict[int, Message], partial: dict[int, Fields], batch: Batch
    ) -> None:
        connection = self._connection
        for response in connection.responses(len(requested), BYTES_OF_A_MESSAGE):
            if not is_fetch(response):
                connection.on_untagged(response)
                continue
            cut = connection.reader.oversized
            fields = parse_fetch(response)
            uid = uid_of(fields)
            if not uid or uid not in requested:
                continue
            if cut is not None:
                batch.unparsable[uid] = cut
            elif uid in messages:
                messages[uid] = _updated(messages[uid], fields)
                batch.weight += sum(map(len, response))
                self._check_weight(batch)
            elif is_answer(fields, self._detail):
                answered = sum(map(len, response))
                self._build(uid, {**partial.pop(uid, {}), **fields}, messages, batch, answered)
                self._check_weight(batch)
            else:
                # flags that changed meanwhile, or an answer in pieces
                partial[uid] = {**partial.get(uid, {}), **fields}
                batch.weight += 512 + sum(map(len, response))
                self._check_weight(batch)

    def _check_weight(self, batch: Batch) -> None:
        """Refuse a batch that takes too much memory; the engine then asks for half as many (SPEC §9.5)."""
        count = len(batch.requested)
        most = largest_batch(count)
        if batch.weight > most:
            raise self._connection.too_much(
                f"{most // 2**20} MiB of data on {count} {'messages' if count > 1 else 'message'}"
            )

    def _build(
        self, uid: int, fields: Fields, messages: dict[int, Message], batch: Batch, answered: int = 0
    ) -> None:
        try:
            messages[uid] = build_message(uid, fields, self._detail)
            batch.weight += weight(messages[uid], answered)
        except Exception as error:
            # A bad message must not cost the others (SPEC §0.6); the engine asks for less of this one.
            log.exception("Cannot parse a message", extra={"action": "fetch", "uid": uid})
            batch.unparsable[uid] = type(error).__name__


def _updated(message: Message, fields: Fields) -> Message:
    """Apply flags that came after the message itself."""
    state = build_state(message.uid, fields)
    return message._replace(
        flags=message.flags if state.flags is None else state.flags,
        modseq=message.modseq if state.modseq is None else state.modseq,
    )
