"""The parts of ``check-account`` about the server: what it offers, and how the account signs in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from mailsync.cli.terminal import ago, moment, printable, span
from mailsync.redaction import redact
from mailsync.store.account_views import AccountDetails
from mailsync.store.accounts import AccountStatus

_MATTERS = "LIST-STATUS CONDSTORE QRESYNC ESEARCH SPECIAL-USE OBJECTID NOTIFY IDLE X-GM-EXT-1".split()


def offers(more: AccountDetails) -> str:
    """Which of the extensions that mailsync uses the server has and lacks, for people."""
    if not more.capabilities:
        return "its extensions are known after the first sync"
    has = [name for name in _MATTERS if name in more.capabilities]
    lacks = [name for name in _MATTERS if name not in more.capabilities and not name.startswith("X-")]
    text = f"offers {', '.join(has)}" if has else "offers no extension that mailsync uses"
    if lacks:
        text += f"; lacks {', '.join(lacks)}"
    if "LIST-STATUS" in lacks:
        text += " (so each sync compares the priority folders and a few others, in rotation)"
    return text


def sign_in(a: AccountStatus, now: datetime) -> Iterator[str]:
    """How an account with tokens signs in, and the last refusal unless a renewal followed; for people."""
    if a.auth_method != "oauth2":
        return
    itself = ", as the client itself" if a.oauth_grant == "client_credentials" else ""
    yield f"by OAuth2 at {printable(a.oauth_provider or '')}{itself}; {_token(a, now)}"
    if a.token_refused_at and (a.token_renewed_at is None or a.token_refused_at > a.token_renewed_at):
        yield f"renewal failed {ago(a.token_refused_at, now)}: {printable(redact(a.token_refusal or ''))}"


def _token(a: AccountStatus, now: datetime) -> str:
    if a.token_expires_at is None:
        return "no token yet"
    left = (a.token_expires_at - now).total_seconds()
    text = (
        f"token valid until {moment(a.token_expires_at)} (in {span(left)})"
        if left > 0
        else f"token ended {ago(a.token_expires_at, now)}; it is renewed at the next sync"
    )
    return f"{text}, renewed {ago(a.token_renewed_at, now)}" if a.token_renewed_at else text
