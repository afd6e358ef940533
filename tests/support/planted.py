"""Secrets that the tests plant, to prove that none of them is ever printed."""

from __future__ import annotations

import base64
import json
from functools import cache
from urllib.parse import quote, quote_plus

_secrets: set[str] = set()


def keep(secret: str) -> str:
    """Remember a secret of this worker's tests, and give it back."""
    if len(secret) < 8:
        raise ValueError("A planted secret must be long enough not to occur by chance")
    _secrets.add(secret)
    return secret


def found_in(text: str) -> list[str]:
    """Which planted secrets occur in the text: plain, escaped, percent-encoded, in hex or in base64."""
    return sorted(secret for secret in _secrets if any(form in text for form in _forms(secret)))


@cache
def _forms(secret: str) -> frozenset[str]:
    raw = secret.encode()
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), raw.hex()}
    forms |= {json.dumps(secret)[1:-1], repr(secret)[1:-1], secret.replace("\\", "\\\\").replace('"', '\\"')}
    for before in range(3):
        # inside a longer text, base64 may begin at any of three offsets; its first and last letters
        # then depend on the neighbouring bytes
        code = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        inner = code[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        forms |= {inner, inner.translate(str.maketrans("+/", "-_"))}
    return frozenset(forms)
