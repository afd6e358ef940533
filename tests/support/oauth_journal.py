"""The requests that an authorization server received, and how it answered. No secret is in a repr."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field


@dataclass
class OAuthRequest:
    """One request. ``status`` is 0 while it is answered, ``error`` the code of RFC 6749 §5.2.

    ``parameters`` are those of query and form, ``headers`` have lower-case names; both hold secrets.
    """

    endpoint: str
    parameters: dict[str, str] = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    grant: str | None = None
    client_id: str | None = None
    status: int = 0
    error: str | None = None
    at: float = field(default_factory=time.time)


class OAuthJournal:
    """All requests of a server, in order of arrival."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[OAuthRequest] = []

    def begin(self, request: OAuthRequest) -> OAuthRequest:
        """Record a request that has arrived."""
        with self._lock:
            self._requests.append(request)
        return request

    def requests(self, endpoint: str | None = None, grant: str | None = None) -> list[OAuthRequest]:
        """Return the requests so far, only those to an endpoint (``"token"``) or with a grant if given."""
        with self._lock:
            return [
                request
                for request in self._requests
                if endpoint in (None, request.endpoint) and grant in (None, request.grant)
            ]

    def renewals(self) -> list[OAuthRequest]:
        """Return the requests with a refresh token that were granted."""
        return [request for request in self.requests("token", "refresh_token") if request.status == 200]

    def clear(self) -> None:
        """Forget what came so far."""
        with self._lock:
            self._requests.clear()
