"""FETCH of whole messages in batches; the next command is sent before a batch is yielded."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

from mailsync.errors import (
    FolderError,
    MailsyncError,
    NotConnected,
    ProtocolError,
    SentTooMuch,
    Throttled,
    Transient,
)
from mailsync.imap.bounds import BYTES_OF_A_MESSAGE, largest_batch, weight
from mailsync.imap.capabilities import Capabilities
from mailsync.imap.connection import Connection
from mailsync.imap.message_limit import parse_cut, sequence_sets
from mailsync.imap.parsing.fetch_response import UNREADABLE, Fields, is_fetch, parse_fetch
from mailsync.imap.parsing.message import (
    Detail,
    build_message,
    build_state,
    extras,
    is_answer,
    is_miscounted,
    items,
    uid_of,
)
from mailsync.imap.status_responses import LOGGED_OUT, error_for
from mailsync.model import Message
from mailsync.uidset import UidSet

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Batch:
    """The answer to FETCH for one set of UIDs, ``requested``.

    ``messages`` holds those that were answered, ``unparsable`` why an answer could not be used, by UID, and
    ``unanswered`` the remaining UIDs. ``failure`` is the error that ended the answer early: the server said
    NO or BAD, or the connection broke and is closed. Then ``messages`` are those that were answered
    completely before. ``seconds`` is how long reading and parsing took, ``weight`` an estimate of the bytes
    of memory that the answers take.
    """

    requested: UidSet
    messages: list[Message] = field(default_factory=list)
    unparsable: dict[int, str] = field(default_factory=dict)
    unanswered: UidSet = field(default_factory=UidSet)
    failure: MailsyncError | None = None
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
        self._last: list[bytes] | None = None
        """The last response for one of the messages."""

    def run(self, batches: Iterable[UidSet], prefetch: bool) -> Generator[Batch, None, None]:
        """Yield a batch for each set; an error in sending ahead is raised after the current batch.

        Raises the ``failure`` of a batch, unless the server said NO after it had sent messages.
        """
        source = iter(batches)
        try:
            more = self._send_next(source)
            while more:
                batch, error = self.receive(), None
                if batch.failure is not None and not self._is_usable(batch, batch.failure):
                    raise batch.failure
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

    def fetch(self, uids: UidSet) -> Batch:
        """Send the command for `uids` and return its batch; see :meth:`receive`."""
        try:
            self.send(uids)
        except Transient as error:
            if not self._connection.closed:
                raise
            return Batch(uids, unanswered=uids, failure=error)
        return self.receive()

    def close(self) -> None:
        """Read and forget the answer in flight, or close the connection."""
        self._connection.drain()

    def _send(self, sequence_set: str) -> None:
        self._used = self._capabilities.usable
        self._tag = self._connection.start(
            "UID FETCH", sequence_set.encode("ascii"), items(self._detail, self._used)
        )

    def _is_usable(self, batch: Batch, failure: MailsyncError) -> bool:
        has_data = bool(batch.messages or batch.unparsable)
        is_partial = self._connection.completion.status == "NO" and not isinstance(failure, Transient)
        return has_data and is_partial and not self._connection.closed

    def receive(self) -> Batch:
        """Wait for the answer to the UIDs that were sent, and parse it.

        A refusal or a broken connection is the batch's ``failure``, because one message may have caused it.
        Raises what no message can cause: Throttled, FolderError, a session that ended, and SentTooMuch for
        more than one message.
        """
        requested = self._uids
        started_at = time.monotonic()
        batch = Batch(requested)
        messages: dict[int, Message] = {}
        partial: dict[int, Fields] = {}
        self._last = None
        try:
            for i, sequence_set in enumerate(self._sequence_sets):
                if i or self._tag not in self._connection.in_flight:
                    self._send(sequence_set)
                batch.failure = self._receive_set(sequence_set, requested, messages, partial, batch)
                if batch.failure is not None:
                    break
        except (Transient, ProtocolError) as error:
            is_oversized = isinstance(error, SentTooMuch) and len(requested) > 1
            if is_oversized or not self._connection.closed:
                raise
            batch.failure = error
            self._discard_doubtful(messages, batch)
        if batch.failure is None:
            self._build_partial(partial, messages, batch)
        self._last = None
        batch.messages = list(messages.values())
        batch.unparsable = {uid: why for uid, why in batch.unparsable.items() if uid not in messages}
        answered = UidSet.of([*messages, *batch.unparsable])
        batch.unanswered = requested.minus(answered)
        batch.seconds = time.monotonic() - started_at
        return batch

    def _receive_set(
        self,
        sequence_set: str,
        requested: UidSet,
        messages: dict[int, Message],
        partial: dict[int, Fields],
        batch: Batch,
    ) -> MailsyncError | None:
        """Read the answer to one command, asking again without extensions after BAD; returns a refusal."""
        usable = self._capabilities.usable
        while True:
            self._read(requested, messages, partial, batch)
            completion = self._connection.completion
            self._capabilities.note_limit(parse_cut(completion))
            if messages:
                self._capabilities.understood |= self._used
            if completion.status == "OK":
                return None
            error = error_for(completion, "FETCH")
            if isinstance(error, Throttled | FolderError | NotConnected) or completion.code in LOGGED_OUT:
                raise error
            if completion.status != "BAD" or not self._disable_extension():
                # the extensions were not what the server refused
                self._capabilities.usable = usable
                return error
            self._send(sequence_set)

    def _disable_extension(self) -> bool:
        """Disable the next extension whose items the server may not understand; False if there is none."""
        if not self._detail.has_headers:
            return False
        for capability in ("X-GM-EXT-1", "OBJECTID", "CONDSTORE"):
            if (
                capability in self._used - self._capabilities.understood
                and extras(self._used) != extras(self._used - {capability})
            ):  # fmt: skip
                log.warning(
                    "The server offers %s but does not understand its items: %s",
                    capability, self._connection.completion.words, extra={"action": "fetch"},
                )  # fmt: skip
                self._capabilities.disable(capability)
                return True
        return False

    def _discard_doubtful(self, messages: dict[int, Message], batch: Batch) -> None:
        """Forget the last answer of a broken connection, unless it is certain where that answer ended.

        After a response that the server miscounted, the next line belongs to no command. So the response
        before such a line is not believed, nor one without its closing parenthesis.
        """
        if self._last is None:
            return
        uid = uid_of(parse_fetch(self._last))
        if isinstance(batch.failure, ProtocolError) or not self._last[-1].endswith(b")"):
            messages.pop(uid, None)
            batch.unparsable.pop(uid, None)

    def _build_partial(self, partial: dict[int, Fields], messages: dict[int, Message], batch: Batch) -> None:
        for uid, fields in partial.items():
            if uid not in messages and (b"RFC822.SIZE" in fields or b"INTERNALDATE" in fields):
                self._build(uid, fields, messages, batch)

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
            self._last = response
            if cut is not None:
                batch.unparsable[uid] = cut
            elif UNREADABLE in fields and is_miscounted(fields):
                batch.unparsable[uid] = "a header of another length than the server said"
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
