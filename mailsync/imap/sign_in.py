"""Sign in with a password or an access token: LOGIN, or AUTHENTICATE (SPEC §23.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailsync.credentials import BearerToken, Credential
from mailsync.errors import AuthenticationFailed, ProtocolError
from mailsync.imap.arguments import LiteralArgument, astring
from mailsync.imap.sasl import TOKEN_MECHANISMS, plain_response, read_refusal, token_error, token_response
from mailsync.imap.status_responses import StatusResponse, error_for

if TYPE_CHECKING:
    from mailsync.imap.imapclient_adapter import Client
    from mailsync.model import Endpoint

_MOST_SHOWN = 20
"""Mechanisms that an error names."""


def sign_in(client: Client, endpoint: Endpoint, credential: Credential) -> None:
    """Sign in.

    A token goes by OAUTHBEARER or XOAUTH2. A password goes by LOGIN, by AUTHENTICATE PLAIN, or else by
    AUTHENTICATE LOGIN; LOGIN is never sent to a server that announces LOGINDISABLED (RFC 9051 §6.2.3). Raises
    AuthenticationFailed, or the error that the server's refusal stands for.
    """
    offered = client.offered()
    mechanisms = sorted(name.removeprefix("AUTH=") for name in offered if name.startswith("AUTH="))
    if isinstance(credential, BearerToken):
        _sign_in_by_token(client, endpoint, credential, mechanisms)
    elif "LOGINDISABLED" in offered:
        if endpoint.security == "plaintext":
            raise AuthenticationFailed(
                f"{endpoint.host} refuses passwords over plaintext; use tls or starttls"
            )
        _authenticate(client, endpoint, credential, mechanisms)
    else:
        _log_in(client, endpoint, credential, mechanisms)


# -- tokens --------------------------------------------------------------------------------------------


def _sign_in_by_token(client: Client, endpoint: Endpoint, token: BearerToken, mechanisms: list[str]) -> None:
    usable = [token.mechanism] if token.mechanism else list(TOKEN_MECHANISMS)
    mechanism = next((name for name in usable if name in mechanisms), None)
    if mechanism is None:
        raise AuthenticationFailed(
            f"{endpoint.host} accepts no access token by {' or '.join(usable)}: it offers"
            f" {_offer(mechanisms) or 'no mechanism'} only"
        )
    response = token_response(mechanism, endpoint, token.text)
    completion, challenges = client.try_authenticate(
        mechanism, response, to_refusal=TOKEN_MECHANISMS[mechanism]
    )
    if completion.status != "OK":
        raise token_error(completion, read_refusal(challenges))


# -- passwords -----------------------------------------------------------------------------------------


def _log_in(client: Client, endpoint: Endpoint, password: str, mechanisms: list[str]) -> None:
    arguments = endpoint.username.encode(), password.encode()
    completion = client.try_login(*arguments)
    if completion.status == "OK":
        return
    if _refuses_form(completion, *arguments) and _for_passwords(mechanisms):
        _authenticate(client, endpoint, password, mechanisms)
        return
    error = error_for(completion, "LOGIN", step="login")
    if isinstance(error, AuthenticationFailed) and not _for_passwords(mechanisms):
        error.args = (f"{error}{_advice(mechanisms)}",)
    raise error


def _refuses_form(completion: StatusResponse, *arguments: bytes) -> bool:
    """Whether a server may have refused LOGIN for its arguments' form, and not for the password.

    It may if it does not understand the command, or refuses without a reason what is not ASCII or not quoted.
    """
    if completion.status == "BAD":
        return isinstance(error_for(completion, "LOGIN", step="login"), ProtocolError)
    is_plain = all(
        argument.isascii() and not isinstance(astring(argument), LiteralArgument) for argument in arguments
    )
    return not is_plain and not completion.code


def _for_passwords(mechanisms: list[str]) -> list[str]:
    return [name for name in ("PLAIN", "LOGIN") if name in mechanisms]


def _authenticate(client: Client, endpoint: Endpoint, password: str, mechanisms: list[str]) -> None:
    usable = _for_passwords(mechanisms)
    if not usable:
        offer = _offer(mechanisms)
        raise AuthenticationFailed(
            f"{endpoint.host} accepts no password: it disables LOGIN and offers "
            + (f"{offer} only" if offer else "no other way to sign in")
            + _advice(mechanisms)
        )
    for name in usable:
        if name == "PLAIN":
            responses = [plain_response(endpoint.username, password)]
        else:
            responses = [endpoint.username.encode(), password.encode()]
        completion, _ = client.try_authenticate(name, *responses)
        if completion.status == "OK":
            return
        error = error_for(completion, "AUTHENTICATE", step="login")
        if not isinstance(error, ProtocolError):
            # the server has understood the mechanism
            break
    raise error


def _offer(mechanisms: list[str]) -> str:
    return " ".join(f"AUTH={name}" for name in mechanisms[:_MOST_SHOWN])


def _advice(mechanisms: list[str]) -> str:
    """The advice for a server that accepts tokens and no password; nothing for another."""
    if TOKEN_MECHANISMS.keys().isdisjoint(mechanisms):
        return ""
    return "; to sign in without a password: `mailsync add-account EMAIL --oauth`"
