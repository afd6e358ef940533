"""Secrets that the tests plant, to prove that none of them is ever printed."""

from __future__ import annotations

import base64
from urllib.parse import quote

_secrets: set[str] = set()


def keep(secret: str) -> str:
    """Remember a secret of this worker's tests, and give it back."""
    if len(secret) < 8:
        raise ValueError("A planted secret must be long enough not to occur by chance")
    _secrets.add(secret)
    return secret


def found_in(text: str) -> list[str]:
    """Which planted secrets occur in the text: plain, percent-encoded, or as base64."""
    return sorted(secret for secret in _secrets if any(form in text for form in _forms(secret)))


def _forms(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")}
