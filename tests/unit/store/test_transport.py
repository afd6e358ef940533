"""The connection to Postgres: no message if it is local, a warning if others can read it."""

from __future__ import annotations

import pytest

from mailsync.store.transport import Transport


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("/var/run/postgresql", ""),
        ("@abstract", ""),
        ("", ""),
        ("localhost", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("::1", "::1"),
    ],
)
@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
def test_a_connection_on_this_machine_is_not_mentioned(host: str, address: str, sslmode: str) -> None:
    found = Transport(host, address, sslmode, has_root_certificate=False, is_encrypted=False)
    assert (found.warning, found.proof) == (None, None)


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.5", "2001:db8::1", "fe80::1%eth0"])
@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
def test_a_connection_that_is_not_encrypted_gets_a_warning(address: str, sslmode: str) -> None:
    found = Transport("db.example", address, sslmode, has_root_certificate=False, is_encrypted=False)
    assert found.proof is None
    assert str(found.warning).startswith("The connection to db.example is not encrypted, ")
    assert "sslmode=verify-full in DATABASE_URL" in str(found.warning)


@pytest.mark.parametrize("sslmode", ["allow", "prefer"])
def test_an_encrypted_connection_that_need_not_be_gets_a_warning(sslmode: str) -> None:
    found = Transport("db.example", "192.0.2.1", sslmode, has_root_certificate=False, is_encrypted=True)
    assert found.proof is None
    assert f"is encrypted, but sslmode={sslmode} would also accept an unencrypted one" in str(found.warning)


@pytest.mark.parametrize(
    ("sslmode", "has_root_certificate", "proof"),
    [
        ("require", False, "Database connection encrypted; sslmode=require does not verify the server"),
        (
            "require",
            True,
            "Database connection encrypted; sslmode=verify-full would verify the server's name too",
        ),
        (
            "verify-ca",
            True,
            "Database connection encrypted; sslmode=verify-full would verify the server's name too",
        ),
        ("verify-full", True, "Database connection encrypted, server verified"),
    ],
)
def test_a_protected_connection_is_reported_with_what_is_not_verified(
    sslmode: str, has_root_certificate: bool, proof: str
) -> None:
    found = Transport("db.example", "192.0.2.1", sslmode, has_root_certificate, is_encrypted=True)
    assert (found.warning, found.proof) == (None, proof)
