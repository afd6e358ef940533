"""The addresses in an id_token."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mailsync.auth.id_token import mailboxes_of


def token(claims: object, *, padded: bool = False) -> str:
    def part(value: object) -> str:
        code = base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
        return code if padded else code.rstrip("=")

    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({"email": "Ann@Example.com", "email_verified": True}, ("ann@example.com",)),
        # Microsoft: the name to sign in with and the address of the mailbox can differ
        (
            {"preferred_username": "a.lee@corp.example", "email": "ann.lee@corp.example"},
            ("ann.lee@corp.example", "a.lee@corp.example"),
        ),
        ({"email": "ann@example.com", "preferred_username": "ANN@example.com"}, ("ann@example.com",)),
        ({"upn": "ann@example.com"}, ("ann@example.com",)),
        ({"preferred_username": "+49 170 1234567"}, ()),
        ({"email": "müller@exämple.de"}, ("müller@exämple.de",)),
        ({"email": "a@b@c"}, ()),
        ({"email": "a\n@b"}, ()),
        ({"email": "a" * 10_000 + "@b"}, ()),
        ({"email": ["a@example.com"]}, ()),
        ({}, ()),
    ],
)
def test_the_claims_name_the_user(claims: dict[str, Any], names: tuple[str, ...]) -> None:
    assert mailboxes_of(token({"aud": "client-1", **claims}), "client-1") == names
    assert mailboxes_of(token({"aud": ["other", "client-1"], **claims}, padded=True), "client-1") == names


@pytest.mark.parametrize("audience", ["other", ["other"], [], None, {"client-1": 1}, 7])
def test_a_token_for_another_client_names_nobody(audience: object) -> None:
    assert mailboxes_of(token({"aud": audience, "email": "a@example.com"}), "client-1") == ()


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "a.b",
        "a.b.c.d",
        "a.!!!.c",
        "a.b.c",
        "a.é.c",
        "a." + base64.urlsafe_b64encode(b"[" * 10_000).decode() + ".c",
        token(["email"]),
        token({"aud": "client-1", "email": "a@example.com", "more": "x" * 40_000}),
    ],
)
def test_other_texts_name_nobody(text: object) -> None:
    assert mailboxes_of(text, "client-1") == ()
