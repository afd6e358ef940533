"""The answer to a request for a device code."""

from __future__ import annotations

from typing import Any

import pytest

from mailsync.auth.device import DeviceAuthorization, begin_device, read_device
from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.errors import ClientRejected, Transient

CORP = OAuthClient("corp", "client-1")
GOOD = {
    "device_code": "AH-1Ng3m8x",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://microsoft.com/devicelogin",
    "expires_in": 900,
    "interval": 5,
    "message": "To sign in, use a web browser",
}


def test_a_device_code_is_read() -> None:
    device = read_device(CORP, GOOD)
    assert device == DeviceAuthorization(
        "AH-1Ng3m8x", "WDJB-MJHT", "https://microsoft.com/devicelogin", 900.0, 5.0
    )
    assert "AH-1Ng3m8x" not in repr(device)


def test_google_has_its_own_name_for_the_address() -> None:
    document = {name: value for name, value in GOOD.items() if name != "verification_uri"}
    device = read_device(CORP, document | {"verification_url": "https://www.google.com/device"})
    assert device.verification_uri == "https://www.google.com/device"


@pytest.mark.parametrize(
    ("interval", "seconds"), [(None, 5.0), ("x", 5.0), (0, 1.0), (-3, 1.0), (7, 7.0), (1e9, 300.0)]
)
def test_the_interval_is_bounded(interval: object, seconds: float) -> None:
    assert read_device(CORP, GOOD | {"interval": interval}).interval == seconds


@pytest.mark.parametrize(
    "change",
    [
        {"device_code": None},
        {"device_code": "a b"},
        {"device_code": "a" * 10_000},
        {"user_code": ""},
        {"user_code": "A\x1b[2J"},
        {"user_code": "A" * 65},
        {"user_code": 1234},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "https://microsoft.com@evil.example/"},
        {"verification_uri": "https://microsoft.com/\x1b[2J"},
        {"verification_uri": None},
    ],
)
def test_other_answers_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Transient, match=r"^corp answers without a usable device code$"):
        read_device(CORP, GOOD | change)


def test_a_client_without_the_endpoint_is_refused() -> None:
    with pytest.raises(ClientRejected, match=r"^corp: set OAUTH_CORP_DEVICE_URL to authorize by a code$"):
        begin_device(CORP, Settings())
