"""A batch that came back incomplete is completed within the turn: which messages to ask for again, and how.

One bad message costs itself. Complete answers are stored at once. Then, in this order:

1. The rest of the batch, without the message that is suspected (:mod:`mailsync.engine.fetch.division`).
2. The suspected messages, each alone (:mod:`mailsync.engine.fetch.single_messages`).
3. Those that failed alone, once more on another connection. The second failure makes a placeholder.

A turn reconnects at most three times. The last connection is for the other folders: this one is left until
they are done, and no suspect is requested. Whatever is left is noted in ``fetch_attempts``, so that the next
turn begins with it, and blames nobody.
"""

from __future__ import annotations

from collections import deque

from mailsync.core.contradictions import phantoms
from mailsync.engine.fetch.batches import BatchPlan, Request
from mailsync.engine.fetch.commit import BatchWriter
from mailsync.engine.fetch.division import divide, small_part
from mailsync.engine.fetch.leaving import leave
from mailsync.engine.fetch.limits import MOST_BAD, MOST_BAD_AT_FIRST, MOST_REQUESTS, commands_of_others
from mailsync.engine.fetch.neighbours import with_estimated_dates
from mailsync.engine.fetch.reconnect import MOST_RECONNECTS, may_reconnect, reconnect
from mailsync.engine.fetch.single_messages import isolate
from mailsync.engine.steps import window
from mailsync.engine.turn import Turn
from mailsync.errors import (
    DatabaseUnavailable,
    LockLost,
    MailsyncError,
    SentTooMuch,
    TimedOut,
)
from mailsync.imap import Batch
from mailsync.imap.bounds import LARGEST_BATCH, weight
from mailsync.model import FolderState, Message
from mailsync.store import attempts
from mailsync.store import messages as store
from mailsync.uidset import LARGEST_UID, UidSet


class Completion:
    """Completes the batches of one folder in one turn; nothing may be in flight meanwhile.

    ``left`` are the UIDs that are left to a later turn. Once ``is_over``, no more may be fetched from the
    folder in this turn.
    """

    def __init__(self, turn: Turn, folder: FolderState, plan: BatchPlan, writer: BatchWriter) -> None:
        self._turn = turn
        self._folder = folder
        self._plan = plan
        self._writer = writer
        self._new_before = turn.tally.messages_new
        self._placeholders = self._requests = 0
        self._bad: set[int] = set()
        self._last: Message | None = None
        self._has_answered = False
        self._failure: MailsyncError | None = None
        self._is_unexplained = self._hung = False
        self.left = UidSet()
        self.is_over = False

    def note_answer(self, batch: Batch) -> None:
        """Remember that the server gives messages of this folder, and what the last one is like."""
        for message in batch.messages[-1:]:
            self._last = message
            self._has_answered = self._has_answered or "unfetchable" not in message.parse_errors

    def complete(self, request: Request, batch: Batch) -> Batch:
        """Return `batch` with the messages that the server gives after all, at worst as placeholders.

        Its ``unanswered`` are left to a later turn. Messages that a SEARCH no longer finds are gone. Raises
        what ends the turn; what was answered is stored before.
        """
        self._begin(request)
        try:
            if request.isolate:
                self._parts.append(request.uids)
            else:
                self._learn(batch)
            while not self.is_over and (uids := self._next()):
                self._requests += 1
                if len(uids) > 1:
                    self._learn(self._fetch(uids))
                elif self._may_exist(uids):
                    self._ask_alone(uids.lowest)
                self._turn.keep_alive()
        except MailsyncError as error:
            if not isinstance(error, DatabaseUnavailable | LockLost):
                self._store()
            raise
        return self._result()

    def end(self) -> None:
        """Raise the error that leaves the rest to a later turn, if there is a rest."""
        new = self._turn.tally.messages_new - self._new_before
        left = self._plan.remaining if self.is_over else self.left
        leave(
            self._turn, self._folder, left, self._failure,
            gained=new - self._placeholders, is_explained=not self._is_unexplained,
        )  # fmt: skip

    # -- one batch -------------------------------------------------------------------------------------

    def _begin(self, request: Request) -> None:
        self._request = request
        self._messages: dict[int, Message] = {}
        self._stored: set[int] = set()
        self._weight = 0
        self._parts: deque[UidSet] = deque()
        """The next requests, in order; a part of one message is requested alone."""
        self._suspects: deque[int] = deque()
        self._failed: dict[int, int] = {}
        """Messages that failed alone once, with the number of the connection."""
        self._left_out: set[int] = set()
        self._asked_again = UidSet()
        self._doubtful = UidSet()
        self._later = UidSet()
        self._searched = UidSet()
        self._existing: UidSet | None = None

    def _next(self) -> UidSet:
        """Return what to ask for now; empty at the end of the batch, or of what this turn may ask for."""
        # A message to isolate is asked for even in a turn that began late, or it might never be.
        may_be_late = self._request.isolate and not self._requests and not self._turn.env.stop
        if (self._turn.is_over() and not may_be_late) or self._requests >= MOST_REQUESTS:
            return UidSet()
        if self._has_answered and self._turn.session.commands_left < commands_of_others(
            self._turn, self._folder
        ):
            self.is_over = True
            return UidSet()
        while self._parts or self._suspects:
            uids = self._parts.popleft() if self._parts else UidSet.of([self._suspects.popleft()])
            if len(uids) > 1 or self._may_ask_alone(uids.lowest):
                return uids
            self._later = self._later.union(uids)
        self._drop_phantoms()
        for uid, connection in list(self._failed.items()):
            is_elsewhere = connection != self._turn.result.reconnects
            if self._may_ask_alone(uid) and (is_elsewhere or self._reconnect("to ask once more")):
                del self._failed[uid]
                return UidSet.of([uid])
        return UidSet()

    def _may_ask_alone(self, uid: int) -> bool:
        most = MOST_BAD if self._has_answered else MOST_BAD_AT_FIRST
        may_break = self._turn.result.has_broken and not may_reconnect(self._turn)
        return not self._hung and not may_break and (uid in self._bad or len(self._bad) < most)

    def _may_exist(self, uids: UidSet) -> bool:
        """Ask once on each connection which messages exist; this also shows that the connection works."""
        if self._existing is None or uids.minus(self._searched):
            self._searched = self._outstanding().union(uids)
            self._existing = self._turn.session.search(uids=self._searched)
        return bool(self._existing.both(uids))

    def _outstanding(self) -> UidSet:
        return UidSet.of(
            [*self._suspects, *self._failed, *self._later, *(uid for part in self._parts for uid in part)]
        )

    def _fetch(self, uids: UidSet) -> Batch:
        with self._turn.session.deadline(self._turn.settings.backfill_batch_timeout):
            return self._turn.session.fetcher().fetch(uids)

    def _reconnect(self, why: str) -> bool:
        """Continue on another connection; False if the turn may open none, or must not ask for more on it."""
        self._store()
        result = self._turn.result
        if self._turn.session.closed:
            result.has_broken = True
            result.tally.error_codes[self._failure.code if self._failure else "protocol"] += 1
        if not may_reconnect(self._turn):
            self.is_over = self.is_over or self._turn.session.closed
            return False
        reconnect(self._turn, self._folder, why)
        self._existing = None
        if result.has_broken and result.reconnects == MOST_RECONNECTS and not result.others_done:
            # the last connection is for the other folders
            self.is_over = True
        return not self.is_over

    # -- after an answer -------------------------------------------------------------------------------

    def _learn(self, batch: Batch) -> None:
        """Keep what was answered, and decide how to ask for the rest."""
        for message in batch.messages:
            self._keep(message, 0)
        self._weigh(batch.weight)
        lacking = UidSet.of(batch.unparsable).union(batch.unanswered)
        if not lacking:
            return
        if batch.failure is None:
            self._ask_again(lacking)
            return
        self._failure = batch.failure
        is_broken = self._turn.session.closed
        has_gained = self._has_answered or self._turn.tally.messages_new
        if isinstance(batch.failure, TimedOut) and not has_gained:
            # nothing shows which message it was, and another silence would take the time of other folders
            raise batch.failure
        answered = batch.requested.minus(lacking)
        size, is_repeated = len(self._request.uids), is_broken and self._turn.result.has_broken
        division = divide(lacking, answered, batch_size=size, is_broken=is_broken, is_repeated=is_repeated)
        self._parts.extendleft(reversed(division.next))
        self._parts.extend(division.last)
        if division.suspect:
            self._suspects += division.suspect
            # the next turn begins with it, whatever ends this one
            attempts.note_attempt(self._turn.conn, self._folder, division.suspect)
        if is_broken:
            self._doubtful = UidSet() if division.suspect else lacking
            # a small part is requested message by message next, which finds the one at fault
            self._is_unexplained = len(batch.requested) > small_part(size)
            self._reconnect(str(batch.failure))

    def _ask_again(self, lacking: UidSet) -> None:
        """Ask for messages that were left out once more together, and then alone."""
        existing = self._turn.session.search(uids=lacking)
        again = existing.minus(self._asked_again)
        self._asked_again = self._asked_again.union(again)
        self._suspects += existing.minus(again)
        if again:
            self._parts.appendleft(again)

    def _keep(self, message: Message, weighs: int) -> None:
        self._messages[message.uid] = message
        if "unfetchable" in message.parse_errors:
            self._placeholders += 1
        else:
            self._has_answered = True
        self._weigh(weighs)

    def _weigh(self, more: int) -> None:
        self._weight += more
        if self._weight > 2 * max(LARGEST_BATCH, 32 * 1024 * len(self._request.uids)):
            # like a batch that is too large: the next turn asks for half as many
            self._turn.session.close()
            raise SentTooMuch(
                f"FETCH: the server sends more than {self._weight // 2**20} MiB"
                f" on {len(self._messages)} messages"
            )

    # -- single messages -------------------------------------------------------------------------------

    def _ask_alone(self, uid: int) -> None:
        """Ask for one message; if that fails, it explains why its batch failed."""
        turn = self._turn
        outcome = isolate(turn, self._folder, uid, is_proven=self._has_answered)
        self._failure = outcome.failure or self._failure
        if outcome.message is not None:
            self._keep(outcome.message, weight(outcome.message, len(repr(outcome.message))))
        elif outcome.is_blamed:
            self._bad.add(uid)
            self._failed[uid] = turn.result.reconnects
            if outcome.failure is None:
                self._left_out.add(uid)
        else:
            self._later = self._later.union(UidSet.of([uid]))
            self.is_over = True
        if turn.session.closed:
            self._is_unexplained = False
            self._join_parts()
            self._hung = self._hung or isinstance(outcome.failure, TimedOut)
            self._reconnect(str(outcome.failure))

    def _join_parts(self) -> None:
        """Ask for the rest together: the message that broke the connection is known."""
        rest = UidSet.of(uid for part in self._parts for uid in part)
        self._parts = deque([rest] if rest else [])

    def _drop_phantoms(self) -> None:
        """Forget UIDs that SEARCH shows and FETCH leaves out, if EXISTS has no room for them."""
        doubted = UidSet.of(self._left_out & self._failed.keys())
        self._left_out.clear()
        if not doubted:
            return
        known = store.live_uids(self._turn.conn, self._folder, 1, LARGEST_UID)
        known = known.union(UidSet.of(self._messages)).minus(doubted)
        others = len(self._turn.session.search().both(known))
        for uid in phantoms(doubted, others, self._turn.session.exists):
            del self._failed[uid]
            attempts.forget_attempts(self._turn.conn, self._folder, uid, uid)

    # -- the result ------------------------------------------------------------------------------------

    def _store(self) -> None:
        """Store what was answered so far, without moving a cursor."""
        self._estimate_dates()
        new = [message for uid, message in self._messages.items() if uid not in self._stored]
        if new:
            self._writer.write(Batch(UidSet()), window.inside(self._turn, new), None)
            self._writer.finish_commit()
            self._stored.update(message.uid for message in new)

    def _estimate_dates(self) -> None:
        self._messages = with_estimated_dates(self._messages, self._last)
        if not self._plan.newest_first:
            # new mail arrived just now: the time of the turn is nearer than the date of any row
            return
        for uid, message in self._messages.items():
            if message.internal_date is None and "unfetchable" in message.parse_errors:
                date = store.neighbour_date(self._turn.conn, self._folder, uid)
                self._messages[uid] = message._replace(internal_date=date)

    def _result(self) -> Batch:
        turn, folder, requested = self._turn, self._folder, self._request.uids
        self._estimate_dates()
        left = self._outstanding().both(requested)
        self.left = self.left.union(left)
        if left or self._placeholders:
            # what is left is noted below, in smaller pieces
            attempts.forget_batches(turn.conn, folder, requested)
            self._plan.forget_attempts(requested)
        if doubtful := self._doubtful.both(left):
            attempts.note_attempt(turn.conn, folder, doubtful)
        return Batch(requested, list(self._messages.values()), unanswered=left)
