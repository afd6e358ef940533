"""Let a person authorize on another device, by a short code (RFC 8628)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oauthlib.oauth2 import DeviceClient

from mailsync.auth.token_endpoint import (
    Document,
    Tokens,
    ask,
    client_secret,
    read_seconds,
    read_tokens,
    token_form,
    with_refresh_token,
)
from mailsync.config.oauth import is_endpoint_url
from mailsync.errors import ClientRejected, Transient

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.config.oauth import OAuthClient

_PENDING, _SLOW_DOWN = "authorization_pending", "slow_down"
_SLOWER_BY = 5.0
_DEFAULT_INTERVAL = 5.0
_DEFAULT_LIFE = 900.0
_DEVICE_CODE = re.compile(r"[\x21-\x7e]{1,8192}")
_USER_CODE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?")


@dataclass(slots=True)
class DeviceAuthorization:
    """A code that waits for a person (RFC 8628 §3.2).

    They enter ``user_code`` at ``verification_uri`` within ``expires_in`` seconds. ``interval`` is how many
    seconds to wait between two polls; a poll that came too early raises it.
    """

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    expires_in: float
    interval: float


def begin_device(
    client: OAuthClient, settings: Settings, *, on_wait: Callable[[], None] = lambda: None
) -> DeviceAuthorization:
    """Ask for a device code (RFC 8628 §3.1). Raises ClientRejected, Throttled and Transient."""
    if client.device_url is None:
        raise ClientRejected(f"{client.name}: set {client.variable}_DEVICE_URL to authorize by a code")
    form = {"client_id": client.client_id, "scope": client.scope, **client_secret(client)}
    form = {name: value for name, value in form.items() if value}
    return read_device(client, ask(client, client.device_url, form, settings, on_wait))


def read_device(client: OAuthClient, document: Document) -> DeviceAuthorization:
    """Return what a device authorization response says (RFC 8628 §3.2); raises Transient if it is no such."""
    # Google wrote its own name before the RFC
    address = document.get("verification_uri", document.get("verification_url"))
    device_code, user_code = document.get("device_code"), document.get("user_code")
    if (
        not isinstance(device_code, str)
        or not isinstance(user_code, str)
        or not isinstance(address, str)
        or not _DEVICE_CODE.fullmatch(device_code)
        or not _USER_CODE.fullmatch(user_code)
        or not is_endpoint_url(address)
    ):
        raise Transient(f"{client.name} answers without a usable device code")
    return DeviceAuthorization(
        device_code,
        user_code,
        address,
        read_seconds(document.get("expires_in"), _DEFAULT_LIFE),
        _interval(document.get("interval")),
    )


def poll_device(
    client: OAuthClient,
    device: DeviceAuthorization,
    settings: Settings,
    *,
    on_wait: Callable[[], None] = lambda: None,
) -> Tokens | None:
    """Ask once whether the person has authorized the client; None if not yet (RFC 8628 §3.4, §3.5).

    Raises GrantRejected if they refused or let the code expire, and what ``ask`` raises.
    """
    form = token_form(client, DeviceClient.grant_type, {"device_code": device.device_code})
    document = ask(client, client.token_url, form, settings, on_wait, expected=(_PENDING, _SLOW_DOWN))
    error = document.get("error")
    if error == _SLOW_DOWN:
        device.interval += _SLOWER_BY
    if error in (_PENDING, _SLOW_DOWN):
        return None
    return with_refresh_token(client, read_tokens(client, document))


def _interval(value: object) -> float:
    return min(max(read_seconds(value, _DEFAULT_INTERVAL), 1.0), 300.0)
