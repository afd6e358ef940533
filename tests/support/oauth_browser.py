"""A user and a browser at an authorization server of the tests, by plain HTTP requests."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

from tests.support.patience import PATIENCE
from tests.support.raw_http import Response


class ConsentRefused(Exception):
    """The server showed an error page and sent the user nowhere."""


class Browser:
    """One user's browser; follows redirects only when it is told to. It trusts the authority of `ca_file`."""

    def __init__(self, ca_file: Path | None = None) -> None:
        self._context = ssl.create_default_context(cafile=ca_file)

    def request(self, url: str, form: dict[str, str] | None = None) -> Response:
        """Return the answer to GET, or to POST with a form."""
        parts = urlsplit(url)
        assert parts.hostname
        if parts.scheme == "https":
            client: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=PATIENCE, context=self._context
            )
        else:
            client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        body = None if form is None else urlencode(form)
        headers = {} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            client.request("GET" if body is None else "POST", target, body, headers)
            answer = client.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, named, answer.read())
        finally:
            client.close()

    def consent(self, authorize_url: str, user: str, *, deny: bool = False) -> str:
        """Sign in as `user` and allow (or deny) what is asked; returns the address that the user is sent to.

        The address is not opened. Raises ConsentRefused if the server shows an error instead.
        """
        page = self.request(authorize_url)
        if page.status == 200:
            page = self.request(authorize_url, {"user": user, "decision": "deny" if deny else "allow"})
        if page.status not in (302, 303):
            raise ConsentRefused(f"{page.status} {page.body.decode(errors='replace')[:500]}")
        return urljoin(authorize_url, page.headers["location"])

    def consent_and_return(self, authorize_url: str, user: str, *, deny: bool = False) -> Response:
        """Consent, and open the address that the user is sent to."""
        return self.request(self.consent(authorize_url, user, deny=deny))

    def enter_code(self, verification_uri: str, user_code: str, user: str, *, deny: bool = False) -> None:
        """Enter the code that a device shows, sign in as `user`, and allow (or deny) what is asked."""
        decision = "deny" if deny else "allow"
        page = self.request(verification_uri, {"user_code": user_code, "user": user, "decision": decision})
        if page.status != 200:
            raise ConsentRefused(f"{page.status} {page.body.decode(errors='replace')[:500]}")
