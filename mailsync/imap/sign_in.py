"""Sign in with a password: LOGIN, or AUTHENTICATE where LOGIN is disabled (SPEC §9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailsync.errors import AuthenticationFailed, ProtocolError
from mailsync.imap.status_responses import StatusResponse, error_for

if TYPE_CHECKING:
    from mailsync.imap.imapclient_adapter import Client
    from mailsync.model import Endpoint


def plain_response(username: str, password: str) -> bytes:
    """Return the message of PLAIN (RFC 4616 §2), without an identity to act as."""
    return b"\0%s\0%s" % (username.encode(), password.encode())


def sign_in(client: Client, endpoint: Endpoint, password: str) -> None:
    """Sign in by LOGIN, by AUTHENTICATE PLAIN, or else by AUTHENTICATE LOGIN.

    LOGIN is never sent to a server that announces LOGINDISABLED (RFC 9051 §6.2.3). Raises
    AuthenticationFailed, or the error that the server's refusal stands for.
    """
    offered = client.offered()
    mechanisms = sorted(name.removeprefix("AUTH=") for name in offered if name.startswith("AUTH="))
    if "LOGINDISABLED" in offered:
        if endpoint.security == "plaintext":
            raise AuthenticationFailed(
                f"{endpoint.host} refuses passwords over plaintext; use tls or starttls"
            )
        _authenticate(client, endpoint, password, mechanisms)
        return
    username = endpoint.username
    completion = client.try_login(username.encode(), password.encode())
    if completion.status == "OK":
        return
    if _refuses_form(completion, username + password) and _mechanism(mechanisms):
        _authenticate(client, endpoint, password, mechanisms)
        return
    raise error_for(completion, "LOGIN", step="login")


def _refuses_form(completion: StatusResponse, arguments: str) -> bool:
    """Whether a server may have refused LOGIN for its arguments' form, and not for the password.

    It may if it does not understand the command, or refuses arguments beyond ASCII without a reason.
    """
    if completion.status == "BAD":
        return isinstance(error_for(completion, "LOGIN", step="login"), ProtocolError)
    return not arguments.isascii() and not completion.code


def _mechanism(mechanisms: list[str]) -> str | None:
    return next((name for name in ("PLAIN", "LOGIN") if name in mechanisms), None)


def _authenticate(client: Client, endpoint: Endpoint, password: str, mechanisms: list[str]) -> None:
    mechanism = _mechanism(mechanisms)
    if mechanism is None:
        offer = " ".join(f"AUTH={name}" for name in mechanisms[:20])
        raise AuthenticationFailed(
            f"{endpoint.host} accepts no password: it disables LOGIN and offers "
            + (f"{offer} only" if offer else "no other way to sign in")
        )
    if mechanism == "PLAIN":
        responses = [plain_response(endpoint.username, password)]
    else:
        responses = [endpoint.username.encode(), password.encode()]
    completion = client.try_authenticate(mechanism, *responses)
    if completion.status != "OK":
        raise error_for(completion, "AUTHENTICATE", step="login")
