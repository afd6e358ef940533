"""Dovecot that accepts access tokens, after it asked an introspection endpoint of the tests (RFC 7662)."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterable
from itertools import count
from typing import Any
from urllib.parse import parse_qs

from tests.support import run_directory
from tests.support.authorization_server import AuthorizationServer
from tests.support.dovecot import Dovecot
from tests.support.wsgi_thread import ServedApplication

MECHANISMS = "plain login xoauth2 oauthbearer"
_numbers = count(1)

_PASSDB = """
auth_mechanisms = {mechanisms}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {file}
}}
"""
_OAUTH2 = """
introspection_mode = post
introspection_url = {url}/introspect
username_attribute = username
username_format = %u
active_attribute = active
active_value = true
tls_ca_cert_file =
"""


class OAuthDovecot(Dovecot):
    """Accepts passwords, and tokens of the servers that it trusts if their user is the login name.

    Each test has authorization servers of its own, and calls ``trust`` for those that this server should ask.
    """

    def __init__(self, *, mechanisms: str = MECHANISMS, settings: str = "", **options: Any) -> None:
        """Start an instance that announces `mechanisms`; `options` are those of Dovecot."""
        self._trusted: weakref.WeakSet[AuthorizationServer] = weakref.WeakSet()
        self._introspection = ServedApplication(self._introspect)
        file = run_directory.current() / f"dovecot-oauth2-{os.getpid()}-{next(_numbers)}.conf"
        file.write_text(_OAUTH2.format(url=self._introspection.url))
        super().__init__(settings=settings + _PASSDB.format(mechanisms=mechanisms, file=file), **options)

    def trust(self, server: AuthorizationServer) -> None:
        """Accept the tokens of an authorization server."""
        self._trusted.add(server)

    def _introspect(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        form = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        token = parse_qs(form.decode())["token"][0]
        answers = [server.introspect(token) for server in list(self._trusted)]
        active = next((answer for answer in answers if answer["active"]), {"active": False})
        body = json.dumps(active).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def close(self) -> None:
        """Kill Dovecot and end its introspection endpoint."""
        self.kill()
        self._introspection.stop()
