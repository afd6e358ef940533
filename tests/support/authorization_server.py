"""An authorization server on loopback: OAuth2 and OpenID Connect by Authlib, with errors on demand.

::

    client = authorization_server.add_client()
    url = …                                                 # mailsync's authorize URL
    address = Browser().consent(url, "ann@example.test")    # the redirect with code and state
    authorization_server.terms.seconds = 3                  # access tokens end soon
    authorization_server.fail_next("token", 429, headers={"Retry-After": "30"})
    authorization_server.revoke("ann@example.test")

The endpoints are ``authorize``, ``token``, ``device_authorization``, ``device`` (the page for the user) and
``introspect``. ``journal`` has all requests. Every token and secret is registered with ``planted``.
"""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749.util import extract_basic_authorization
from flask import Flask, Response, request
from pydantic import SecretStr

from mailsync.config.oauth import OAuthClient
from tests.support.certificates import Certificate
from tests.support.oauth_faults import Fault, Faults, Hold
from tests.support.oauth_grants import DEVICE_GRANT, Grants, Terms
from tests.support.oauth_journal import OAuthJournal, OAuthRequest
from tests.support.oauth_tokens import Client, TokenStore, new_secret
from tests.support.wsgi_thread import ServedApplication

SCOPE = "mail openid email offline_access"
GRANTS = frozenset({"authorization_code", "refresh_token", "client_credentials", DEVICE_GRANT})
REDIRECTS = ("http://127.0.0.1/", "http://127.0.0.1/oauth/callback", "http://localhost/")


@dataclass(frozen=True)
class RegisteredClient:
    """A client as mailsync configures it: in ``environment``, or as ``OAuthClient`` for functions."""

    client: OAuthClient = field(repr=False)

    def environment(self) -> dict[str, str]:
        """Return the variables that configure the client."""
        client, name = self.client, self.client.variable
        values = {
            "CLIENT_ID": client.client_id,
            "CLIENT_SECRET": client.secret and client.secret.get_secret_value(),
            "AUTHORIZE_URL": client.authorize_url,
            "TOKEN_URL": client.token_url,
            "DEVICE_URL": client.device_url,
            "SCOPE": client.scope,
            "MECHANISM": client.mechanism,
            "IMAP_HOST": client.imap_host,
        }
        return {f"{name}_{suffix}": value for suffix, value in values.items() if value}


@dataclass(frozen=True)
class IssuedTokens:
    """Tokens that a product with a consent screen of its own has."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


class AuthorizationServer:
    """The server, over HTTPS with a `certificate`, else HTTP. ``terms`` says what it grants."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self.journal, self.faults = OAuthJournal(), Faults()
        self.store, self.terms = TokenStore(), Terms()
        app = Flask("authorization_server")
        self._served = ServedApplication(_beneath_tls(app), certificate)
        self.host, self.port, self.url = self._served.host, self._served.port, self._served.url
        self._grants = Grants(app, self.store, self.terms, self.url)
        views: dict[str, Callable[[], Any]] = {
            "authorize": self._authorize,
            "token": self._grants.authlib.create_token_response,
            "device_authorization": self._begin_device,
            "device": self._decide_device,
            "introspect": lambda: self.introspect(request.form["token"]),
        }
        for name, view in views.items():
            app.add_url_rule(
                f"/{name}",
                name,
                self._answering(name, view),
                methods=["GET", "POST"] if name == "authorize" else ["POST"],
            )

    def stop(self) -> None:
        """End the server and every request."""
        self.faults.stop()
        self._served.stop()

    # -- what tests prepare ----------------------------------------------------------------------------

    def add_client(
        self,
        name: str = "own",
        *,
        public: bool = False,
        redirects: Iterable[str] = REDIRECTS,
        grants: Iterable[str] = GRANTS,
        device: bool = True,
        mailbox: str | None = None,
        **fields: Any,
    ) -> RegisteredClient:
        """Register a client; `mailbox` is whose tokens its client credentials give.

        `name` is the provider's; `device` tells whether mailsync knows the device endpoint, and `fields` are
        other ones of OAuthClient, such as ``imap_host``.
        """
        secret = None if public else new_secret()
        client_id = f"client-{len(self.store.clients) + 1}-of-{self.port}"
        client = Client(client_id, secret, tuple(redirects), frozenset(grants), mailbox)
        self.store.clients[client_id] = client
        known = {
            "secret": SecretStr(secret) if secret else None,
            "authorize_url": f"{self.url}/authorize",
            "token_url": f"{self.url}/token",
            "device_url": f"{self.url}/device_authorization" if device else None,
            "scope": SCOPE,
        }
        return RegisteredClient(OAuthClient(name, client_id, **(known | fields)))

    def issue(self, client: RegisteredClient, user: str) -> IssuedTokens:
        """Return tokens of `user` as after a consent."""
        with self.store.lock:
            known = self.store.clients[client.client.client_id]
            return IssuedTokens(**self._grants.issue(known, user, client.client.scope))

    def revoke(self, user: str) -> None:
        """Revoke every token of a user, as the user does on the provider's page."""
        with self.store.lock:
            for family in self.store.families:
                if family.user == user:
                    self.store.revoke(family)
            self.expire_access_tokens(user)

    def expire_access_tokens(self, user: str) -> None:
        """End a user's access tokens before their time; refresh tokens stay."""
        with self.store.lock:
            for access in self.store.access.values():
                access.revoked |= access.user == user

    def expire_codes(self) -> None:
        """End all authorization codes and device codes that were not used."""
        with self.store.lock:
            for code in (*self.store.codes.values(), *self.store.devices.values()):
                code.expires_at = time.time()

    def fail_next(
        self,
        endpoint: str,
        status: int = 500,
        body: object = None,
        *,
        error: str | None = None,
        headers: Mapping[str, str] | None = None,
        silent: bool = False,
        dripping: bool = False,
        times: int | None = 1,
    ) -> None:
        """Answer the next requests wrongly; None as `times` means until ``recover``.

        `body` is text for an HTML page, or a value for JSON; `error` is the code of an answer of RFC 6749
        §5.2. `silent` answers nothing, `dripping` sends the body byte by byte without end.
        """
        if error:
            body = {"error": error} | (body if isinstance(body, dict) else {})
        self.faults.fail(endpoint, Fault(status, body, headers or {}, silent, dripping), times)

    def recover(self, endpoint: str = "token") -> None:
        """Answer correctly again."""
        self.faults.recover(endpoint)

    def change_next(self, endpoint: str = "token", **fields: Any) -> None:
        """Change fields of the next answer that is granted; None leaves one out: ``expires_in=None``."""
        self.faults.change(endpoint, fields)

    def hold_next(self, endpoint: str = "token", *, answered: bool = False) -> Hold:
        """Hold the next request: before it is processed, or (`answered`) when only its answer is not sent."""
        return self.faults.hold(endpoint, answered)

    def introspect(self, token: str) -> dict[str, Any]:
        """Return what RFC 7662 tells of an access token; counts as its use."""
        with self.store.lock:
            access = self.store.use_access(token)
        if access is None:
            return {"active": False}
        return {"active": True, "username": access.user, "exp": int(access.expires_at) + 1}

    # -- HTTP ------------------------------------------------------------------------------------------

    def _answering(self, endpoint: str, view: Callable[[], Any]) -> Callable[[], Response]:
        def answer() -> Response:
            parameters = request.values.to_dict()
            headers = {name.lower(): value for name, value in request.headers}
            basic = extract_basic_authorization(request.headers)[0]
            record = self.journal.begin(OAuthRequest(endpoint, parameters, headers))
            record.grant, record.client_id = (
                parameters.get("grant_type"),
                parameters.get("client_id") or basic,
            )
            fault, hold, change = self.faults.next(endpoint)
            if hold and not hold.answered:
                hold.stop_here()
            response = self._wrong(fault) if fault else self._right(view, change)
            record.status = response.status_code
            document = response.get_json() if response.is_json and not response.is_streamed else None
            record.error = document.get("error") if isinstance(document, dict) else None
            if hold and hold.answered:
                hold.stop_here()
            return response

        return answer

    def _wrong(self, fault: Fault) -> Response:
        if fault.silent:
            self.faults.be_silent()
        content, media_type = fault.content()
        body = self.faults.drip(content) if fault.dripping else content
        return Response(body, fault.status, dict(fault.headers), content_type=media_type)

    def _right(self, view: Callable[[], Any], change: dict[str, Any]) -> Response:
        with self.store.lock:
            try:
                answer = view()
            except OAuth2Error as error:
                answer = Response(f"<h1>{error.error}</h1>{html.escape(error.description or '')}", 400)
        if isinstance(answer, dict):
            answer = Response(json.dumps(answer), content_type="application/json")
        if change and answer.status_code == 200:
            fields = {
                name: value for name, value in (answer.get_json() | change).items() if value is not None
            }
            answer.set_data(json.dumps(fields))
        return answer

    # -- pages -----------------------------------------------------------------------------------------

    def _authorize(self) -> Response:
        """Show the page of consent, or process the user's decision."""
        authlib = self._grants.authlib
        user = request.form["user"] if request.form.get("decision") == "allow" else None
        try:
            grant = authlib.get_consent_grant(end_user=user)
        except OAuth2Error as error:
            if not error.redirect_uri:
                raise
            return authlib.handle_error_response(None, error)
        if request.method == "GET":
            return Response('<form method="post"><input name="user"><button>Allow</button></form>')
        return authlib.create_authorization_response(grant.request, user, grant)

    def _begin_device(self) -> Response:
        return self._grants.authlib.create_endpoint_response("device_authorization")

    def _decide_device(self) -> Response:
        for device in self.store.devices.values():
            if device.user_code == request.form["user_code"] and not device.is_expired():
                device.denied = request.form["decision"] != "allow"
                device.user = request.form["user"]
                return Response("You may close this page.")
        return Response("No device shows this code.", 404)


def _beneath_tls(app: Flask) -> Callable[[dict[str, Any], Any], Any]:
    """Return the application as if a proxy in front of it had ended TLS, which Authlib demands."""

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        return app(environ | {"wsgi.url_scheme": "https"}, start_response)

    return call
