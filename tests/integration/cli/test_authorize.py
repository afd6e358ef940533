"""Waiting for a person who authorizes by a device code, against a real authorization server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailsync.auth.grants import begin_device
from mailsync.cli.authorize import wait_for_device
from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.errors import ClientRejected, GrantRejected
from tests.support.authorization_server import AuthorizationServer
from tests.support.oauth_browser import Browser

USER = "ann@example.test"
SETTINGS = Settings(imap_allow_private_hosts=True)


class Clock:
    """A clock that only sleeping moves; `after` maps the number of a pause to what happens after it."""

    def __init__(self, after: dict[int, Callable[[], object]] | None = None) -> None:
        self.pauses: list[float] = []
        self._after = after or {}

    def __call__(self) -> float:
        return sum(self.pauses)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._after.get(len(self.pauses), lambda: None)()


@pytest.fixture
def client(authorization_server: AuthorizationServer) -> OAuthClient:
    # the clock of the tests does not move the server's
    authorization_server.terms.device_interval = 0
    return authorization_server.add_client().client


def test_the_person_is_waited_for(client: OAuthClient) -> None:
    device = begin_device(client, SETTINGS)
    clock = Clock({3: lambda: Browser().enter_code(device.verification_uri, device.user_code, USER)})
    consent = wait_for_device(client, device, SETTINGS, clock.sleep, clock)
    assert consent.names == (USER,)
    assert consent.tokens.refresh_token
    assert clock.pauses == [1.0, 1.0, 1.0]


def test_a_server_in_trouble_is_asked_less_often(
    authorization_server: AuthorizationServer, client: OAuthClient
) -> None:
    device = begin_device(client, SETTINGS)
    authorization_server.fail_next("token", 503, times=7)
    authorization_server.fail_next("token", 429, headers={"Retry-After": "90"})
    authorization_server.fail_next("token", 400, error="slow_down")
    clock = Clock({10: lambda: Browser().enter_code(device.verification_uri, device.user_code, USER)})
    wait_for_device(client, device, SETTINGS, clock.sleep, clock)
    assert clock.pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 90.0, 6.0]


def test_a_refusal_ends_the_wait(client: OAuthClient) -> None:
    device = begin_device(client, SETTINGS)
    Browser().enter_code(device.verification_uri, device.user_code, USER, deny=True)
    clock = Clock()
    with pytest.raises(GrantRejected, match="access_denied"):
        wait_for_device(client, device, SETTINGS, clock.sleep, clock)
    assert len(clock.pauses) == 1


def test_a_client_that_may_not_ends_the_wait(
    authorization_server: AuthorizationServer, client: OAuthClient
) -> None:
    device = begin_device(client, SETTINGS)
    authorization_server.fail_next("token", 400, error="unauthorized_client")
    clock = Clock()
    with pytest.raises(ClientRejected, match="OAUTH_OWN_CLIENT_ID"):
        wait_for_device(client, device, SETTINGS, clock.sleep, clock)


def test_a_code_that_nobody_enters_ends_the_wait(client: OAuthClient) -> None:
    device = begin_device(client, SETTINGS)
    device.expires_in = 2.5
    clock = Clock()
    with pytest.raises(GrantRejected, match=f"^nobody entered the code {device.user_code} within "):
        wait_for_device(client, device, SETTINGS, clock.sleep, clock)
    assert clock.pauses == [1.0, 1.0, 0.5]
