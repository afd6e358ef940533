"""Is the process alive, can it serve, and how are the accounts?

The first two need no token, so they say no more than which check fails and, if it is harmless, why.
"""

from __future__ import annotations

from typing import Literal, cast

from flask import Blueprint, Response, current_app
from pydantic import Field

from mailsync import __version__
from mailsync.core.advice import action_for
from mailsync.ops.metrics import STATES
from mailsync.store import account_views, metrics, turns
from mailsync.store.db import Connection
from mailsync.web.http.endpoint import endpoint
from mailsync.web.http.problems import problem
from mailsync.web.readiness import Readiness, in_public
from mailsync.web.resources import services
from mailsync.web.schemas.accounts import Masked
from mailsync.web.schemas.base import Answer, Timestamp

MAX_NAMED = 20
"""How many accounts the summary names."""

STALE_WORKER = 60.0
"""A worker beats every 15 s; after four beats missed it is taken for dead."""

_UNHEALTHY: tuple[Literal["broken", "degraded"], ...] = ("broken", "degraded")

routes = Blueprint("health", __name__, url_prefix="/health")


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


class UnhealthyAccount(Answer):
    """An account that is broken or degraded, and the step that helps."""

    id: int
    email: str
    state: Literal["broken", "degraded"]
    reason: str | None
    message: Masked | None
    since: Timestamp
    action: str = Field(description="The step that helps, in one sentence.")


class Unhealthy(Answer):
    """The accounts that are broken or degraded."""

    total: int
    accounts: list[UnhealthyAccount] = Field(
        description=f"At most {MAX_NAMED} of them, broken ones first; `GET /v1/accounts?state=` lists all."
    )


class Summary(Answer):
    """How the whole service is."""

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
    """How the accounts and the workers are.

    `status` is `degraded` while no worker is alive, or an account is broken or degraded; `reasons` says why,
    and `unhealthy` names the accounts and what helps. The status code is 200 all the same: whether this
    process can serve is told by `/health/ready`.
    """
    with services().reading() as conn:
        states = metrics.states(conn)
        found = turns.list_workers(conn)
        named = _unhealthy(conn)
    workers = [
        WorkerHealth(**worker, alive=worker["heartbeat_age_seconds"] <= STALE_WORKER) for worker in found
    ]
    reasons = [] if any(worker.alive for worker in workers) else ["no worker is alive"]
    unhealthy = [each for each in states if each.state in _UNHEALTHY]
    reasons += [f"{each.accounts} {each.state}" for each in unhealthy]
    counts = {each.state: each.accounts for each in states}
    return Summary(
        status="degraded" if reasons else "ok",
        reasons=reasons,
        accounts={"total": sum(counts.values()), **dict.fromkeys(STATES, 0), **counts},
        unhealthy=Unhealthy(total=sum(each.accounts for each in unhealthy), accounts=named),
        worst_lag=Lags(
            priority_seconds=max(
                (s.priority_lag for s in states if s.priority_lag is not None), default=None
            ),
            overall_seconds=max((s.overall_lag for s in states if s.overall_lag is not None), default=None),
        ),
        workers=workers,
    )


def _unhealthy(conn: Connection) -> list[UnhealthyAccount]:
    named: list[UnhealthyAccount] = []
    for state in _UNHEALTHY:
        if len(named) < MAX_NAMED:
            named += [
                UnhealthyAccount(
                    id=account.id,
                    email=account.email,
                    state=state,
                    reason=account.sync_state_reason,
                    message=account.sync_state_message,
                    since=account.sync_state_since,
                    action=action_for(account.sync_state_reason, account.email),
                )
                for account in account_views.page(conn, limit=MAX_NAMED - len(named), state=state)
            ]
    return named


@routes.get("/live")
@endpoint(Live, is_open=True)
def show_live() -> Live:
    """Whether the process answers; nothing else is touched."""
    return Live()


@routes.get("/ready")
@endpoint(Ready, is_open=True, problems=(503,))
def show_ready() -> Ready | Response:
    """Whether requests can be served: database, schema, session locks, and that writes are taken.

    503 names the checks that fail, with the reason if that reveals nothing; the log of the service says more.
    """
    failing = cast(Readiness, current_app.extensions["mailsync.readiness"]).failures()
    if failing:
        shown = ", ".join(in_public(name, failing[name]) for name in sorted(failing))
        detail = f"These checks fail: {shown}; the log of the service says why."
        headers = {"Retry-After": "5"}
        return problem(503, "not_ready", detail, headers=headers, checks=sorted(failing))
    return Ready()
