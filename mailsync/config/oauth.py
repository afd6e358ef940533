"""The OAuth2 clients that the environment configures: ``OAUTH_<NAME>_CLIENT_ID`` and its companions (§23.2).

Google's and Microsoft's servers are known; any other provider names its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from mailsync.errors import ConfigError

SUFFIXES = (
    "CLIENT_ID",
    "CLIENT_SECRET",
    "AUTHORIZE_URL",
    "TOKEN_URL",
    "DEVICE_URL",
    "SCOPE",
    "MECHANISM",
    "IMAP_HOST",
)
"""The endings of a client's variables, after ``OAUTH_<NAME>_``."""

KNOWN_VARIABLES = frozenset({
    "OAUTH_MICROSOFT_TENANT",
    *(f"OAUTH_{name}_{suffix}" for name in ("GOOGLE", "MICROSOFT") for suffix in SUFFIXES),
})  # fmt: skip
"""The variables of the providers whose endpoints are known."""

MECHANISMS = ("OAUTHBEARER", "XOAUTH2")

LONGEST_NAME = 30
"""The largest number of characters of a provider's name."""

_VARIABLE = re.compile(rf"OAUTH_([A-Z][A-Z0-9_]{{0,{LONGEST_NAME - 1}}})_({'|'.join(SUFFIXES)})")
_TENANT = re.compile(r"[A-Za-z0-9.-]{1,100}")
_VISIBLE = re.compile(r"[\x21-\x7e]{1,2000}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,253}")


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client that is registered with a provider (RFC 6749 §2).

    ``name`` is the provider's, in lower case. ``secret`` is None for a public client. ``device_url`` is None
    without the device flow (RFC 8628); ``authorize_url`` may be None for clients that only renew tokens.
    ``daemon_scope`` is the scope of the client credentials grant, ``mechanism`` the only SASL mechanism to
    use; None means whichever the server announces. ``extra`` are further parameters of ``authorize_url``.
    ``imap_host`` is where the tokens are for; None lets the address decide.
    """

    name: str
    client_id: str
    secret: SecretStr | None = None
    authorize_url: str | None = None
    token_url: str = ""
    device_url: str | None = None
    scope: str = ""
    daemon_scope: str | None = None
    mechanism: str | None = None
    imap_host: str | None = None
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def variable(self) -> str:
        """The beginning of the names of its variables: ``OAUTH_GOOGLE``."""
        return f"OAUTH_{self.name.upper()}"


def _google() -> OAuthClient:
    return OAuthClient(
        "google",
        "",
        authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
        token_url="https://oauth2.googleapis.com/token",
        scope="https://mail.google.com/ openid email",
        imap_host="imap.gmail.com",
        # without both, Google sends no refresh token the second time
        extra=(("access_type", "offline"), ("prompt", "consent")),
    )


def _microsoft(tenant: str) -> OAuthClient:
    base = f"https://login.microsoftonline.com/{quote(tenant)}/oauth2/v2.0"
    return OAuthClient(
        "microsoft",
        "",
        authorize_url=f"{base}/authorize",
        token_url=f"{base}/token",
        device_url=f"{base}/devicecode",
        scope="https://outlook.office.com/IMAP.AccessAsUser.All offline_access openid email",
        daemon_scope="https://outlook.office365.com/.default",
        mechanism="XOAUTH2",
        imap_host="outlook.office365.com",
        extra=(("prompt", "select_account"),),
    )


def is_client_variable(name: str) -> bool:
    """Whether a variable configures an OAuth2 client."""
    return name == "OAUTH_MICROSOFT_TENANT" or _VARIABLE.fullmatch(name) is not None


def read_clients(environ: Mapping[str, str]) -> tuple[tuple[OAuthClient, ...], dict[str, ConfigError]]:
    """Return the configured clients by name, and the error of each variable that is missing or wrong.

    A client with an error is left out. An empty value counts as not set.
    """
    given: dict[str, dict[str, str]] = {}
    for variable in sorted(environ):
        value = environ[variable].strip()
        if value and (match := _VARIABLE.fullmatch(variable)):
            given.setdefault(match[1].lower(), {})[match[2]] = value
    tenant = environ.get("OAUTH_MICROSOFT_TENANT", "").strip() or "common"
    errors: dict[str, ConfigError] = {}
    if not _TENANT.fullmatch(tenant):
        errors["OAUTH_MICROSOFT_TENANT"] = ConfigError(
            "OAUTH_MICROSOFT_TENANT: give common, organizations, consumers, or a tenant's domain or id"
        )
        tenant = "common"
    known = {"google": _google(), "microsoft": _microsoft(tenant)}
    clients = []
    for name, values in given.items():
        client, wrong = _read(known.get(name) or OAuthClient(name, ""), values)
        errors |= {error.args[0].partition(":")[0]: error for error in wrong}
        if not wrong:
            clients.append(client)
    return tuple(clients), errors


def _read(base: OAuthClient, values: Mapping[str, str]) -> tuple[OAuthClient, list[ConfigError]]:
    prefix, wrong = base.variable, []

    def refuse(suffix: str, accepts: str) -> None:
        wrong.append(ConfigError(f"{prefix}_{suffix}: the value is not accepted; give {accepts}"))

    secret = values.get("CLIENT_SECRET")
    client = replace(
        base,
        client_id=values.get("CLIENT_ID", ""),
        secret=SecretStr(secret) if secret else None,
        authorize_url=values.get("AUTHORIZE_URL", base.authorize_url),
        token_url=values.get("TOKEN_URL", base.token_url),
        device_url=values.get("DEVICE_URL", base.device_url),
        scope=values.get("SCOPE", base.scope),
        mechanism=values.get("MECHANISM", base.mechanism or "").upper() or None,
        imap_host=values.get("IMAP_HOST", base.imap_host),
    )
    for suffix, value in (("CLIENT_ID", client.client_id), ("TOKEN_URL", client.token_url)):
        if not value:
            wrong.append(ConfigError(f"{prefix}_{suffix}: not set; {prefix}_… needs it"))
    if client.client_id and not _VISIBLE.fullmatch(client.client_id):
        refuse("CLIENT_ID", "the client's id, without blanks")
    if secret and not _VISIBLE.fullmatch(secret):
        refuse("CLIENT_SECRET", "the client's secret, without blanks (not shown)")
    for suffix in ("AUTHORIZE_URL", "TOKEN_URL", "DEVICE_URL"):
        url = getattr(client, suffix.lower())
        if url and not is_endpoint_url(url):
            refuse(suffix, "an address such as https://login.example.com/token, without user name and #")
    if client.scope and not _SCOPE.fullmatch(client.scope):
        refuse("SCOPE", "scopes separated by one blank")
    if client.mechanism not in (None, *MECHANISMS):
        refuse("MECHANISM", " or ".join(MECHANISMS))
    if client.imap_host and not _HOST.fullmatch(client.imap_host):
        refuse("IMAP_HOST", "the name of the IMAP server")
    return client, wrong


def is_endpoint_url(url: str) -> bool:
    """Whether a text is the URL of an endpoint (RFC 6749 §3): http or https, a host, no user and no fragment.

    Whether its host may be connected to, and http only in private networks, is decided at each connection.
    """
    if not _VISIBLE.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("https", "http")
        and bool(parts.hostname)
        and port != 0
        and parts.username is None
        and parts.password is None
        and "#" not in url
    )
