"""Tell the operator or the owner of a mailbox how to end a refusal of an authorization server."""

from __future__ import annotations

import re

_AADSTS = re.compile(r"AADSTS([0-9]{4,9})\b")

# Microsoft's numbers: learn.microsoft.com/entra/identity-platform/reference-error-codes
_BY_NUMBER = {
    "7000215": "set {0}_CLIENT_SECRET to the secret's value; its id in the portal is something else",
    "7000222": "the client secret has expired: create another one in the registration, and set"
    " {0}_CLIENT_SECRET",
    "7000218": 'in the registration, set "Allow public client flows" to Yes, or set {0}_CLIENT_SECRET',
    "700025": "the registration is a public client: remove {0}_CLIENT_SECRET",
    "700016": "no such client in the tenant: check {0}_CLIENT_ID and OAUTH_MICROSOFT_TENANT",
    "90002": "there is no such tenant: check OAUTH_MICROSOFT_TENANT",
    "50194": "the registration is for one organisation: set OAUTH_MICROSOFT_TENANT to its tenant id",
    "50059": "set OAUTH_MICROSOFT_TENANT to the tenant's id or domain",
    "50020": "the account belongs to another organisation: register the client for accounts in any"
    " organisation",
    "9002331": "the registration is for personal accounts: set OAUTH_MICROSOFT_TENANT=consumers",
    "9002346": "the registration is for personal accounts: set OAUTH_MICROSOFT_TENANT=consumers",
    "500011": "the tenant has no Exchange Online: check {0}_SCOPE",
    "65001": "nobody has consented to the client: sign in again, or have an administrator consent",
    "90094": "an administrator of the organisation must consent to the client",
    "50011": "add the redirect URI to the registration",
    "50057": "the user's account is disabled",
    "50076": "the organisation asks for a second factor",
    "50079": "the organisation asks for a second factor, which is not set up yet",
    "50173": "the password was changed or the sign-in revoked",
    "700082": "the refresh token was not used for too long",
    "53003": "a Conditional Access policy of the organisation blocks the sign-in",
}

_BY_ERROR = {
    "invalid_client": "check {0}_CLIENT_ID and {0}_CLIENT_SECRET",
    "deleted_client": "the client was deleted: register another one, and set {0}_CLIENT_ID",
    "disabled_client": "the provider has disabled the client",
    "unauthorized_client": "allow this grant in the client's registration",
    "unsupported_grant_type": "the provider does not support this grant",
    "invalid_scope": "check {0}_SCOPE and what the registration allows",
    "redirect_uri_mismatch": "add the redirect URI to the client's registration",
    "org_internal": "the client is for members of one Google Workspace organisation only",
    "admin_policy_enforced": "an administrator of the Google Workspace must allow the client",
}


def aadsts_number(description: str) -> str | None:
    """Return the number of Microsoft's error in its explanation, such as ``7000215``; None without one."""
    match = _AADSTS.search(description[:1000])
    return match[1] if match else None


def advice_for(error: str, description: str, variable: str) -> str | None:
    """Return what to do about a refusal; None if there is nothing to add to the server's words.

    ``variable`` is the beginning of the client's variables, such as ``OAUTH_GOOGLE``.
    """
    number = aadsts_number(description)
    advice = _BY_NUMBER.get(number) if number else None
    advice = advice or _BY_ERROR.get(error)
    return advice.format(variable) if advice else None
