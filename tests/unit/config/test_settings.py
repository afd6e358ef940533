"""Every variable: its default, its range, and the one line about a wrong value."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mailsync.config import Settings, read_environment
from mailsync.errors import ConfigError

MINUTE, HOUR, DAY = 60, 3600, 86400
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
KEY = bytes(range(32))
URL = "postgresql://bob:hush-hush@db.example.org:5432/mail"

# variable: default, least, greatest
DURATIONS = {
    "SYNC_INTERVAL": (60, 1, HOUR),
    "PUSH_RENEW": (9 * MINUTE, MINUTE, 29 * MINUTE),
    "PUSHED_SYNC_INTERVAL": (5 * MINUTE, 1, HOUR),
    "HOT_TURN_MAX": (10, 1, 300),
    "BACKFILL_TURN_MAX": (5, 1, 300),
    "DISCOVERY_INTERVAL": (15 * MINUTE, 10, DAY),
    "FLAG_SCAN_PRIORITY_INTERVAL": (2 * MINUTE, 10, 7 * DAY),
    "FLAG_SCAN_INTERVAL": (6 * HOUR, 10, 7 * DAY),
    "RECONCILE_INTERVAL": (6 * HOUR, MINUTE, 7 * DAY),
    "RECONCILE_JITTER": (15 * MINUTE, 0, 6 * HOUR),
    "INCREMENTAL_TIMEOUT": (300, 1, HOUR),
    "BACKFILL_BATCH_TIMEOUT": (300, 1, HOUR),
    "RECONCILE_TIMEOUT": (300, 1, HOUR),
    "FLAG_SCAN_TIMEOUT": (120, 1, HOUR),
    "IMAP_CONNECT_TIMEOUT": (30, 1, 600),
    "IMAP_READ_TIMEOUT": (60, 1, 600),
    "LOCK_STALE_AFTER": (120, 30, HOUR),
    "STATEMENT_TIMEOUT": (60, 1, HOUR),
    "BODY_LOCK_WAIT": (5, 0, 60),
    "FOLDER_MISSING_GRACE": (7 * DAY, 0, 365 * DAY),
}
NUMBERS = {
    "PORT": (3000, 1, 65535),
    "METRICS_PORT": (None, 1, 65535),
    "SYNC_MAX_ACCOUNTS": (20, 1, 100_000),
    "SYNC_PRIORITY_FOLDERS": (10, 1, 1000),
    "SYNC_RR_FOLDERS": (5, 1, 1000),
    "FETCH_BATCH": (500, 1, 5000),
    "IMAP_SESSION_CAP": (1000, 0, 10_000),
    "MAX_FLAG_SCANS_PER_CYCLE": (2, 1, 1000),
    "MAX_RECONCILES_PER_CYCLE": (1, 1, 1000),
    "IMAP_MAX_COMMANDS_PER_MINUTE": (200, 10, 1_000_000),
    "UIDVALIDITY_MAX_RESETS": (2, 1, 1000),
    "FOLDER_WARN_COUNT": (50, 1, 100_000),
    "FOLDER_MAX_COUNT": (500, 1, 100_000),
    "SYNC_WINDOW_DAYS": (0, 0, 36_500),
    "TOMBSTONE_RETENTION_DAYS": (30, 1, 36_500),
    "EVENT_RETENTION_DAYS": (90, 1, 36_500),
    "RUN_RETENTION_DAYS": (30, 1, 36_500),
}
SIZES = {
    "IMAP_MAX_LITERAL_BYTES": (16 * MIB, 64 * KIB, GIB),
    "BODY_MAX_BYTES": (25 * MIB, 64 * KIB, GIB),
}
OTHERS = {
    "DATABASE_URL": None,
    "DATABASE_SCHEMA": "mailsync",
    "IMAP_ENCRYPTION_KEY": None,
    "API_TOKEN": None,
    "HOST": "127.0.0.1",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": None,
    "IMAP_PUSH": "auto",
    "IMAP_ALLOW_PRIVATE_HOSTS": False,
    "IMAP_ALLOW_PLAINTEXT": False,
    "IMAP_CA_FILE": None,
    "DNS_SERVERS": None,
    "OAUTH_CALLBACK_URL": None,
    "OAUTH_RETURN_URLS": None,
}
RANGES = DURATIONS | NUMBERS | SIZES
DEFAULTS = {name: default for name, (default, _, _) in RANGES.items()} | OTHERS

# wrong values besides those out of range; those of secrets must not be shown
WRONG = {
    **dict.fromkeys(DURATIONS, ("soon", "1w", "-1", "1.5.2", "1e3", "nan", "٣", "1 s s", "0x10", "1_0")),
    **dict.fromkeys(NUMBERS, ("many", "1.5", "-1", "1e3", "٣", "1,000", "1_000", "0x10", "9" * 30)),
    **dict.fromkeys(SIZES, ("big", "16MB", "-1", "1e9", "16 MiB MiB")),
    "DATABASE_URL": (
        "hush-hush", "mysql://hush-hush@db/mail", "postgresql://bob:hush-hush@db:port/mail",
        "postgresql://bob:hush-hush@db:70000/mail", "postgresql://bob:hush hush@db/mail",
        "host=db password=hush-hush",
    ),
    "DATABASE_SCHEMA": ("1st", "Mail", "mail-sync", 'a"b', "pg_mail", "a.b", "a b", "ü", "a" * 64),
    "IMAP_ENCRYPTION_KEY": ("hush-hush", "00" * 31, "00" * 33, "zz" * 32, "aHVzaGh1c2hodXNo" * 3),
    "API_TOKEN": ("hush-hush", "hush-hush-hush-hush, hush", "hush-hush hush-hush", "hüsh-hush-hush-hush"),
    "HOST": ("a b", "http://localhost", "localhost:80", "ü"),
    "LOG_LEVEL": ("loud", "10"),
    "LOG_FORMAT": ("xml", "1"),
    "IMAP_PUSH": ("on", "idle"),
    "IMAP_ALLOW_PRIVATE_HOSTS": ("maybe", "2", "truee"),
    "IMAP_ALLOW_PLAINTEXT": ("maybe", "2", "-"),
    "DNS_SERVERS": (
        "dns.example.org", "9.9.9.9:0", "9.9.9.9:70000", "[2620:fe::fe", "https://9.9.9.9", "9.9.9.9,",
        "9.9.9", "2620:fe::fe:53:", "9.9.9.9 1.1.1.1",
    ),
    "IMAP_CA_FILE": ("/nowhere/ca.pem", "/", "~nobody-of-that-name/ca.pem", os.devnull),
    "OAUTH_CALLBACK_URL": (
        "mail.example.com/oauth/callback", "ftp://a.example/", "https://", "https://u:p@a.example/cb",
        "https://a.example/#cb", "https://a.example:0/", "https://a.example:99999/", "https://a.example/ü",
    ),
    "OAUTH_RETURN_URLS": (
        "app.example.com", "https://app.example.com", "https://a.example/,https://app.example.com",
        "https://a.example/ https://b.example/", "https://a.example/,", "https://u@a.example/",
    ),
}  # fmt: skip


def refusal(**environ: str) -> str:
    """The one line about a wrong environment."""
    with pytest.raises(ConfigError) as raised:
        Settings.from_env(environ)
    assert raised.value.exit_code == 2
    assert raised.value.__cause__ is None
    line = str(raised.value)
    assert "\n" not in line
    assert len(line) < 300
    return line


def attribute(variable: str, text: str) -> Any:
    return getattr(Settings.from_env({variable: text}), variable.lower())


def test_every_variable_has_its_documented_default_and_there_are_no_others() -> None:
    settings = Settings.from_env({})
    assert {name.upper(): getattr(settings, name) for name in Settings.model_fields} == DEFAULTS
    assert set(WRONG) == set(DEFAULTS)


@pytest.mark.parametrize("variable", sorted(RANGES))
def test_both_ends_of_a_range_are_accepted(variable: str) -> None:
    _, least, greatest = RANGES[variable]
    assert attribute(variable, str(least)) == least
    if variable == "STATEMENT_TIMEOUT":
        # within its own range, but not below LOCK_STALE_AFTER
        assert refusal(STATEMENT_TIMEOUT=str(greatest)).startswith("STATEMENT_TIMEOUT: 3600s is not below")
        return
    assert attribute(variable, str(greatest)) == greatest
    assert attribute(variable, f" {greatest} ") == greatest


@pytest.mark.parametrize("variable", sorted(RANGES))
def test_a_value_out_of_range_is_one_line_with_name_value_and_what_is_accepted(
    variable: str,
) -> None:
    _, least, greatest = RANGES[variable]
    for value in (str(least - 1), str(greatest + 1)):
        line = refusal(**{variable: value})
        assert line.startswith(f'{variable}: "{value}" is not accepted; give a ')
        assert " from " in line


@pytest.mark.parametrize(
    ("variable", "value"), [(name, value) for name in sorted(WRONG) for value in WRONG[name]]
)
def test_a_value_of_the_wrong_kind_is_one_line(variable: str, value: str) -> None:
    line = refusal(**{variable: value})
    assert line.startswith(f"{variable}: ")
    assert " is not accepted; give " in line
    if variable in ("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN"):
        assert "the value (a secret, not shown) is" in line
        assert "hush" not in line
        assert value not in line
    elif len(value) < 25:
        assert f": {value!r} ".replace("'", '"').replace('a"b', 'a\\"b') in line.replace("\\\\", "\\")


def test_a_value_that_would_break_the_line_is_shown_escaped_and_cut() -> None:
    line = refusal(LOG_LEVEL="a\r\nb\x1b[31m\udc80" + "x" * 500)
    assert line.startswith('LOG_LEVEL: "a\\r\\nb\\u001b[31m')
    assert "…" in line


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15min", 900),
        ("6h", 21600),
        ("7d", 604800),
        ("2.5min", 150),
        ("1 h", 3600),
        ("1H", 3600),
    ],
)
def test_durations_are_read_in_all_documented_forms(text: str, seconds: float) -> None:
    value = attribute("FLAG_SCAN_INTERVAL", text)
    assert value == seconds
    assert isinstance(value, float)


def test_statements_must_end_before_their_lock_is_stale() -> None:
    for environ in ({"STATEMENT_TIMEOUT": "2min"}, {"STATEMENT_TIMEOUT": "60", "LOCK_STALE_AFTER": "60s"}):
        line = refusal(**environ)
        assert line.startswith("STATEMENT_TIMEOUT: ")
        assert "LOCK_STALE_AFTER" in line
    both = Settings.from_env({"STATEMENT_TIMEOUT": "59min", "LOCK_STALE_AFTER": "1h"})
    assert both.statement_timeout == 59 * MINUTE
    with pytest.raises(ValidationError, match="LOCK_STALE_AFTER"):
        Settings(statement_timeout=120)


def test_by_default_statements_may_take_half_of_the_time_until_a_lock_is_stale() -> None:
    assert attribute("LOCK_STALE_AFTER", "30s") == 30
    assert Settings.from_env({"LOCK_STALE_AFTER": "30s"}).statement_timeout == 15
    assert Settings(lock_stale_after=30).statement_timeout == 15
    assert Settings(lock_stale_after=3600).statement_timeout == 60


def test_a_fraction_is_accepted_if_the_range_allows_it() -> None:
    assert attribute("BODY_LOCK_WAIT", "0.5") == 0.5
    assert refusal(SYNC_INTERVAL="0.5").startswith('SYNC_INTERVAL: "0.5" is not accepted')


@given(st.integers(1, 3600))
def test_a_duration_means_the_same_in_every_unit(seconds: int) -> None:
    values = {attribute("SYNC_INTERVAL", text) for text in (f"{seconds}", f"{seconds}s", f"{seconds}.0 s")}
    assert values == {float(seconds)}


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65536), ("64KiB", 65536), ("1.5MiB", 3 * MIB // 2), ("1GiB", GIB), ("16 mib", 16 * MIB)],
)
def test_sizes_are_read_in_all_documented_forms(text: str, size: int) -> None:
    value = attribute("BODY_MAX_BYTES", text)
    assert value == size
    assert isinstance(value, int)


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "True", "YES"])
@pytest.mark.parametrize("opposite", ["false", "0", "no", "off", "False", "OFF"])
def test_switches_are_read_in_all_documented_words(word: str, opposite: str) -> None:
    assert attribute("IMAP_ALLOW_PLAINTEXT", word) is True
    assert attribute("IMAP_ALLOW_PLAINTEXT", opposite) is False


def test_words_are_read_in_any_case() -> None:
    assert attribute("LOG_LEVEL", "debug") == "DEBUG"
    assert attribute("LOG_FORMAT", "TEXT") == "text"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OAUTH_CALLBACK_URL", "https://mail.example.com/oauth/callback"),
        ("OAUTH_CALLBACK_URL", "http://127.0.0.1:3000/oauth/callback"),
        ("OAUTH_CALLBACK_URL", "http://[::1]:3000/oauth/callback"),
        ("OAUTH_RETURN_URLS", "https://app.example.com/"),
        ("OAUTH_RETURN_URLS", "https://app.example.com/mail?a=, http://localhost:8080/"),
    ],
)
def test_addresses_are_accepted(variable: str, value: str) -> None:
    assert attribute(variable, value) == value


def test_the_metrics_port_can_be_off() -> None:
    assert attribute("METRICS_PORT", "off") is None


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "postgres://db/mail",
        "postgresql:///mail?host=/run/postgresql",
        "postgresql://postgres:@/postgres?host=/tmp/pg&port=5432",
        "postgresql://a@one:5432,two:5433/mail?target_session_attrs=read-write",
        "postgresql://a:6543@[::1]:5432/mail",
        "postgresql://u.ref:pw@aws-0-eu.pooler.example.com:5432/postgres?options=-csearch_path%3Dtest",
        "postgresql://a@db/mail?pgbouncer=false",
        "postgresql://a@%2Frun%2Fpostgresql:5433/mail",
        "postgresql://u:p%40ss%2Fwo%23rd%25@h1,h2:5433/mail",
        "postgresql://u:a:b,c@[fe80::1%25eth0]:5432/mail",
        # libpq ends the password at the first @ before any /
        "postgresql://u:pa#ss?@db/mail",
        "postgresql://db/mail?user=me@example.org&password=a@b/c%23",
        "postgresql://my_db.internal./mail",
    ],
)
def test_direct_and_session_pooled_database_urls_are_accepted(url: str) -> None:
    assert attribute("DATABASE_URL", url) == url


@pytest.mark.parametrize(
    "authority",
    [
        "u:hush@hush@127.0.0.1:1",
        "u:hush@hush/hu#sh@127.0.0.1:1",
        "u:hush/hush@127.0.0.1:1",
        "u:123/hush@127.0.0.1:1",
        "u:hush@hush?hush@127.0.0.1",
        "u:hush@hush?hu=hush@127.0.0.1",
        "u:hush@hush#@127.0.0.1",
        "u:hush%@127.0.0.1",
        "u:hush%00@127.0.0.1",
        "u:@hush@/127.0.0.1",
        "u@hush:hush",
        "u@[hush]:5432",
        "u@@127.0.0.1",
    ],
)
def test_a_database_url_with_a_password_that_is_not_encoded_is_refused_without_showing_any_of_it(
    authority: str,
) -> None:
    line = refusal(DATABASE_URL=f"postgresql://{authority}/mail")
    assert line == (
        "DATABASE_URL: the value (a secret, not shown) is not accepted; give "
        "postgresql://user:password@host:5432/database, where characters such as @ / # % in the password "
        "are percent-encoded: %40 %2F %23 %25"
    )


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://u:hush-hush@db:6543/mail", "port 6543 is refused"),
        ("postgresql://u:hush-hush@one:5432,two:6543/mail", "port 6543 is refused"),
        ("postgresql://u:hush-hush@/mail?host=db&port=6543", "port 6543 is refused"),
        ("postgresql://u:hush-hush@/mail?host=a,b&port=5432,6543", "port 6543 is refused"),
        ("postgresql://u:hush-hush@PgBouncer.internal/mail", "PgBouncer is refused"),
        ("postgresql://u:hush-hush@/mail?host=pgbouncer", "PgBouncer is refused"),
        ("postgresql://u:hush-hush@db/mail?pgbouncer=true", "PgBouncer is refused"),
    ],
)
def test_transaction_poolers_are_refused_with_the_reason(url: str, reason: str) -> None:
    line = refusal(DATABASE_URL=url)
    assert line.startswith(
        f"DATABASE_URL: {reason}: a pooler in transaction mode drops the session that holds"
    )
    assert "hush" not in line


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        KEY.hex().upper(),
        base64.b64encode(b"\xff\xfe" * 16).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe" * 16).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe" * 16).decode().rstrip("="),
    ],
)
def test_an_encryption_key_is_read_as_hex_and_as_base64_of_either_alphabet(text: str) -> None:
    (key,) = Settings(imap_encryption_key=text).encryption_keys()
    assert key in (KEY, b"\xff\xfe" * 16)


def test_several_keys_and_tokens_keep_their_order() -> None:
    second = base64.b64encode(bytes(32)).decode()
    settings = Settings.from_env(
        {"IMAP_ENCRYPTION_KEY": f"{KEY.hex()}, {second}", "API_TOKEN": "a" * 16 + "," + "b" * 17}
    )
    assert settings.encryption_keys() == (KEY, bytes(32))
    assert settings.api_tokens() == (("token-1", "a" * 16), ("token-2", "b" * 17))


def test_tokens_may_have_names_and_base64_has_none() -> None:
    padded = base64.b64encode(bytes(16)).decode()
    settings = Settings.from_env({"API_TOKEN": f"crm={'a' * 16}, {padded}, old-search={padded}"})
    assert settings.api_tokens() == (("crm", "a" * 16), ("token-2", padded), ("old-search", padded))
    assert refusal(API_TOKEN=f"a-long-name-alone={'a' * 15}").startswith("API_TOKEN: ")


def test_without_keys_and_tokens_there_are_none() -> None:
    assert Settings().encryption_keys() == ()
    assert Settings().api_tokens() == ()


def test_a_list_with_a_gap_is_refused() -> None:
    assert refusal(API_TOKEN="a" * 16 + ",").startswith("API_TOKEN: ")
    assert refusal(IMAP_ENCRYPTION_KEY=KEY.hex() + ",,").startswith("IMAP_ENCRYPTION_KEY: ")


@pytest.mark.parametrize("text", ["9.9.9.9", "127.0.0.1:5353,[2620:fe::fe]:53", "[::1] , 2620:fe::fe"])
def test_name_servers_may_have_ports(text: str) -> None:
    assert attribute("DNS_SERVERS", text) == text


def test_a_ca_file_must_hold_certificates(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    assert attribute("IMAP_CA_FILE", str(path)) == path
    path.write_text("hello")
    assert "in PEM form" in refusal(IMAP_CA_FILE=str(path))


def test_secrets_do_not_show_in_the_representation_of_settings_nor_in_errors() -> None:
    settings = Settings(database_url=URL, api_token="tok-" * 5, imap_encryption_key=KEY.hex())
    for shown in (repr(settings), str(settings)):
        assert "hush" not in shown
        assert "tok-" not in shown
        assert KEY.hex() not in shown
    with pytest.raises(ValidationError) as raised:
        Settings(api_token="hush")
    assert "hush" not in str(raised.value)


def test_required_variables_must_be_set() -> None:
    for environ in ({}, {"DATABASE_URL": ""}, {"DATABASE_URL": "  "}):
        with pytest.raises(ConfigError, match=r"^DATABASE_URL: not set; give postgresql://"):
            Settings.from_env(environ, require=["DATABASE_URL"])
    assert Settings.from_env({"DATABASE_URL": URL}, require=["DATABASE_URL"]).database_url == URL


def test_an_empty_value_counts_as_not_set_and_unknown_variables_are_ignored() -> None:
    assert Settings.from_env({"SYNC_INTERVAL": "", "IMAP_CA_FILE": " ", "MAILSYNC_X": "1"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "advice"),
    [
        ("SYNC_INTERVALL", "did you mean SYNC_INTERVAL?"),
        ("SYNC_WINDOW", "did you mean SYNC_WINDOW_DAYS?"),
        ("IMAP_ALLOW_PRIVATE_HOST", "did you mean IMAP_ALLOW_PRIVATE_HOSTS?"),
        ("IMAP_ENCRYPTION_KEYS", "did you mean IMAP_ENCRYPTION_KEY?"),
        ("IMAP_HOST", ".env.example lists all variables"),
    ],
)
def test_an_unknown_variable_with_our_prefix_gives_a_warning(variable: str, advice: str) -> None:
    settings = Settings.from_env({variable: "a-value", "SYNC_INTERVAL": "5s", "IMAP_PASSWORD": "x"})
    assert settings.warnings == (f"{variable}: unknown variable, ignored; {advice}",)
    assert settings.model_copy(update={"log_level": "WARNING"}).warnings == settings.warnings


def test_the_warning_of_an_unknown_variable_has_no_value_and_a_bounded_length() -> None:
    (warning,) = Settings.from_env({"IMAP_" + "A" * 1000: "a-secret-value"}).warnings
    assert "a-secret-value" not in warning
    assert len(warning) < 130


def test_known_empty_and_foreign_variables_give_no_warning() -> None:
    environ = {name.upper(): "" for name in Settings.model_fields} | {
        "PATH": "/bin",
        "SYNC_": "",
        "XIMAP_A": "1",
    }
    assert Settings.from_env(environ).warnings == Settings().warnings == ()


def test_settings_are_built_without_the_environment_checked_and_frozen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FETCH_BATCH", "7")
    settings = Settings(sync_interval=1)
    assert (settings.sync_interval, settings.fetch_batch) == (1.0, 500)
    with pytest.raises(ValidationError):
        settings.fetch_batch = 3  # type: ignore[misc]
    for wrong in (
        {"sync_interval": 0},
        {"fetch_batch": True},
        {"sync_interval": float("nan")},
        {"unknown": 1},
    ):
        with pytest.raises(ValidationError):
            Settings(**wrong)


def test_a_file_adds_to_the_environment_which_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text(
        '\ufeff# a comment\nFETCH_BATCH=7\nexport SYNC_INTERVAL="90s" # each tick\n\n'
        "API_TOKEN='a$b#c${HOME}'\nLONELY\n"
    )
    monkeypatch.setenv("FETCH_BATCH", "9")
    monkeypatch.delenv("SYNC_INTERVAL", raising=False)
    environ = read_environment(path)
    assert environ["FETCH_BATCH"] == "9"
    assert environ["SYNC_INTERVAL"] == "90s"
    assert environ["API_TOKEN"] == "a$b#c${HOME}"
    assert "LONELY" not in environ
    assert environ["PATH"] == os.environ["PATH"]


def test_a_missing_file_adds_nothing(tmp_path: Path) -> None:
    assert read_environment(tmp_path / ".env") == dict(os.environ) == read_environment(None)


def test_an_unreadable_file_is_one_line_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("FETCH_BATCH=7\nAPI_TOKEN='hush-hush\n")
    with pytest.raises(ConfigError) as raised:
        read_environment(path)
    assert str(raised.value) == f"{path}, line 2: not accepted; give NAME=value"
    path.write_bytes(b"API_TOKEN=\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read: it is not UTF-8"):
        read_environment(path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_environment(tmp_path)


def test_importing_the_configuration_reads_nothing_and_imports_no_large_library() -> None:
    code = (
        "import sys, mailsync.config; print({'psycopg', 'flask', 'imapclient', 'dotenv'} & set(sys.modules))"
    )
    environ = {**os.environ, "SYNC_INTERVAL": "nonsense"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True
    )
    assert done.stdout == "set()\n"


def test_all_errors_are_returned_and_valid_values_are_read() -> None:
    environ = {"SYNC_INTERVAL": "0", "PORT": "x", "SYNC_MAX_ACCOUNTS": "7", "LOG_LEVEL": "loud"}
    settings, wrong = Settings.judge(environ, require=("DATABASE_URL", "API_TOKEN"))
    assert list(wrong) == ["DATABASE_URL", "API_TOKEN", "PORT", "LOG_LEVEL", "SYNC_INTERVAL"]
    assert str(wrong["PORT"]) == 'PORT: "x" is not accepted; give a whole number from 1 to 65535'
    assert (settings.sync_max_accounts, settings.port, settings.sync_interval) == (7, 3000, 60.0)
    assert Settings.judge({}) == (Settings(), {})


@pytest.mark.parametrize(("own", "pushed", "longest"), [("60s", "5min", 300), ("1h", "5min", 3600)])
def test_the_longest_tick_of_any_account(own: str, pushed: str, longest: int) -> None:
    settings = Settings.from_env({"SYNC_INTERVAL": own, "PUSHED_SYNC_INTERVAL": pushed})
    assert settings.longest_tick == longest
