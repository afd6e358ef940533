"""Have a person authorize an OAuth2 client: by a code on any device, or in a browser (SPEC §23.4)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from mailsync.auth.grants import (
    DeviceAuthorization,
    Tokens,
    authorize_url,
    begin_device,
    exchange_code,
    new_state,
    new_verifier,
    poll_device,
    read_redirection,
)
from mailsync.cli.common import note
from mailsync.cli.loopback import ADDRESS, Loopback
from mailsync.cli.terminal import span
from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.errors import ClientRejected, GrantRejected, InvalidInput, Throttled, Transient
from mailsync.redaction import kept_secret

LONGEST_WAIT = 600.0
"""Seconds that a browser is waited for."""

_SLOWEST_POLL = 60.0
_MOST_PASTES = 3


def authorize(client: OAuthClient, mailbox: str, settings: Settings, *, paste: bool = False) -> Tokens:
    """Return the tokens that a person grants; what to do is printed on stderr, in up to 15 min.

    With `paste` the person copies the address that their browser was sent to, on whatever machine it runs.
    Raises GrantRejected, ClientRejected, Throttled and Transient, and InvalidInput for a pasted address that
    is no answer.
    """
    if client.device_url and not (paste and client.authorize_url):
        return _by_device(client, mailbox, settings)
    return _by_paste(client, mailbox, settings) if paste else _by_loopback(client, mailbox, settings)


def _by_device(client: OAuthClient, mailbox: str, settings: Settings) -> Tokens:
    device = begin_device(client, settings)
    with kept_secret(device.device_code):
        note(f"To sign in as {mailbox}, open {device.verification_uri} on any device and enter this code:")
        note(f"\n    {device.user_code}\n")
        note(f"Waiting for up to {span(device.expires_in)}; Ctrl-C ends it, and nothing is stored.")
        return wait_for_device(client, device, settings, time.sleep)


def wait_for_device(
    client: OAuthClient,
    device: DeviceAuthorization,
    settings: Settings,
    sleep: Callable[[float], object],
    clock: Callable[[], float] = time.monotonic,
) -> Tokens:
    """Poll until the person has decided (RFC 8628 §3.5). Raises GrantRejected when the code has expired.

    A server that cannot answer is asked again, less and less often.
    """
    end = clock() + device.expires_in
    pause = device.interval
    while (left := end - clock()) > 0:
        sleep(min(max(pause, device.interval), left))
        try:
            tokens = poll_device(client, device, settings)
        except ClientRejected:
            raise
        except (Transient, Throttled) as error:
            pause = min(
                max(2 * pause, error.retry_after or 0.0), max(_SLOWEST_POLL, error.retry_after or 0.0)
            )
            continue
        if tokens is not None:
            return tokens
        pause = device.interval
    raise GrantRejected(
        f"nobody entered the code {device.user_code} within {span(device.expires_in)}; run the command again"
    )


def _by_loopback(client: OAuthClient, mailbox: str, settings: Settings) -> Tokens:
    state, verifier = new_state(), new_verifier()
    with Loopback(lambda address: read_redirection(client, address, state)) as loopback:
        redirect_uri = _redirect_uri(client, f":{loopback.port}")
        url = authorize_url(client, redirect_uri, state, verifier, login_hint=mailbox)
        note(f"To sign in as {mailbox}, open this address in a browser on this machine:\n\n{url}\n")
        note(
            f"Waiting for up to {span(LONGEST_WAIT)}; Ctrl-C ends it, and nothing is stored."
            " Is the browser on another machine? Run it again with --paste."
        )
        code = loopback.wait(LONGEST_WAIT)
    if code is None:
        raise GrantRejected(f"no browser came back within {span(LONGEST_WAIT)}; run the command again")
    with kept_secret(code):
        return exchange_code(client, code, verifier, redirect_uri, settings)


def _by_paste(client: OAuthClient, mailbox: str, settings: Settings) -> Tokens:
    state, verifier = new_state(), new_verifier()
    # nothing listens there: only the address itself matters
    redirect_uri = _redirect_uri(client)
    url = authorize_url(client, redirect_uri, state, verifier, login_hint=mailbox)
    note(f"To sign in as {mailbox}, open this address in any browser:\n\n{url}\n")
    note(
        f"Afterwards the browser shows an error, because nothing answers at {redirect_uri}. Copy the whole"
        " address from its address bar, and paste it here."
    )
    code = _pasted_code(client, state)
    with kept_secret(code):
        return exchange_code(client, code, verifier, redirect_uri, settings)


def _pasted_code(client: OAuthClient, state: str) -> str:
    """The code in the address that a person pastes; on a terminal they may try again."""
    for attempt in range(_MOST_PASTES):
        try:
            return read_redirection(client, _ask_for_address(), state)
        except InvalidInput as error:
            if not sys.stdin.isatty() or attempt == _MOST_PASTES - 1:
                raise
            note(f"✗ {error}")
    raise AssertionError


def _ask_for_address() -> str:
    if sys.stdin.isatty():
        address: str = click.prompt("Address", err=True)
        return address
    line = sys.stdin.readline()
    if not line.strip():
        raise InvalidInput("--paste: expected the address on standard input")
    return line


def _redirect_uri(client: OAuthClient, port: str = "") -> str:
    # Microsoft accepts any port only for this name, and compares the path
    return f"http://localhost{port}" if client.name == "microsoft" else f"http://{ADDRESS}{port}/"
