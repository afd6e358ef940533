"""Callbacks that are forged, repeated, late or mixed up: refused, and nothing is stored (SPEC §23.5)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.support import planted
from tests.support.imap_server import User
from tests.support.mirrors import value
from tests.support.oauth_api import (
    PRODUCT,
    Product,
    assert_nothing_stored,
    assert_plain,
    returned,
    state_of,
)
from tests.support.postgres import PostgresServer
from tests.support.programs import Mailsync

Database = psycopg.Connection[Any]

USELESS = "This address is of no use"


@pytest.fixture
def user(product: Product) -> User:
    return product.dovecot.new_user()


@pytest.fixture
def account(product: Product, user: User) -> int:
    """An account whose mail server is known, so that a consent succeeds."""
    return product.add_by_tokens(user)


def sealed(database: Database) -> bytes:
    """What the only account signs in with."""
    return bytes(value(database, "select ciphertext from account_credentials"))


def test_a_state_is_good_for_one_callback(
    product: Product, user: User, account: int, database: Database
) -> None:
    begun = product.begin(account_id=account, return_url=PRODUCT)
    address = product.browser.consent(begun["authorize_url"], user.name)
    assert returned(product.browser.request(address)) == {"account_id": [str(account)]}
    before, outcome = sealed(database), product.outcome(begun)
    again = product.browser.consent(begun["authorize_url"], user.name)
    for replayed in (address, again, address.replace("code=", "code=x"), address.replace("code=", "error=")):
        assert_plain(product.browser.request(replayed), 400, USELESS)
    assert (sealed(database), product.outcome(begun)) == (before, outcome)
    assert product.exchanges() == 1


def test_of_two_callbacks_at_once_one_is_exchanged(product: Product, user: User, account: int) -> None:
    begun = product.begin(account_id=account, return_url=PRODUCT)
    address = product.browser.consent(begun["authorize_url"], user.name)
    hold = product.server.hold_next("token")
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(product.browser.request, address) for _ in range(3)]
        hold.wait()
        hold.release()
        statuses = sorted(answer.result().status for answer in answers)
    assert statuses == [303, 400, 400]
    assert product.exchanges() == 1


def test_a_failed_exchange_uses_the_state_up_too(product: Product, user: User, database: Database) -> None:
    begun = product.begin(email=user.name)
    address = product.browser.consent(begun["authorize_url"], user.name)
    product.server.fail_next("token", 503)
    assert_plain(product.browser.request(address), 400, "Mailbox not connected")
    assert_plain(product.browser.request(address), 400, USELESS)
    assert product.exchanges() == 1
    assert_nothing_stored(database)


def test_forged_states_reach_nobody(product: Product, user: User, database: Database) -> None:
    begun = product.begin(email=user.name)
    address = product.browser.consent(begun["authorize_url"], user.name)
    state, code = state_of(begun), parse_qs(urlsplit(address).query)["code"][0]
    path = f"http://127.0.0.1:{product.api.port}/oauth/callback"
    for query in (
        "",
        "?",
        f"?code={code}",
        f"?code={code}&state=",
        f"?code={code}&state={state[:-1]}",
        f"?code={code}&state={state}x",
        f"?code={code}&state={state.swapcase()}",
        f"?code={code}&state={'A' * 43}",
        f"?code={code}&state=%00{state}",
        f"?code={code}&state={state}%00",
        f"?code={code}&state=%FF%FE{'A' * 40}",
        f"?code={code}&state={state}&state={state}",
        f"?code={code}&state={state}&code=other",
        f"?code={code}&state[]={state}",
        f"?code={code}&state={'A' * 4000}",
        f"?code={code}&state=' or true--",
        f"?code={code}#state={state}",
        "?" + "&".join(f"p{n}=1" for n in range(300)),
    ):
        assert_plain(
            product.browser.request((path + query).replace(" ", "%20").partition("#")[0]), 400, USELESS
        )
    for method in ("POST", "PUT", "DELETE"):
        assert product.api.request(method, f"/oauth/callback?{urlsplit(address).query}").status in (405, 401)
    assert product.exchanges() == 0
    assert product.outcome(begun)["status"] == "pending"
    assert_nothing_stored(database)


def test_looking_at_the_address_uses_nothing_up(product: Product, user: User, account: int) -> None:
    begun = product.begin(account_id=account, return_url=PRODUCT)
    address = product.browser.consent(begun["authorize_url"], user.name)
    path = address.partition(str(product.api.port))[2]
    assert product.api.request("HEAD", path).status == 200
    assert product.api.request("OPTIONS", path).status in (200, 401, 405)
    assert product.outcome(begun)["status"] == "pending"
    assert returned(product.browser.request(address)) == {"account_id": [str(account)]}


def test_a_late_answer_is_not_exchanged(product: Product, user: User, database: Database) -> None:
    begun = product.begin(email=user.name, return_url=PRODUCT)
    address = product.browser.consent(begun["authorize_url"], user.name)
    database.execute("update oauth_authorizations set expires_at = now()")
    shown = product.outcome(begun)
    assert (shown["status"], shown["error"]) == ("expired", "expired")
    assert returned(product.browser.request(address)) == {"error": ["expired"]}
    assert (product.outcome(begun)["status"], product.outcome(begun)["error"]) == ("failed", "expired")
    assert value(database, "select length(verifier) from oauth_authorizations") == 0
    assert_plain(product.browser.request(address), 400, USELESS)
    assert product.exchanges() == 0
    assert_nothing_stored(database)


def test_a_state_of_another_database_is_unknown(
    product: Product,
    user: User,
    database: Database,
    postgres: PostgresServer,
    mailsync: Mailsync,
    start_product: Callable[..., Product],
) -> None:
    begun = product.begin(email=user.name)
    address = product.browser.consent(begun["authorize_url"], user.name)
    with postgres.new_database(template=None) as url:
        assert mailsync("migrate", env={"DATABASE_URL": url}).returncode == 0
        other = start_product(DATABASE_URL=url)
        elsewhere = address.replace(str(product.api.port), str(other.api.port))
        assert_plain(other.browser.request(elsewhere), 400, USELESS)
        other.api.process.terminate()
        assert other.api.process.wait() == 0
    assert product.exchanges() == 0
    assert_nothing_stored(database)


# -- PKCE ------------------------------------------------------------------------------------------------


def test_a_row_without_its_verifier_is_not_exchanged(
    product: Product, user: User, database: Database
) -> None:
    for lost in (
        "verifier = ''",
        "key_id = 'another'",
        "verifier = set_byte(verifier, 20, 255 - get_byte(verifier, 20))",
    ):
        begun = product.begin(email=user.name, return_url=PRODUCT)
        database.execute(f"update oauth_authorizations set {lost} where id = %s", [begun["id"]])  # type: ignore[arg-type]
        assert returned(product.consent(begun, user.name)) == {"error": ["key_mismatch"]}
        assert "PKCE verifier" in product.outcome(begun)["message"]
    assert product.exchanges() == 0
    assert_nothing_stored(database)


def test_a_verifier_belongs_to_one_state(product: Product, user: User, database: Database) -> None:
    first, second = (product.begin(email=user.name, return_url=PRODUCT) for _ in range(2))
    database.execute(
        "update oauth_authorizations a set verifier = b.verifier from oauth_authorizations b"
        " where a.id = %s and b.id = %s",
        [first["id"], second["id"]],
    )
    assert returned(product.consent(first, user.name)) == {"error": ["key_mismatch"]}
    assert product.exchanges() == 0


def test_a_code_of_another_authorization_is_refused_by_its_challenge(
    product: Product, user: User, database: Database
) -> None:
    """An attacker puts a code of theirs into the victim's callback (RFC 9700 §4.5)."""
    victim, attacker = (product.begin(email=user.name, return_url=PRODUCT) for _ in range(2))
    mine = product.browser.consent(victim["authorize_url"], user.name)
    theirs = product.browser.consent(attacker["authorize_url"], user.name)
    mixed = mine.replace(code_in(mine), code_in(theirs))
    assert returned(product.browser.request(mixed)) == {"error": ["auth_failed"]}
    assert "invalid_grant" in product.outcome(victim)["message"]
    assert_nothing_stored(database)


def test_the_provider_demands_pkce_and_gets_it(product: Product, user: User, account: int) -> None:
    begun = product.begin(account_id=account, return_url=PRODUCT)
    url = begun["authorize_url"]
    challenge = parse_qs(urlsplit(url).query)["code_challenge"][0]
    refused = product.browser.request(
        url.replace("code_challenge_method=S256", "code_challenge_method=plain")
    )
    assert refused.status in (302, 303, 400)
    without = url.replace(f"&code_challenge={challenge}", "").replace("&code_challenge_method=S256", "")
    address = product.browser.request(without)
    assert address.status in (302, 303, 400)
    assert returned(product.consent(begun, user.name)) == {"account_id": [str(account)]}
    exchange = product.server.journal.requests("token", "authorization_code")[-1]
    assert len(exchange.parameters["code_verifier"]) >= 43


# -- answers of the provider, and what is stored ---------------------------------------------------------


def test_errors_of_the_provider_are_passed_on_by_their_codes_only(
    product: Product, user: User, database: Database
) -> None:
    path = f"http://127.0.0.1:{product.api.port}/oauth/callback"
    for error, code in (
        ("access_denied", "access_denied"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("login_required", "login_required"),
        ("<script>", "server_error"),
        ("", "server_error"),
        ("a%0d%0aLocation:%20https://evil.example/", "server_error"),
    ):
        begun = product.begin(email=user.name, return_url=PRODUCT)
        description = "<b>secret</b>%0d%0aX: y"
        query = f"?error={error}&error_description={description}&state={state_of(begun)}"
        assert returned(product.browser.request((path + query).replace(" ", "%20"))) == {"error": [code]}
        assert product.outcome(begun)["error"] == code
        shown = product.begin(email=user.name)
        page = product.browser.request(
            f"{path}?error={error}&state={state_of(shown)}&code=x".replace(" ", "%20")
        )
        assert_plain(page, 400, "Mailbox not connected")
        assert b"evil" not in page.body
    assert product.exchanges() == 0
    assert_nothing_stored(database)


def test_nobody_is_sent_to_an_address_that_is_no_longer_listed(
    product: Product, user: User, account: int, database: Database
) -> None:
    begun = product.begin(account_id=account, return_url=PRODUCT)
    database.execute("update oauth_authorizations set return_url = 'https://evil.example/'")
    assert_plain(product.consent(begun, user.name), 200, "Mailbox connected", user.name)


def test_the_table_holds_neither_state_nor_verifier(product: Product, user: User, database: Database) -> None:
    begun = product.begin(email=user.name)
    product.browser.consent(begun["authorize_url"], user.name)
    text = str(value(database, "select to_jsonb(a) from oauth_authorizations a"))
    assert not planted.found_in(text)
    assert state_of(begun).encode().hex() not in text
    product.consent(begun, user.name)
    assert value(database, "select length(verifier) from oauth_authorizations") == 0


def test_an_exchange_whose_process_was_killed_has_failed(
    product: Product, user: User, database: Database
) -> None:
    begun = product.begin(email=user.name)
    database.execute("update oauth_authorizations set status = 'exchanging'")
    assert product.outcome(begun)["status"] == "exchanging"
    database.execute("update oauth_authorizations set expires_at = now() - interval '6 min'")
    shown = product.outcome(begun)
    assert (shown["status"], shown["error"]) == ("failed", "interrupted")


def code_in(address: str) -> str:
    """The code in an address that a browser was sent to."""
    return parse_qs(urlsplit(address).query)["code"][0]
