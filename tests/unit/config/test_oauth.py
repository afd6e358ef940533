"""The OAuth2 clients that the environment configures."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient, read_clients
from mailsync.config.settings import is_secret
from mailsync.errors import ConfigError

CORP = {
    "OAUTH_CORP_CLIENT_ID": "mailsync",
    "OAUTH_CORP_CLIENT_SECRET": "hush-hush",
    "OAUTH_CORP_AUTHORIZE_URL": "https://login.corp.example/authorize",
    "OAUTH_CORP_TOKEN_URL": "https://login.corp.example:8443/token",
    "OAUTH_CORP_DEVICE_URL": "https://login.corp.example/device?tenant=a",
    "OAUTH_CORP_SCOPE": "imap offline_access",
    "OAUTH_CORP_MECHANISM": "oauthbearer",
    "OAUTH_CORP_IMAP_HOST": "imap.corp.example",
}


def clients(**environ: str) -> dict[str, OAuthClient]:
    """The clients in an environment without mistakes, by name."""
    found, wrong = read_clients(environ)
    assert wrong == {}
    return {client.name: client for client in found}


def refusal(**environ: str) -> dict[str, str]:
    """The lines about a wrong environment, by variable; no client with a mistake is returned."""
    found, wrong = read_clients(environ)
    assert found == ()
    assert all(str(error).startswith(f"{variable}: ") for variable, error in wrong.items())
    return {variable: str(error) for variable, error in wrong.items()}


def test_without_variables_there_are_no_clients() -> None:
    assert clients() == {}
    assert clients(OAUTH_GOOGLE_CLIENT_ID=" ", OAUTH_MICROSOFT_TENANT="contoso.example") == {}
    assert Settings.from_env({}).oauth_clients == ()


def test_google_needs_only_a_client() -> None:
    google = clients(OAUTH_GOOGLE_CLIENT_ID="1-a.apps.googleusercontent.com")["google"]
    assert google.client_id == "1-a.apps.googleusercontent.com"
    assert google.secret is None
    assert google.token_url == "https://oauth2.googleapis.com/token"
    assert google.device_url is None
    assert google.imap_host == "imap.gmail.com"
    # a refresh token comes only with both
    assert dict(google.extra) == {"access_type": "offline", "prompt": "consent"}


@pytest.mark.parametrize(
    ("tenant", "path"),
    [
        ({}, "common"),
        ({"OAUTH_MICROSOFT_TENANT": "consumers"}, "consumers"),
        ({"OAUTH_MICROSOFT_TENANT": "contoso.onmicrosoft.com"}, "contoso.onmicrosoft.com"),
    ],
)
def test_microsoft_needs_only_a_client_and_perhaps_a_tenant(tenant: dict[str, str], path: str) -> None:
    microsoft = clients(OAUTH_MICROSOFT_CLIENT_ID="b1c2", **tenant)["microsoft"]
    base = f"https://login.microsoftonline.com/{path}/oauth2/v2.0"
    assert microsoft.authorize_url == f"{base}/authorize"
    assert microsoft.token_url == f"{base}/token"
    assert microsoft.device_url == f"{base}/devicecode"
    assert microsoft.mechanism == "XOAUTH2"
    assert microsoft.daemon_scope == "https://outlook.office365.com/.default"
    assert "offline_access" in microsoft.scope.split()


def test_any_other_provider_names_its_own_endpoints() -> None:
    assert clients(**CORP) == {
        "corp": OAuthClient(
            "corp",
            "mailsync",
            SecretStr("hush-hush"),
            "https://login.corp.example/authorize",
            "https://login.corp.example:8443/token",
            "https://login.corp.example/device?tenant=a",
            "imap offline_access",
            None,
            "OAUTHBEARER",
            "imap.corp.example",
        )
    }


def test_the_secret_is_not_shown() -> None:
    assert "hush" not in repr(clients(**CORP)["corp"])
    assert "hush" not in repr(Settings.from_env(CORP))


def test_the_endpoints_of_known_providers_can_be_replaced() -> None:
    given = {
        "OAUTH_GOOGLE_CLIENT_ID": "a",
        "OAUTH_GOOGLE_TOKEN_URL": "http://127.0.0.1:9000/token",
        "OAUTH_GOOGLE_MECHANISM": "XOAUTH2",
    }
    google = clients(**given)["google"]
    assert google.token_url == "http://127.0.0.1:9000/token"
    assert google.mechanism == "XOAUTH2"
    assert google.scope == "https://mail.google.com/ openid email"


def test_there_may_be_many_providers_with_blanks_in_their_names() -> None:
    environ = {
        f"OAUTH_{name}_{suffix}": value
        for name in ("A", "MY_CORP", "MY_CORP_2", "X" * 30)
        for suffix, value in (("CLIENT_ID", name), ("TOKEN_URL", "https://a.example/"))
    }
    found = clients(**environ)
    assert sorted(found) == ["a", "my_corp", "my_corp_2", "x" * 30]
    assert found["my_corp"].client_id == "MY_CORP"
    assert found["my_corp"].variable == "OAUTH_MY_CORP"


@pytest.mark.parametrize(
    ("environ", "lines"),
    [
        (
            {"OAUTH_GOOGLE_CLIENT_SECRET": "hush-hush"},
            {"OAUTH_GOOGLE_CLIENT_ID": "OAUTH_GOOGLE_CLIENT_ID: not set; OAUTH_GOOGLE_… needs it"},
        ),
        (
            {"OAUTH_CORP_SCOPE": "imap"},
            {
                "OAUTH_CORP_CLIENT_ID": "OAUTH_CORP_CLIENT_ID: not set; OAUTH_CORP_… needs it",
                "OAUTH_CORP_TOKEN_URL": "OAUTH_CORP_TOKEN_URL: not set; OAUTH_CORP_… needs it",
            },
        ),
        (
            {"OAUTH_MICROSOFT_TENANT": "../evil", "OAUTH_MICROSOFT_CLIENT_ID": ""},
            {
                "OAUTH_MICROSOFT_TENANT": "OAUTH_MICROSOFT_TENANT: give common, organizations, consumers,"
                " or a tenant's domain or id"
            },
        ),
    ],
)
def test_what_is_missing_is_named(environ: dict[str, str], lines: dict[str, str]) -> None:
    assert refusal(**environ) == lines


@pytest.mark.parametrize(
    ("suffix", "value", "accepts"),
    [
        ("CLIENT_ID", "a b", "the client's id, without blanks"),
        ("CLIENT_ID", "ü", "the client's id, without blanks"),
        ("CLIENT_SECRET", "hush hush", "the client's secret, without blanks (not shown)"),
        ("AUTHORIZE_URL", "login.corp.example", "an address such as https://login.example.com/token"),
        (
            "TOKEN_URL",
            "https://u:p@login.corp.example/",
            "an address such as https://login.example.com/token",
        ),
        ("TOKEN_URL", "https://login.corp.example/#a", "an address such as https://login.example.com/token"),
        ("DEVICE_URL", "file:///etc/passwd", "an address such as https://login.example.com/token"),
        ("DEVICE_URL", "https://[::1", "an address such as https://login.example.com/token"),
        ("SCOPE", "a  b", "scopes separated by one blank"),
        ("SCOPE", 'a "b"', "scopes separated by one blank"),
        ("MECHANISM", "PLAIN", "OAUTHBEARER or XOAUTH2"),
        ("IMAP_HOST", "imap.corp.example/", "the name of the IMAP server"),
    ],
)
def test_a_wrong_value_is_one_line_that_does_not_show_it(suffix: str, value: str, accepts: str) -> None:
    variable = f"OAUTH_CORP_{suffix}"
    line = refusal(**(CORP | {variable: value}))[variable]
    assert line.startswith(f"{variable}: the value is not accepted; give {accepts}")
    assert "\n" not in line
    assert value not in line.replace("login.example.com", "")
    with pytest.raises(ConfigError, match=f"^{variable}: "):
        Settings.from_env(CORP | {variable: value})


def test_one_wrong_client_does_not_disable_the_others() -> None:
    found, wrong = read_clients(CORP | {"OAUTH_GOOGLE_CLIENT_ID": "a", "OAUTH_CORP_SCOPE": "\t\x01"})
    assert [client.name for client in found] == ["google"]
    assert list(wrong) == ["OAUTH_CORP_SCOPE"]


def test_a_mistyped_variable_is_reported() -> None:
    environ = {"OAUTH_GOOGLE_CLIENTID": "a", "OAUTH_CORP_TOKEN_UR": "b", "OAUTH_GOOGLE_CLIENT_ID": "c"}
    assert Settings.from_env(environ).warnings == (
        "OAUTH_CORP_TOKEN_UR: unknown variable, ignored; .env.example lists all variables",
        "OAUTH_GOOGLE_CLIENTID: unknown variable, ignored; did you mean OAUTH_GOOGLE_CLIENT_ID?",
    )


def test_client_secrets_are_secrets() -> None:
    assert is_secret("OAUTH_GOOGLE_CLIENT_SECRET")
    assert is_secret("OAUTH_MY_CORP_CLIENT_SECRET")
    assert not is_secret("OAUTH_GOOGLE_CLIENT_ID")
