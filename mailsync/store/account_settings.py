"""The columns of an account that a person sets and changes, and that syncing never writes (SPEC §0.10)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailsync.errors import NotFound
from mailsync.model import Endpoint
from mailsync.store import records
from mailsync.store.db import Connection
from mailsync.store.statements import run


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """The settings of one account. At most one of ``sync_since`` and ``sync_window_days`` is set."""

    email: str
    endpoint: Endpoint
    display_name: str | None = None
    provider: str | None = None
    sync_since: datetime | None = None
    sync_window_days: int | None = None
    capabilities: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, Any]:
        """The parameters of the statements that store them, but for the address."""
        return {
            "host": self.endpoint.host,
            "port": self.endpoint.port,
            "security": self.endpoint.security,
            "username": self.endpoint.username,
            "display_name": self.display_name,
            "provider": self.provider,
            "sync_since": self.sync_since,
            "sync_window_days": self.sync_window_days,
            "capabilities": list(self.capabilities),
        }


def lock_settings(conn: Connection, account_id: int) -> AccountSettings:
    """Read the settings and lock them until the caller's transaction ends. Raises NotFound."""
    settings = records.first_row(AccountSettings, run(conn, "lock_account_settings", account_id=account_id))
    if settings is None:
        raise NotFound(f"there is no account {account_id}")
    return settings


def save(
    conn: Connection, account_id: int, wanted: AccountSettings, metadata: Mapping[str, Any] | None
) -> None:
    """Store the settings, and `metadata` unless it is None. A changed window makes the account due."""
    run(
        conn,
        "save_account_settings",
        **wanted.columns,
        account_id=account_id,
        metadata=None if metadata is None else json.dumps(metadata),
    )
