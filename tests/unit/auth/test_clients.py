"""Which client is used for a provider, and for tokens that are stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailsync.auth.clients import client_of, find_client
from mailsync.auth.tokens import is_fresh, is_valid
from mailsync.config import Settings
from mailsync.credentials import TokenOwner, TokenSet
from mailsync.errors import ClientRejected, InvalidInput

CORP = {"OAUTH_CORP_CLIENT_ID": "abc", "OAUTH_CORP_TOKEN_URL": "https://login.example.com/token"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_provider_is_found_in_any_case_and_the_others_are_listed() -> None:
    settings = Settings.from_env(CORP)
    assert find_client(settings, " Corp ").client_id == "abc"
    with pytest.raises(InvalidInput, match="'gogle', only for: corp; set OAUTH_GOGLE_CLIENT_ID"):
        find_client(settings, "gogle")


@pytest.mark.parametrize(
    ("owner", "message"),
    [
        (
            TokenOwner("google", "g"),
            "OAUTH_GOOGLE_CLIENT_ID is not set, and the account's tokens belong to g",
        ),
        (TokenOwner("corp", "old"), "belong to the client old, but OAUTH_CORP_CLIENT_ID is now abc"),
    ],
)
def test_tokens_of_another_client_are_the_operators_to_repair(owner: TokenOwner, message: str) -> None:
    with pytest.raises(ClientRejected, match=message):
        client_of(Settings.from_env(CORP), owner)


@pytest.mark.parametrize(
    ("lifetime", "left", "fresh", "valid"),
    [
        (3600, 301, True, True),
        (3600, 299, False, True),
        (3600, 14, False, False),
        (3600, -1, False, False),
        # a short life: half of it
        (60, 31, True, True),
        (60, 29, False, True),
        # a clock that was far ahead when the token came
        (3600, 86_400, False, False),
    ],
)
def test_a_token_is_renewed_five_minutes_before_its_end(
    lifetime: float, left: float, fresh: bool, valid: bool
) -> None:
    tokens = TokenSet(
        TokenOwner("corp", "abc"), "refresh_token", "r", "a", NOW + timedelta(seconds=left), lifetime
    )
    assert (is_fresh(tokens, NOW), is_valid(tokens, NOW)) == (fresh, valid)
