"""Is the process alive, and can it serve? Both without a token, so neither says more than yes or no."""

from __future__ import annotations

import logging
import threading
import time

from flask import Blueprint, Response, jsonify

from mailsync.config import Settings
from mailsync.errors import MailsyncError, SchemaError
from mailsync.store import locks, schema
from mailsync.store.pool import Pool
from mailsync.web.problems import problem

log = logging.getLogger(__name__)

FRESH_FOR = 1.0


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


def blueprint(readiness: Readiness) -> Blueprint:
    """``GET /health/live`` and ``GET /health/ready``."""
    routes = Blueprint("health", __name__, url_prefix="/health")

    @routes.get("/live")
    def live() -> Response:
        """The process answers; nothing else is touched."""
        return jsonify(status="ok")

    @routes.get("/ready")
    def ready() -> Response:
        """Requests can be served: 200, or 503 naming the check that fails."""
        failing = sorted(readiness.failures())
        if failing:
            detail = f"These checks fail: {', '.join(failing)}; the log of the service says why."
            return problem(503, "not_ready", detail, headers={"Retry-After": "5"}, checks=failing)
        return jsonify(status="ready")

    return routes
