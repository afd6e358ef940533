"""Checks of the single fields of an account, for adding and changing one alike (SPEC §5)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from mailsync.errors import InvalidInput

MAX_METADATA = 64 * 1024
"""The largest size of an account's ``metadata``, in bytes of JSON."""

LONGEST = 1000
"""The largest number of characters of a password or a user name."""

LONGEST_NAME = 200
"""The largest number of characters of an account's display name."""

_HOST_AND_PORT = re.compile(r"([^\s:/\[\]]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")
_URL = re.compile(r"([A-Za-z]{1,20}://)([A-Za-z0-9_.-]{1,253})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_password(password: str) -> str:
    """Return the password; raises InvalidInput for one that cannot be sent to a server."""
    if not password:
        raise InvalidInput("password: expected at least one character", field="password")
    if any(c in password for c in "\r\n\0") or len(password) > LONGEST:
        raise InvalidInput(
            f"password: expected one line of at most {LONGEST} characters, without NUL", field="password"
        )
    return password


def check_host(host: str) -> None:
    """Raise InvalidInput for a URL or a host with a port; ``check_endpoint`` checks the rest of the host."""
    if match := _URL.match(host):
        raise InvalidInput(
            f"host: expected the server's name without {match[1]}; give it as --host {match[2]}"
            " (over HTTP: imap_host)",
            field="imap_host",
            step="connect",
        )
    if match := _HOST_AND_PORT.fullmatch(host):
        name, port = match[1].strip("[]"), match[2]
        raise InvalidInput(
            f"host: {host} includes a port; give them apart: --host {name} --port {port}"
            " (over HTTP: imap_host, imap_port)",
            field="imap_host",
            step="connect",
        )


def check_username(username: str) -> None:
    """Raise InvalidInput for a user name that is too long; ``check_endpoint`` checks its characters."""
    if len(username) > LONGEST:
        raise InvalidInput(f"user name: expected at most {LONGEST} characters", field="username")


def check_name(text: str | None) -> str | None:
    """The display name without blanks around it, or None if it is empty; raises InvalidInput."""
    name = (text or "").strip()
    if len(name) > LONGEST_NAME or _CONTROL.search(name):
        raise InvalidInput(
            f"name: expected one line of at most {LONGEST_NAME} characters", field="display_name"
        )
    return name or None


def check_window(since: datetime | None, days: int | None) -> None:
    """Check how far back mail is mirrored: by `since` or by a number of `days`, where 0 means all mail.

    Raises InvalidInput if both are given, or one is out of range.
    """
    if since is not None and days is not None:
        raise InvalidInput("give either sync_since or sync_window_days, not both", field="sync_since")
    if since is not None and since > datetime.now(UTC):
        raise InvalidInput("sync_since: expected a time in the past", field="sync_since")
    if since is not None and since.year < 1900:
        raise InvalidInput(
            "sync_since: expected a time after 1900; leave it out to mirror all mail", field="sync_since"
        )
    if days is not None and not 0 <= days <= 36_500:
        raise InvalidInput(f"sync_window_days: {days} is not between 0 and 36500", field="sync_window_days")


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise InvalidInput for metadata that a jsonb column cannot hold, or that is too large."""
    try:
        size = len(json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "metadata: expected JSON without NaN and Infinity, nested less deeply", field="metadata"
        ) from error
    if size > MAX_METADATA:
        raise InvalidInput(
            f"metadata: expected at most {MAX_METADATA} bytes of JSON, not {size}", field="metadata"
        )
    if any("\0" in text for text in _texts(metadata)):
        raise InvalidInput(
            "metadata: expected texts without NUL, which Postgres cannot store", field="metadata"
        )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
