"""Health endpoints: is the process alive, can it serve requests, and how are accounts and workers?

The first two need no token, so they name only the failing checks, and reasons that reveal nothing.
"""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response
from pydantic import Field

from mailsync import __version__
from mailsync.core.advice import action_for
from mailsync.core.health import STALE_WORKER
from mailsync.ops.metrics import STATES
from mailsync.store import account_views, metrics, turns
from mailsync.store.db import Connection
from mailsync.web.http.endpoint import endpoint
from mailsync.web.http.problems import problem
from mailsync.web.readiness import in_public
from mailsync.web.resources import resources
from mailsync.web.schemas.account_fields import Masked
from mailsync.web.schemas.base import Answer, Timestamp

MAX_NAMED = 20
"""Most accounts that the summary lists."""

_UNHEALTHY: tuple[Literal["broken", "degraded"], ...] = ("broken", "degraded")

routes = Blueprint("health", __name__, url_prefix="/health")


class Live(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(Answer):
    """Requests can be served."""

    status: Literal["ready"] = "ready"


class Lags(Answer):
    """The lags of the account furthest behind, without paused ones; null if none was ever compared."""

    priority_seconds: float | None
    overall_seconds: float | None


class WorkerHealth(Answer):
    """A worker that is running, or that ended without signing off."""

    worker: str
    version: str
    started_at: Timestamp
    heartbeat_at: Timestamp
    heartbeat_age_seconds: float
    alive: bool


class UnhealthyAccount(Answer):
    """A broken or degraded account."""

    id: int
    email: str
    state: Literal["broken", "degraded"]
    reason: str | None
    message: Masked | None
    since: Timestamp
    action: str = Field(description="What to do about it, in one sentence.")


class Unhealthy(Answer):
    """All broken and degraded accounts."""

    total: int
    accounts: list[UnhealthyAccount] = Field(
        description=f"Up to {MAX_NAMED} of them, broken ones first; `GET /v1/accounts?state=` lists all."
    )


class Summary(Answer):
    """The state of the whole service."""

    status: Literal["ok", "degraded"]
    reasons: list[str]
    accounts: dict[str, int]
    unhealthy: Unhealthy
    worst_lag: Lags
    workers: list[WorkerHealth]
    version: str = __version__


@routes.get("")
@endpoint(Summary)
def show_health() -> Summary:
    """Summarize the state of all accounts and workers.

    `status` is `degraded` while no worker is alive, or an account is broken or degraded. `reasons` says why,
    and `unhealthy` lists the accounts and what to do. The status code is always 200: `/health/ready` is the
    check for load balancers.
    """
    with resources().reading() as conn:
        states = metrics.states(conn)
        rows = turns.list_workers(conn)
        listed = _unhealthy(conn)
    workers = [WorkerHealth(**row, alive=row["heartbeat_age_seconds"] <= STALE_WORKER) for row in rows]
    reasons = [] if any(worker.alive for worker in workers) else ["no worker is alive"]
    unhealthy = [state for state in states if state.state in _UNHEALTHY]
    reasons += [f"{state.accounts} {state.state}" for state in unhealthy]
    counts = {state.state: state.accounts for state in states}
    return Summary(
        status="degraded" if reasons else "ok",
        reasons=reasons,
        accounts={"total": sum(counts.values()), **dict.fromkeys(STATES, 0), **counts},
        unhealthy=Unhealthy(total=sum(state.accounts for state in unhealthy), accounts=listed),
        worst_lag=Lags(
            priority_seconds=max(
                (s.priority_lag for s in states if s.priority_lag is not None), default=None
            ),
            overall_seconds=max((s.overall_lag for s in states if s.overall_lag is not None), default=None),
        ),
        workers=workers,
    )


def _unhealthy(conn: Connection) -> list[UnhealthyAccount]:
    listed: list[UnhealthyAccount] = []
    for state in _UNHEALTHY:
        if len(listed) < MAX_NAMED:
            listed += [
                UnhealthyAccount(
                    id=account.id,
                    email=account.email,
                    state=state,
                    reason=account.sync_state_reason,
                    message=account.sync_state_message,
                    since=account.sync_state_since,
                    action=action_for(account.sync_state_reason, account.email, account.auth_method),
                )
                for account in account_views.page(conn, limit=MAX_NAMED - len(listed), state=state)
            ]
    return listed


@routes.get("/live")
@endpoint(Live, is_open=True)
def show_live() -> Live:
    """Check that the process answers; this uses no other resource."""
    return Live()


@routes.get("/ready")
@endpoint(Ready, is_open=True, problems=(503,))
def show_ready() -> Ready | Response:
    """Check that requests can be served: database, schema, session locks and writes.

    503 names the failing checks, with reasons that reveal nothing; the service's log says more.
    """
    failures = resources().readiness.failures()
    if failures:
        shown = ", ".join(in_public(name, failures[name]) for name in sorted(failures))
        detail = f"These checks fail: {shown}; the service's log says why."
        headers = {"Retry-After": "5"}
        return problem(503, "not_ready", detail, headers=headers, checks=sorted(failures))
    return Ready()
