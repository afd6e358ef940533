"""Have a person authorize an OAuth2 client: by a code on any device, or in a browser (SPEC §23.4)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from mailsync.accounts.consent import Consent, by_client_credentials, consent_of
from mailsync.auth.grants import (
    DeviceAuthorization,
    authorize_url,
    begin_device,
    exchange_code,
    new_state,
    new_verifier,
    poll_device,
    read_redirection,
)
from mailsync.cli.common import F, interruptible, note
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


def oauth_option(command: F) -> F:
    """``--oauth [PROVIDER]``; the text is empty without PROVIDER."""
    return click.option(
        "--oauth",
        metavar="[PROVIDER]",
        is_flag=False,
        flag_value="",
        help="Sign in by OAuth2 in place of a password.",
    )(command)


def consent_options(command: F) -> F:
    """``--paste`` and ``--client-credentials``."""
    for option, text in (
        ("--client-credentials", "Sign in as the client itself, without a person."),
        ("--paste", "Paste the address that your browser was sent to."),
    ):
        command = click.option(option, is_flag=True, help=f"With --oauth: {text[0].lower()}{text[1:]}")(
            command
        )
    return command


def check_consent_options(is_oauth: bool, paste: bool, client_credentials: bool) -> None:
    """Raise InvalidInput for options that do not go together."""
    if not is_oauth and (paste or client_credentials):
        raise InvalidInput(f"{'--paste' if paste else '--client-credentials'}: add --oauth")
    if paste and client_credentials:
        raise InvalidInput("--client-credentials needs no person: leave out --paste")


def obtain_consent(
    client: OAuthClient,
    mailbox: str,
    settings: Settings,
    *,
    user: str | None,
    paste: bool,
    client_credentials: bool,
) -> Consent:
    """Return what a person consents to, or with `client_credentials` what an administrator has allowed.

    See :func:`authorize`.
    """
    if client_credentials:
        return by_client_credentials(client, settings)
    with interruptible():
        return authorize(client, mailbox, settings, user=user, paste=paste)


def authorize(
    client: OAuthClient, mailbox: str, settings: Settings, *, user: str | None, paste: bool = False
) -> Consent:
    """Return what a person consents to. What they have to do is printed on stderr.

    `user` is who has to sign in: the owner of `mailbox`, or for a shared one a user who may open it, None if
    we do not know who. With `paste` the person copies the address that their browser was sent to, on whatever
    machine it runs. Waits for 15 min at most. Raises GrantRejected, ClientRejected, Throttled and Transient,
    and InvalidInput for a pasted address that is no answer.
    """
    request = _Request(client, mailbox, user, settings)
    if client.device_url and not (paste and client.authorize_url):
        return _by_device(request)
    return _by_paste(request) if paste else _by_loopback(request)


@dataclass(frozen=True, slots=True)
class _Request:
    client: OAuthClient
    mailbox: str
    user: str | None
    settings: Settings

    @property
    def task(self) -> str:
        """The beginning of what the person is told to do."""
        if self.user == self.mailbox:
            return f"To sign in as {self.mailbox}, open"
        return f"To open {self.mailbox}, sign in as {self.user or 'a user who may'}: open"

    def url(self, redirect_uri: str, state: str, verifier: str) -> str:
        """The address that the person opens."""
        return authorize_url(self.client, redirect_uri, state, verifier, login_hint=self.user)

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> Consent:
        """Return the consent for the code in the address that the person came back to."""
        asked_at = datetime.now(UTC)
        with kept_secret(code):
            tokens = exchange_code(self.client, code, verifier, redirect_uri, self.settings)
        return consent_of(self.client, tokens, asked_at)


def _by_device(request: _Request) -> Consent:
    device = begin_device(request.client, request.settings)
    with kept_secret(device.device_code):
        note(f"{request.task} {device.verification_uri} on any device and enter this code:")
        note(f"\n    {device.user_code}\n")
        note(f"Waiting for up to {span(device.expires_in)}; Ctrl-C ends it, and nothing is stored.")
        return wait_for_device(request.client, device, request.settings, time.sleep)


def wait_for_device(
    client: OAuthClient,
    device: DeviceAuthorization,
    settings: Settings,
    sleep: Callable[[float], object],
    clock: Callable[[], float] = time.monotonic,
) -> Consent:
    """Poll until the person has decided (RFC 8628 §3.5). Raises GrantRejected when the code has expired.

    A server that cannot answer is asked again, less and less often.
    """
    end = clock() + device.expires_in
    pause = device.interval
    while (left := end - clock()) > 0:
        sleep(min(max(pause, device.interval), left))
        asked_at = datetime.now(UTC)
        try:
            tokens = poll_device(client, device, settings)
        except ClientRejected:
            raise
        except (Transient, Throttled) as error:
            wanted = error.retry_after or 0.0
            pause = max(min(2 * pause, _SLOWEST_POLL), wanted)
            continue
        if tokens is not None:
            return consent_of(client, tokens, asked_at)
        pause = device.interval
    raise GrantRejected(
        f"nobody entered the code {device.user_code} within {span(device.expires_in)}; run the command again"
    )


def _by_loopback(request: _Request) -> Consent:
    client, state, verifier = request.client, new_state(), new_verifier()
    with Loopback(lambda address: read_redirection(client, address, state)) as loopback:
        redirect_uri = _redirect_uri(client, f":{loopback.port}")
        url = request.url(redirect_uri, state, verifier)
        note(f"{request.task} this address in a browser on this machine:\n\n{url}\n")
        note(
            f"Waiting for up to {span(LONGEST_WAIT)}; Ctrl-C ends it, and nothing is stored."
            " Is the browser on another machine? Run it again with --paste."
        )
        code = loopback.wait(LONGEST_WAIT)
    if code is None:
        raise GrantRejected(f"no browser came back within {span(LONGEST_WAIT)}; run the command again")
    return request.exchange(code, verifier, redirect_uri)


def _by_paste(request: _Request) -> Consent:
    client, state, verifier = request.client, new_state(), new_verifier()
    # nothing listens there: only the address itself matters
    redirect_uri = _redirect_uri(client)
    url = request.url(redirect_uri, state, verifier)
    note(f"{request.task} this address in any browser:\n\n{url}\n")
    note(
        f"Afterwards the browser shows an error, because nothing answers at {redirect_uri}. Copy the whole"
        " address from its address bar, and paste it here."
    )
    return request.exchange(_pasted_code(client, state), verifier, redirect_uri)


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
