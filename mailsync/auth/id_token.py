"""Read whose tokens an answer brings from its id_token (OpenID Connect Core §2).

The answer comes from the authorization server itself over TLS, so that the signature need not be checked
(§3.1.3.7). The mail server decides whether a token opens a mailbox; the name only tells a person early that
they signed in as somebody else.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

_LONGEST = 32 * 1024
_PAYLOAD = re.compile(r"[\w=-]{1,1000}\.([\w-]+)=*\.[\w=-]*", re.ASCII)
_ADDRESS = re.compile(r"[^\s@\x00-\x1f\x7f-\x9f]{1,64}@[^\s@\x00-\x1f\x7f-\x9f]{1,253}")
# an organisation's sign-in name can differ from the address of its mailbox, and either opens it
_CLAIMS = ("email", "preferred_username", "upn")


def mailboxes_of(id_token: object, client_id: str) -> tuple[str, ...]:
    """Return the addresses in the claims of an id_token, in lower case, the likeliest mailbox first.

    A token that cannot be read or is meant for another client has none.
    """
    claims = read_claims(id_token)
    audience = claims.get("aud")
    if client_id not in (audience if isinstance(audience, list) else [audience]):
        return ()
    names = (claims.get(claim) for claim in _CLAIMS)
    addresses = (name.strip().lower() for name in names if isinstance(name, str) and len(name) <= 320)
    return tuple(dict.fromkeys(address for address in addresses if _ADDRESS.fullmatch(address)))


def read_claims(id_token: object) -> dict[str, Any]:
    """Return the claims of a JSON Web Token (RFC 7519 §7.2), unverified; none if it cannot be read."""
    if not isinstance(id_token, str) or len(id_token) > _LONGEST:
        return {}
    match = _PAYLOAD.fullmatch(id_token)
    if match is None:
        return {}
    try:
        payload = base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))
    except (binascii.Error, ValueError):
        return {}
    return read_object(payload) or {}


def read_object(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `raw`; None if there is none, or if it is nested too deeply to be read."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
