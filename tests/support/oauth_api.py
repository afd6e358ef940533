"""The API as a product with accounts by consent uses it, and the browser of the person who consents."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.support import planted, run_directory
from tests.support.account_client import Client
from tests.support.api import StartApi
from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.certificates import Authority
from tests.support.dns_server import DnsServer
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.oauth_browser import Browser
from tests.support.programs import ROOT
from tests.support.raw_http import Response

PRODUCT = "https://app.example.com/connected"
PROVIDER = "corp"
HOST = "imap.example.test"
AUTHORIZATIONS = "/v1/oauth/authorizations"
STORED = """
    select (select count(*) from accounts), (select count(*) from account_credentials),
           (select count(*) from sync_events)
"""


class Product(Client):
    """A product's server, which has an API of its own; ``server`` is the provider of its users.

    ``variables`` are those of the API, for commands on the same database.
    """

    def __init__(
        self,
        start_api: StartApi,
        server: AuthorizationServer,
        dovecot: OAuthDovecot,
        registered: RegisteredClient,
        **variables: str | None,
    ) -> None:
        port = str(run_directory.free_port())
        own = {
            "PORT": port,
            "LOG_LEVEL": "DEBUG",
            "OAUTH_CALLBACK_URL": f"http://127.0.0.1:{port}/oauth/callback",
            "OAUTH_RETURN_URLS": f"{PRODUCT},http://localhost:5173/",
            **registered.environment(),
        }
        self.variables = own | variables
        super().__init__(start_api(**self.variables))
        self.server, self.dovecot, self.registered, self.browser = server, dovecot, registered, Browser()

    @property
    def where(self) -> dict[str, Any]:
        """The fields that name the mail server, in plaintext."""
        return {
            "imap_host": self.dovecot.host,
            "imap_port": self.dovecot.port,
            "imap_security": "plaintext",
        }

    def tokens(self, user: str, **fields: Any) -> dict[str, Any]:
        """The field ``oauth`` with a refresh token of `user`."""
        refresh_token = self.server.issue(self.registered, user).refresh_token
        return {"provider": PROVIDER, "refresh_token": refresh_token} | fields

    def add_by_tokens(self, user: User, **changes: Any) -> int:
        """Add an account by a refresh token that the product has; returns its id."""
        body = {"email": user.name, "oauth": self.tokens(user.name), **self.where} | changes
        return int(self.done(201, "POST", "/v1/accounts", body)["id"])

    def begin(self, **body: Any) -> dict[str, Any]:
        """Begin an authorization; returns ``id``, ``authorize_url`` and ``expires_at``."""
        begun: dict[str, Any] = self.done(201, "POST", AUTHORIZATIONS, {"provider": PROVIDER} | body)
        planted.keep(state_of(begun))
        return begun

    def consent(self, begun: dict[str, Any], user: str, *, deny: bool = False) -> Response:
        """Consent as `user`, and follow the redirect to the API, which answers."""
        return self.browser.consent_and_return(begun["authorize_url"], user, deny=deny)

    def outcome(self, begun: dict[str, Any]) -> dict[str, Any]:
        """Return how an authorization went."""
        shown: dict[str, Any] = self.done(200, "GET", f"{AUTHORIZATIONS}/{begun['id']}")
        return shown

    def exchanges(self) -> int:
        """How many codes were sent to the provider."""
        return len(self.server.journal.requests("token", "authorization_code"))


def state_of(begun: dict[str, Any]) -> str:
    """The state in the address that a browser opens."""
    return parse_qs(urlsplit(begun["authorize_url"]).query)["state"][0]


def with_query(address: str, old: str, new: str) -> str:
    """The address with a part of its query replaced, which must be there."""
    assert old in address
    return address.replace(old, new)


def assert_plain(answer: Response, status: int, *texts: str) -> None:
    """A page for people: no script, nothing loaded, and its address is passed on to nobody."""
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    text = answer.body.decode()
    assert "<script" not in text
    assert not planted.found_in(f"{answer.headers}{text}")
    for wanted in texts:
        assert wanted in text


def returned(answer: Response) -> dict[str, list[str]]:
    """The parameters with which the browser is sent to the product."""
    assert answer.status == 303
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["location"].startswith(PRODUCT)
    assert answer.body == b""
    assert not planted.found_in(str(answer.headers))
    return parse_qs(urlsplit(answer.headers["location"]).query)


def assert_nothing_stored(database: psycopg.Connection[Any]) -> None:
    """No account, no credential and no event."""
    assert database.execute(STORED).fetchone() == (0, 0, 0)


@pytest.fixture
def start_product(
    start_api: StartApi, authorization_server: AuthorizationServer, oauth_dovecot: OAuthDovecot
) -> Callable[..., Product]:
    """Start an API with a client at the provider; arguments are further variables."""

    def start(**variables: str | None) -> Product:
        registered = authorization_server.add_client(PROVIDER)
        return Product(start_api, authorization_server, oauth_dovecot, registered, **variables)

    return start


@pytest.fixture
def product(start_product: Callable[..., Product]) -> Iterator[Product]:
    """A product; every request that adds an account names the mail server."""
    with _running(start_product(BODY_LOCK_WAIT="1s")) as running:
        yield running


@pytest.fixture
def finding_product(
    start_api: StartApi,
    authorization_server: AuthorizationServer,
    oauth_dovecot_with: Callable[..., OAuthDovecot],
    authority: Authority,
    dns_server: DnsServer,
) -> Iterator[Product]:
    """A product whose API finds the mail server of example.test by DNS, which a consent needs."""
    dovecot = oauth_dovecot_with(certificate=authority.named(HOST))
    dovecot.trust(authorization_server)
    dns_server.add("_imaps._tcp.example.test", "SRV", f"0 0 {dovecot.tls_port} {HOST}.")
    dns_server.add(HOST, "A", "127.0.0.1")
    variables = {
        "DNS_SERVERS": dns_server.address,
        "IMAP_CA_FILE": str(authority.ca_file),
        # the system's resolver does not know the host
        "PYTHONPATH": f"{ROOT / 'tests' / 'support' / 'local_names'}{os.pathsep}{ROOT}",
    }
    registered = authorization_server.add_client(PROVIDER)
    with _running(Product(start_api, authorization_server, dovecot, registered, **variables)) as running:
        yield running


@contextmanager
def _running(product: Product) -> Iterator[Product]:
    yield product
    product.api.process.terminate()
    assert product.api.process.wait() == 0
