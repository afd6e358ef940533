"""Is the process alive, can it serve, and how are the accounts?

The first two are asked without a token, so neither says more than yes or no.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Literal, cast

from flask import Blueprint, Response, current_app

from mailsync import __version__
from mailsync.config import Settings
from mailsync.errors import MailsyncError, SchemaError
from mailsync.metrics import STATES
from mailsync.store import locks, metrics, schema, turns
from mailsync.store.pool import Pool
from mailsync.web.endpoint import endpoint
from mailsync.web.fields import Answer, Timestamp
from mailsync.web.problems import problem
from mailsync.web.services import services

log = logging.getLogger(__name__)

FRESH_FOR = 1.0
STALE_WORKER = 60.0
"""A worker beats every 15 s; after four beats missed it is taken for dead."""

routes = Blueprint("health", __name__, url_prefix="/health")


class Readiness:
    """The checks of ``/health/ready``: database, schema version, session locks.

    The self-test of the locks runs until it has passed once; the other checks are asked anew, but at most
    once in :data:`FRESH_FOR` seconds, since anybody may ask. What changed is logged once.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._lock = threading.Lock()
        self._locks_work = False
        self._failures: dict[str, str] = {}
        self._checked_at: float | None = None

    def failures(self) -> dict[str, str]:
        """Which checks fail, with the reason for the log; empty when all is well."""
        with self._lock:
            if self._checked_at is None or time.monotonic() - self._checked_at >= FRESH_FOR:
                before, self._failures = self._failures, self._check()
                if self._failures != before or self._checked_at is None:
                    self._tell()
                self._checked_at = time.monotonic()
            return self._failures

    def _check(self) -> dict[str, str]:
        try:
            with self._pool.connection() as conn:
                schema.check(conn)
        except SchemaError as error:
            return {"schema": str(error)}
        except MailsyncError as error:
            return {"database": str(error)}
        if not self._locks_work:
            try:
                locks.self_test(self._settings)
            except MailsyncError as error:
                return {"locks": str(error)}
            self._locks_work = True
        return {}

    def _tell(self) -> None:
        for name, reason in self._failures.items():
            log.error("Not ready: %s: %s", name, reason, extra={"action": "health"})
        if not self._failures:
            log.info("Ready to serve", extra={"action": "health"})


class Live(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(Answer):
    """Requests can be served."""

    status: Literal["ready"] = "ready"


class Lags(Answer):
    """Of the account that is furthest behind, paused ones left out; null where nothing was ever compared."""

    priority_seconds: float | None
    overall_seconds: float | None


class WorkerHealth(Answer):
    """A worker that did not end in order."""

    worker: str
    version: str
    started_at: Timestamp
    heartbeat_at: Timestamp
    heartbeat_age_seconds: float
    alive: bool


class Summary(Answer):
    """How the whole service is."""

    status: Literal["ok", "degraded"]
    reasons: list[str]
    accounts: dict[str, int]
    worst_lag: Lags
    workers: list[WorkerHealth]
    version: str = __version__


@routes.get("")
@endpoint(Summary)
def show_health() -> Summary:
    """How the accounts and the workers are.

    `status` is `degraded` while no worker is alive, or an account is broken or degraded; `reasons` says
    which. The status code is 200 all the same: whether this process can serve is told by `/health/ready`.
    """
    with services().reading() as conn:
        states = metrics.states(conn)
        found = turns.list_workers(conn)
    workers = [
        WorkerHealth(**worker, alive=worker["heartbeat_age_seconds"] <= STALE_WORKER) for worker in found
    ]
    reasons = [] if any(worker.alive for worker in workers) else ["no worker is alive"]
    reasons += [f"{each.accounts} {each.state}" for each in states if each.state in ("broken", "degraded")]
    counts = {each.state: each.accounts for each in states}
    return Summary(
        status="degraded" if reasons else "ok",
        reasons=reasons,
        accounts={"total": sum(counts.values()), **dict.fromkeys(STATES, 0), **counts},
        worst_lag=Lags(
            priority_seconds=max(
                (s.priority_lag for s in states if s.priority_lag is not None), default=None
            ),
            overall_seconds=max((s.overall_lag for s in states if s.overall_lag is not None), default=None),
        ),
        workers=workers,
    )


@routes.get("/live")
@endpoint(Live, is_open=True)
def show_live() -> Live:
    """Whether the process answers; nothing else is touched."""
    return Live()


@routes.get("/ready")
@endpoint(Ready, is_open=True, problems=(503,))
def show_ready() -> Ready | Response:
    """Whether requests can be served: database, schema, session locks.

    503 names the check that fails; the log of the service says why.
    """
    failing = sorted(cast(Readiness, current_app.extensions["mailsync.readiness"]).failures())
    if failing:
        detail = f"These checks fail: {', '.join(failing)}; the log of the service says why."
        return problem(503, "not_ready", detail, headers={"Retry-After": "5"}, checks=failing)
    return Ready()
