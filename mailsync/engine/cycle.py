"""A turn from top to bottom, as the flowchart in ``docs/architecture.rst`` shows it.

lock → load → connect → discover → survey → per folder: UIDVALIDITY, new mail, flags, reconcile → save →
health → release. The backfill pass is the same without survey: initial-sync batches, newest first.
"""

from __future__ import annotations

import logging
from datetime import datetime

from mailsync.config import Settings
from mailsync.core import renames
from mailsync.core.planning import (
    expected_unseen,
    is_due,
    may_retry,
    next_flag_scan,
    plan_folder,
    safety_nets,
)
from mailsync.engine import (
    backfill,
    discovery,
    emptying,
    flags,
    incremental,
    outcome,
    placeholders,
    poison,
    reach,
    reconcile,
    uidvalidity,
    window,
)
from mailsync.engine.survey import choose, compared_since, list_status, shows_other_folders, survey
from mailsync.engine.turn import Turn
from mailsync.engine.work import Engine, Work
from mailsync.errors import (
    DatabaseSlow,
    DatabaseUnavailable,
    FolderError,
    LockLost,
    MailsyncError,
    NotFound,
    OutOfTokens,
    ProtocolError,
    Stopped,
    TurnOver,
)
from mailsync.imap.token_bucket import Throttle, burst, refill
from mailsync.model import FolderPlan, FolderState, Listing, MailboxStatus
from mailsync.store import folders, turns
from mailsync.store.locks import account_lock

log = logging.getLogger(__name__)

_OPENING = 4
"""Commands of a login: LOGIN, CAPABILITY, ID, ENABLE."""


def take_turn(engine: Engine, account_id: int, work: Work) -> Turn | None:
    """Hold the account's lock for one turn; returns what was done, None if the account is paused.

    Raises Busy when the lock is not had, LockLost when it is lost, NotFound without the account. What else
    goes wrong is judged, saved, and raised again, so that a command can report it; TurnOver tells that there
    is more to do. A DatabaseSlow is not saved when the account's own row is what cannot be written.
    """
    settings = engine.settings
    full = burst(settings.imap_max_commands_per_minute)
    floor = work.floor * full
    with engine.counters.waiting(account_lock(engine.conn, account_id, settings, wait=work.wait)) as lock:
        loaded = turns.begin(
            lock.conn,
            account_id,
            engine.started_by,
            burst=full,
            refill=refill(settings.imap_max_commands_per_minute),
            floor=floor,
            kind=work.kind,
            survived=engine.survived.get(account_id),
            silent_for=min(settings.longest_silence, settings.lock_stale_after),
        )
        if loaded is None:
            raise NotFound(f"account {account_id} is gone")
        if loaded.started_at is not None:
            # kept until the turn's end is written: an error that ends the turn before that has not ended this
            # process
            engine.survived[account_id] = loaded.started_at
        turn = Turn(
            lock=lock,
            loaded=loaded,
            settings=settings,
            stop=engine.stop,
            trigger=work.trigger,
            started_by=engine.started_by,
            limit=work.limit,
            chance=engine.chance,
            on_progress=engine.on_progress,
            on_alive=engine.on_alive,
            to_take_back=engine.to_take_back,
        )
        throttle = Throttle(loaded.tokens, settings.imap_max_commands_per_minute, floor)
        if turn.account.paused_at or turn.account.deleting_at:
            _leave(engine, turn, throttle)
            return None
        error: MailsyncError | None = poison.found(turn, work)
        if error is None and (refusal := work.refusal(turn)):
            _leave(engine, turn, throttle)
            raise refusal
        error = error or _too_poor(engine, turn, throttle, work) or _work(engine, turn, throttle, work)
        outcome.save(turn, throttle, error, work)
        engine.survived.pop(account_id, None)
    engine.counters.turn(turn, error)
    if turn.run_id is not None or work.trigger != "schedule":
        # a quiet turn of the worker waits for the worker's next heartbeat, since it costs five statements
        engine.counters.store(engine.conn)
    if error is not None:
        raise error
    return turn


def _leave(engine: Engine, turn: Turn, throttle: Throttle) -> None:
    turns.leave(turn.conn, turn.account.id, tokens=throttle.tokens, asked=False)
    engine.survived.pop(turn.account.id, None)


def _too_poor(engine: Engine, turn: Turn, throttle: Throttle, work: Work) -> OutOfTokens | None:
    """Say that the budget would end the turn before it got anywhere; then nothing is spent on it."""
    needed = work.least + (0 if engine.sessions.has(turn.account.id) else _OPENING)
    if throttle.tokens - throttle.floor >= needed:
        return None
    # who asks for one thing and is told to come back needs no more than that
    return throttle.exhausted() if work.told else throttle.exhausted(needed)


def _work(engine: Engine, turn: Turn, throttle: Throttle, work: Work) -> MailsyncError | None:
    """Connect, do the steps, put the session away; returns what ended the turn early, if anything did."""
    kept = False
    turn.asked = True
    try:
        turn.begins("connecting")
        turn.connected(engine.sessions.open(turn.loaded, throttle, turn.alive, turn.begins))
        try:
            work.steps(turn)
        except TurnOver as over:
            _put_away(turn, throttle)
            kept = True
            return over
        _put_away(turn, throttle)
        kept = True
        return None
    except DatabaseSlow as error:
        # a process that is asked to stop cancels its statements: no failure of the account
        return Stopped("stopped while the database worked") if engine.stop else error
    except (LockLost, DatabaseUnavailable):
        raise
    except MailsyncError as error:
        return error
    except Exception as error:
        log.exception(
            "A turn failed in an unforeseen way", extra={"action": "turn", "account_id": turn.account.id}
        )
        return MailsyncError(f"internal error: {type(error).__name__}")
    finally:
        if turn.is_connected:
            if kept and not turn.needs_new_session:
                engine.sessions.keep(turn.loaded, turn.session)
            else:
                turn.session.close()


def _put_away(turn: Turn, throttle: Throttle) -> None:
    # a selected mailbox's STATUS is frozen, and nothing may be selected without the lock
    if turn.session.closed:
        return
    # paid from what is left for others: without it every turn that runs out of commands would log in anew
    throttle.floor = 0.0
    try:
        turn.session.unselect()
    except OutOfTokens:
        turn.session.close()


# -- the hot pass -------------------------------------------------------------------------------------


def hot(turn: Turn, *, full: bool = False, done: dict[int, datetime] | None = None) -> None:
    """Everything that keeps a mirror fresh; `full` forces discovery, flag scans and reconciles.

    With `done` it goes over all folders, not round robin, in as many turns as that takes: what is done is
    noted there by folder id, with the time its status was taken, and not done again in the turns that follow.
    """
    began = turn.now()
    reach.follow(turn)
    listing = list_status(turn)
    _discover(turn, listing, forced=full and not done)
    chosen = choose(turn, listing, done)
    nets = safety_nets(chosen, began, turn.settings, condstore=turn.has("CONDSTORE"))
    priority = [f.id for f in turn.tracked() if f.is_priority]
    if listing is None:
        # more of them than a tick asks for take their turn in the round
        priority = priority[: turn.settings.sync_priority_folders]
    compared: set[int] = set()
    for folder, status in survey(turn, chosen, listing):
        turn.surveyed[folder.id] = status
        plan = plan_folder(
            folder,
            status,
            turn.now(),
            condstore=turn.has("CONDSTORE"),
            windowed=window.start(turn) is not None,
            nets=nets,
            full=full and (done is None or folder.id not in done),
        )
        if not plan or _visit(turn, folder, status, plan):
            # of a folder whose first sync has not begun there is nothing to compare
            compared |= {folder.id} if folder.status != "pending" else set()
            if done is not None:
                done.setdefault(folder.id, began)
        if compared.issuperset(priority):
            # said before the turn can end: what the other folders hold must not make these seem old
            turn.priority_at = began
        if plan:
            turn.checkpoint()
    _note_sizes(turn)
    turn.overall_at = compared_since(turn, began, compared, done or {})
    if done is None and listing is None and turn.overall_at != began:
        # a round of several turns
        folders.note_polled(turn.conn, turn.account.id, compared, began)
    # last, since they may take long and nobody waits for them
    emptying.empty(turn)
    placeholders.ask_again(turn, now=full)


def _discover(turn: Turn, listing: Listing | None, *, forced: bool) -> None:
    """LIST when it is due or `forced`, or when LIST-STATUS shows that folders came, went or changed names."""
    news = listing is not None and (
        shows_other_folders(turn, listing) or renames.shows_any(turn.folders, listing)
    )
    interval = turn.settings.discovery_interval
    if news or forced or is_due(turn.account.next_discovery_at, turn.now(), interval):
        # should it fail, it is due again
        turn.next_discovery_at = turn.now()
        discovery.discover(turn, listing.statuses if listing else None)


def _note_sizes(turn: Turn) -> None:
    """Save, once, how much the folders hold that wait for their first sync."""
    sizes = {
        folder.id: turn.surveyed[folder.id].messages or 0
        for folder in turn.tracked()
        if folder.status == "pending" and folder.server_messages is None and folder.id in turn.surveyed
    }
    if sizes:
        folders.note_sizes(turn.conn, turn.account.id, sizes)


def _visit(turn: Turn, folder: FolderState, status: MailboxStatus, plan: FolderPlan) -> bool:
    """Bring one folder's rows up to date; a folder's error costs that folder its turn. Returns success."""
    turn.working()
    turn.reached(folder)
    try:
        sync_folder(turn, folder, status, plan)
    except TurnOver:
        turn.interrupted(folder)
        raise
    except (FolderError, ProtocolError) as error:
        if turn.session.closed:
            raise
        turn.skip(folder, error)
        return False
    turn.tally.folders += 1
    return True


def sync_folder(turn: Turn, folder: FolderState, status: MailboxStatus, plan: FolderPlan) -> None:
    """Bring one folder's rows up to date with the server."""
    seen = turn.session.examine(folder.wire_name)
    settled = uidvalidity.settle(turn, folder, seen)
    if settled is None:
        return
    held = folder = settled
    followed = flags.NOTHING
    if plan.new_mail:
        folder = incremental.fetch_new(turn, folder, seen)
    if plan.flags == "changes":
        followed = flags.follow(turn, folder, seen)
    elif plan.flags in ("all", "newest"):
        followed = flags.scan(turn, folder, seen, plan.flags)
    folder, as_compared = turn.refresh(folder), turn.as_seen(seen, status)
    if plan.reconcile or reconcile.called_for(turn, held, folder, as_compared, vanished=followed.vanished):
        folder = reconcile.reconcile(turn, folder, due=plan.reconcile)
    if plan.flags == "unseen":
        windowed = window.start(turn) is not None
        followed = flags.explain(turn, folder, expected_unseen(held, status, windowed=windowed))
    folders.save_compared(
        turn.conn,
        folder,
        as_compared,
        # while a deletion is doubted the cursor waits
        highest_modseq=None if folder.suspect_deletion else followed.cursor,
        next_flag_scan_at=next_flag_scan(folder, turn.now(), turn.settings) if followed.scanned else None,
    )


# -- the backfill pass --------------------------------------------------------------------------------


def fill(turn: Turn) -> None:
    """Initial-sync batches of one folder after the other, the inbox first, until the turn is over."""
    for folder in turn.tracked():
        if folder.is_complete or not may_retry(folder, turn.now()):
            continue
        turn.working()
        try:
            backfill.fill_folder(turn, folder)
        except (FolderError, ProtocolError) as error:
            if turn.session.closed:
                raise
            turn.skip(folder, error)
            continue
        turn.tally.folders += 1
        turn.checkpoint()


# -- kinds of turns -----------------------------------------------------------------------------------


def hot_work(settings: Settings) -> Work:
    """The worker's turn of the hot pass."""
    return Work(hot, "schedule", settings.hot_turn_max, floor=0.25, least=1)


def fill_work(settings: Settings) -> Work:
    """The worker's turn of the backfill pass; EXAMINE and SEARCH should not be most of what it does."""
    floor, full = 0.5, burst(settings.imap_max_commands_per_minute)
    least = max(3.0, min(12.0, full * (1 - floor) / 2))
    limit = settings.backfill_turn_max
    return Work(fill, "schedule", limit, floor, reschedules=False, least=least, kind="backfill")
