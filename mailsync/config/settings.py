"""Settings from the environment: every variable, its default and its range.

Nothing is read at import. A program calls :func:`read_environment` once and hands the mapping to
:meth:`Settings.from_env`; a test builds ``Settings(sync_interval=1)`` and never touches the environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, PrivateAttr, SecretStr, ValidationError, model_validator

from mailsync.config import fields
from mailsync.config.env_file import read_env_file
from mailsync.config.fields import DAY, GIB, HOUR, KIB, MIB, MINUTE, Rule
from mailsync.config.oauth import KNOWN_VARIABLES, OAuthClient, is_client_variable, read_clients
from mailsync.errors import ConfigError

SECRETS = frozenset({"DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN", "IMAP_PASSWORD"})
"""Variables that hold secrets: no process gets one that it does not use."""

DEV_DIRECTORY = Path(".mailsync")
"""Where ``mailsync dev`` keeps its database, key and token, below the directory in which it was started."""

_SCHEMA = fields.text(
    r"(?!pg_)[a-z_][a-z0-9_]{0,62}", "a plain identifier: a-z, 0-9 and _, not beginning with a digit or pg_"
)
_HOST = fields.text(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}", "a host name or an IP address to listen on")
_PORT = fields.whole(1, 65535)
_COUNT = fields.whole(1, 1000)
_DAYS = fields.whole(1, 36_500)
_OUR_PREFIXES = ("IMAP_", "SYNC_", "OAUTH_")
_LONGEST_NAME = 60
"""The largest number of characters of an unknown variable's name that its warning repeats."""


class Settings(BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    """One attribute for each variable, in lower case. Durations are float seconds, sizes are int bytes.

    ``log_format`` None means text on a terminal and JSON elsewhere. The default of ``statement_timeout`` is
    60 s or half of ``lock_stale_after``, whichever is less. The constructor checks values as :meth:`from_env`
    does, but raises pydantic's ValidationError, a ValueError.
    """

    database_url: Annotated[str | None, fields.database_url()] = Field(None, repr=False)
    database_schema: Annotated[str, _SCHEMA] = "mailsync"
    imap_encryption_key: Annotated[SecretStr | None, fields.encryption_keys()] = None
    api_token: Annotated[SecretStr | None, fields.tokens()] = None
    host: Annotated[str, _HOST] = "127.0.0.1"
    port: Annotated[int, _PORT] = 3000
    metrics_port: Annotated[int | None, fields.whole(1, 65535, none="off")] = None
    log_level: Annotated[str, fields.choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")] = "INFO"
    log_format: Annotated[str | None, fields.choice("json", "text")] = None

    sync_interval: Annotated[float, fields.duration(1, HOUR)] = 60.0
    imap_push: Annotated[str, fields.choice("auto", "off")] = "auto"
    push_renew: Annotated[float, fields.duration(MINUTE, 29 * MINUTE)] = 9.0 * MINUTE
    pushed_sync_interval: Annotated[float, fields.duration(1, HOUR)] = 5.0 * MINUTE
    sync_max_accounts: Annotated[int, fields.whole(1, 100_000)] = 20
    sync_priority_folders: Annotated[int, _COUNT] = 10
    sync_rr_folders: Annotated[int, _COUNT] = 5
    hot_turn_max: Annotated[float, fields.duration(1, 300)] = 10.0
    backfill_turn_max: Annotated[float, fields.duration(1, 300)] = 5.0
    fetch_batch: Annotated[int, fields.whole(1, 5000)] = 500
    imap_session_cap: Annotated[int, fields.whole(0, 10_000)] = 1000
    discovery_interval: Annotated[float, fields.duration(10, DAY)] = 15.0 * MINUTE
    flag_scan_priority_interval: Annotated[float, fields.duration(10, 7 * DAY)] = 2.0 * MINUTE
    flag_scan_interval: Annotated[float, fields.duration(10, 7 * DAY)] = 6.0 * HOUR
    max_flag_scans_per_cycle: Annotated[int, _COUNT] = 2
    max_reconciles_per_cycle: Annotated[int, _COUNT] = 1
    reconcile_interval: Annotated[float, fields.duration(MINUTE, 7 * DAY)] = 6.0 * HOUR
    reconcile_jitter: Annotated[float, fields.duration(0, 6 * HOUR)] = 15.0 * MINUTE

    incremental_timeout: Annotated[float, fields.duration(1, HOUR)] = 300.0
    backfill_batch_timeout: Annotated[float, fields.duration(1, HOUR)] = 300.0
    reconcile_timeout: Annotated[float, fields.duration(1, HOUR)] = 300.0
    flag_scan_timeout: Annotated[float, fields.duration(1, HOUR)] = 120.0
    imap_connect_timeout: Annotated[float, fields.duration(1, 600)] = 30.0
    imap_read_timeout: Annotated[float, fields.duration(1, 600)] = 60.0
    imap_max_commands_per_minute: Annotated[int, fields.whole(10, 1_000_000)] = 200
    imap_allow_private_hosts: Annotated[bool, fields.switch()] = False
    imap_allow_plaintext: Annotated[bool, fields.switch()] = False
    imap_ca_file: Annotated[Path | None, fields.pem_file()] = None
    imap_max_literal_bytes: Annotated[int, fields.size(64 * KIB, GIB)] = 16 * MIB
    body_max_bytes: Annotated[int, fields.size(64 * KIB, GIB)] = 25 * MIB
    dns_servers: Annotated[str | None, fields.dns_servers()] = None
    oauth_callback_url: Annotated[str | None, fields.url()] = None
    oauth_return_urls: Annotated[str | None, fields.urls()] = None

    lock_stale_after: Annotated[float, fields.duration(30, HOUR)] = 120.0
    statement_timeout: Annotated[float, fields.duration(1, HOUR)] = 60.0
    body_lock_wait: Annotated[float, fields.duration(0, 60)] = 5.0
    uidvalidity_max_resets: Annotated[int, _COUNT] = 2
    folder_missing_grace: Annotated[float, fields.duration(0, 365 * DAY)] = 7.0 * DAY
    folder_warn_count: Annotated[int, fields.whole(1, 100_000)] = 50
    folder_max_count: Annotated[int, fields.whole(1, 100_000)] = 500
    sync_window_days: Annotated[int, fields.whole(0, 36_500)] = 0
    tombstone_retention_days: Annotated[int, _DAYS] = 30
    event_retention_days: Annotated[int, _DAYS] = 90
    run_retention_days: Annotated[int, _DAYS] = 30

    _warnings: tuple[str, ...] = PrivateAttr(())
    _oauth_clients: tuple[OAuthClient, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _end_statements_before_locks_are_stale(self) -> Settings:
        if "statement_timeout" not in self.model_fields_set:
            # a frozen model takes no assignment
            self.__dict__["statement_timeout"] = min(self.statement_timeout, self.lock_stale_after / 2)
        elif self.statement_timeout >= self.lock_stale_after:
            raise ValueError(
                f"STATEMENT_TIMEOUT: {self.statement_timeout:g}s is not below LOCK_STALE_AFTER"
                f" ({self.lock_stale_after:g}s), after which the holder of a lock is ended;"
                " lower STATEMENT_TIMEOUT or raise LOCK_STALE_AFTER"
            )
        return self

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, require: Iterable[str] = ()) -> Settings:
        """Read the settings in ``environ``; an empty value counts as not set.

        ``require`` names variables that must be set, such as ``"DATABASE_URL"``. Raises ConfigError with one
        line: the variable, its value unless it is a secret, and what is accepted.
        """
        settings, wrong = cls.judge(environ, require=require)
        for error in wrong.values():
            raise error
        return settings

    @classmethod
    def judge(
        cls, environ: Mapping[str, str], *, require: Iterable[str] = ()
    ) -> tuple[Settings, dict[str, ConfigError]]:
        """Read the settings as :meth:`from_env` does, but return the errors instead of raising the first.

        The errors are keyed by variable, missing ones first. A variable with an error keeps its default.
        """
        given = {name: environ.get(name.upper(), "").strip() for name in cls.model_fields}
        wrong = {
            variable: ConfigError(f"{variable}: not set; give {_rule(variable.lower()).accepts}")
            for variable in require
            if not given[variable.lower()]
        }
        usable = {name: value for name, value in given.items() if value}
        clients, wrong_clients = read_clients(environ)
        wrong |= wrong_clients
        while True:
            try:
                settings = cls.model_validate(usable)
                settings._warnings = unknown_variables(environ)  # type: ignore[misc]
                settings._oauth_clients = clients  # type: ignore[misc]
                return settings, wrong
            except ValidationError as error:
                for details in error.errors():
                    reason = str(details.get("ctx", {}).get("error", ""))
                    # the message of a rule about two variables begins with the one to change
                    name = str(details["loc"][0]) if details["loc"] else reason.partition(":")[0].lower()
                    wrong[name.upper()] = (
                        _refused(name, given[name], reason) if details["loc"] else ConfigError(reason)
                    )
                    if usable.pop(name, None) is None:
                        # prevents an endless loop over an error that removing a variable does not clear
                        usable.clear()

    @property
    def longest_tick(self) -> float:
        """The seconds between two ticks of any account, at most."""
        return max(self.sync_interval, self.pushed_sync_interval)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The result of :func:`unknown_variables` for the environment that the settings were read from."""
        return self._warnings

    @property
    def oauth_clients(self) -> tuple[OAuthClient, ...]:
        """The OAuth2 clients in the environment that the settings were read from, by name."""
        return self._oauth_clients

    @property
    def longest_silence(self) -> float:
        """Seconds without progress of a worker's loop after which the worker ends itself."""
        return 2 * max(self.statement_timeout, self.imap_read_timeout)

    def encryption_keys(self) -> tuple[bytes, ...]:
        """The keys of ``IMAP_ENCRYPTION_KEY``, 32 bytes each. The first one seals; any may unseal."""
        words = fields.split(self.imap_encryption_key.get_secret_value()) if self.imap_encryption_key else ()
        return tuple(fields.read_key(word) for word in words)

    def api_tokens(self) -> tuple[tuple[str, str], ...]:
        """The names and bearer tokens of ``API_TOKEN``; the API does not start without any.

        A token without a name is named after its position: ``token-1``.
        """
        words = fields.split(self.api_token.get_secret_value()) if self.api_token else ()
        pairs = [fields.named(word) for word in words]
        return tuple((name or f"token-{position}", token) for position, (name, token) in enumerate(pairs, 1))


def is_secret(variable: str) -> bool:
    """Whether a variable holds a secret: no process gets one that it does not use."""
    return variable in SECRETS or (variable.startswith("OAUTH_") and variable.endswith("_CLIENT_SECRET"))


def unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return a warning for each variable with a prefix of ours, such as ``IMAP_``, that nothing reads.

    >>> unknown_variables({"SYNC_INTERVALL": "5s", "SYNC_INTERVAL": "5s"})
    ('SYNC_INTERVALL: unknown variable, ignored; did you mean SYNC_INTERVAL?',)
    """
    known = {name.upper() for name in Settings.model_fields} | SECRETS | KNOWN_VARIABLES
    warnings = []
    for name in sorted(environ):
        if not name.startswith(_OUR_PREFIXES) or name in known or is_client_variable(name):
            continue
        if environ[name].strip():
            name = name[:_LONGEST_NAME]
            likely = get_close_matches(name, known, n=1, cutoff=0.8)
            advice = f"did you mean {likely[0]}?" if likely else ".env.example lists all variables"
            warnings.append(f"{name}: unknown variable, ignored; {advice}")
    return tuple(warnings)


def read_environment(path: Path | None = None) -> dict[str, str]:
    """The variables of the file ``path`` (``.env``) and of the process's environment, which wins.

    The file has lines ``NAME=value``; a missing file adds nothing. Raises ConfigError for a file that cannot
    be read, or that another user could have written.
    """
    return (read_env_file(path) if path else {}) | dict(os.environ)


def find_environment(*, with_dev: bool = True) -> dict[str, str]:
    """The environment of a program started in this directory: the process's variables, then ``.env``.

    If these lack DATABASE_URL, the file ``.mailsync/env`` of ``mailsync dev`` supplies missing variables,
    unless `with_dev` is False. Raises ConfigError like :func:`read_environment`.
    """
    environment = read_environment(Path(".env"))
    if with_dev and not environment.get("DATABASE_URL", "").strip():
        variables = {name: value for name, value in environment.items() if value.strip()}
        environment = read_environment(DEV_DIRECTORY / "env") | variables
    return environment


def _refused(name: str, value: str, reason: str) -> ConfigError:
    rule = _rule(name)
    shown = "the value (a secret, not shown)" if rule.secret else _quoted(value)
    return ConfigError(f"{name.upper()}: {reason or f'{shown} is not accepted; give {rule.accepts}'}")


def _rule(name: str) -> Rule:
    return next(item for item in Settings.model_fields[name].metadata if isinstance(item, Rule))


def _quoted(value: str) -> str:
    """The value as one short line without control characters."""
    line = json.dumps(value.encode("utf-8", "backslashreplace").decode(), ensure_ascii=False)
    return line if len(line) <= 60 else f'{line[:58]}…"'
