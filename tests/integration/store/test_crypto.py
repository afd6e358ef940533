"""Stored passwords: bound to one account and server, decrypted by any of the configured keys (SPEC §4)."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from mailsync.credentials import TokenOwner
from mailsync.errors import KeyMismatch
from mailsync.model import Endpoint
from mailsync.store import credentials, crypto, db
from tests.support.stored import new_account, settings_for

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
ENDPOINT = Endpoint("imap.example.com", 993, "tls", "a@example.com")
OWNER = TokenOwner("google", "client")


@pytest.mark.parametrize("password", ["secret", "", "pässwörd ✓", "\t\\'\"", "x" * 5000])
def test_any_password_opens_again(password: str) -> None:
    assert crypto.unseal([OLD], 1, ENDPOINT, *crypto.seal([OLD], 1, ENDPOINT, password)) == password


def test_the_first_key_seals_and_every_key_opens() -> None:
    before = crypto.seal([OLD], 1, ENDPOINT, "secret")
    after = crypto.seal([NEW, OLD], 1, ENDPOINT, "secret")
    assert before[0] == crypto.key_id(OLD)
    assert after[0] == crypto.key_id(NEW)
    assert {crypto.unseal([NEW, OLD], 1, ENDPOINT, *sealed) for sealed in (before, after)} == {"secret"}


def test_a_wrong_key_is_named_by_its_fingerprint_without_secrets() -> None:
    sealed = crypto.seal([OLD], 1, ENDPOINT, "secret")
    with pytest.raises(KeyMismatch, match=crypto.key_id(OLD)) as caught:
        crypto.unseal([NEW, OTHER], 1, ENDPOINT, *sealed)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"host": "evil.example"}, {"port": 143}, {"security": "plaintext"}, {"username": "b@example.com"}],
    ids=lambda change: next(iter(change)),
)
def test_a_password_does_not_open_for_another_place(change: dict[str, object]) -> None:
    sealed = crypto.seal([OLD], 1, ENDPOINT, "secret")
    with pytest.raises(KeyMismatch, match="set-password"):
        crypto.unseal([OLD], 1, replace(ENDPOINT, **change), *sealed)


def test_a_password_does_not_open_for_another_account() -> None:
    with pytest.raises(KeyMismatch):
        crypto.unseal([OLD], 2, ENDPOINT, *crypto.seal([OLD], 1, ENDPOINT, "secret"))


@pytest.mark.parametrize(
    ("account", "endpoint", "owner"),
    [
        (2, ENDPOINT, OWNER),
        (1, replace(ENDPOINT, host="evil.example"), OWNER),
        (1, ENDPOINT, TokenOwner("microsoft", "client")),
        (1, ENDPOINT, TokenOwner("google", "another")),
        (1, ENDPOINT, None),
    ],
    ids=["account", "server", "provider", "client", "password"],
)
def test_tokens_open_for_one_account_server_provider_and_client(
    account: int, endpoint: Endpoint, owner: TokenOwner | None
) -> None:
    sealed = crypto.seal([OLD], 1, ENDPOINT, "tokens", OWNER)
    assert crypto.unseal([OLD], 1, ENDPOINT, *sealed, OWNER) == "tokens"
    with pytest.raises(KeyMismatch, match="reauthorize" if owner else "set-password"):
        crypto.unseal([OLD], account, endpoint, *sealed, owner)


def test_parts_of_the_place_cannot_be_shifted_into_each_other() -> None:
    sealed = crypto.seal([OLD], 1, Endpoint("a", 1, "tls", "b|1:c"), "secret")
    with pytest.raises(KeyMismatch):
        crypto.unseal([OLD], 1, Endpoint("a", 1, "tls|5:b", "c"), *sealed)


@pytest.mark.parametrize("at", [0, 11, 12, -1])
def test_a_changed_byte_does_not_open(at: int) -> None:
    key_id, ciphertext = crypto.seal([OLD], 1, ENDPOINT, "secret")
    broken = bytearray(ciphertext)
    broken[at] ^= 1
    with pytest.raises(KeyMismatch):
        crypto.unseal([OLD], 1, ENDPOINT, key_id, bytes(broken))


@pytest.mark.parametrize("length", [0, 7, 12, 20])
def test_what_is_left_of_a_ciphertext_does_not_open(length: int) -> None:
    key_id, ciphertext = crypto.seal([OLD], 1, ENDPOINT, "secret")
    with pytest.raises(KeyMismatch):
        crypto.unseal([OLD], 1, ENDPOINT, key_id, ciphertext[:length])


def test_equal_passwords_look_different() -> None:
    assert len({crypto.seal([OLD], 1, ENDPOINT, "secret")[1] for _ in range(50)}) == 50


def test_a_row_moved_to_another_account_or_host_does_not_open(
    database_url: str, database: psycopg.Connection
) -> None:
    settings = settings_for(database_url)
    keys = settings.encryption_keys()
    with db.connect(settings, "test") as conn:
        first, second = (new_account(conn, settings, f"{name}@example.com") for name in "ab")

        def opened(account_id: int) -> str:
            (row,) = credentials.load(conn, account_id)
            return crypto.unseal(keys, row.id, row.endpoint, row.key_id, row.ciphertext)

        assert opened(first) == opened(second) == "secret"
        database.execute(
            "update account_credentials set ciphertext = "
            "(select ciphertext from account_credentials where account_id = %s) where account_id = %s",
            [first, second],
        )
        with pytest.raises(KeyMismatch):
            opened(second)
        database.execute("update accounts set imap_host = 'evil.example' where id = %s", [first])
        with pytest.raises(KeyMismatch):
            opened(first)


def test_no_column_holds_a_password(database_url: str, database: psycopg.Connection) -> None:
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        new_account(conn, settings)
    for table in ("accounts", "account_credentials", "sync_events"):
        (text,) = database.execute(f"select string_agg(t::text, ' ') from {table} t").fetchone()
        assert "secret" not in text
        assert b"secret".hex() not in text
