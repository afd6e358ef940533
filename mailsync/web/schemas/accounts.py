"""Requests and answers about accounts.

A schema checks only what can be checked without the service's state; ``accounts/add.py`` checks the rest, for
the API and the command line alike.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, ValidatorFunctionWrapHandler, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from mailsync.accounts.manage import LONGEST_REASON
from mailsync.web.schemas.account_fields import (
    AuthMethod,
    DisplayName,
    Email,
    Grant,
    Host,
    Masked,
    Metadata,
    OAuthSignIn,
    Password,
    Port,
    Security,
    Username,
    WindowDays,
    left_out,
)
from mailsync.web.schemas.base import Answer, Body, Moment, Paged, Text, Timestamp

State = Literal["initial_sync", "healthy", "degraded", "broken", "paused"]
Push = Literal["notify", "idle", "none"]

_BOTH_WINDOWS = {
    "type": "object",
    "required": ["sync_since", "sync_window_days"],
    "properties": {"sync_since": {"type": "string"}, "sync_window_days": {"type": "integer"}},
}
_PASSWORD, _OAUTH = ({"type": "object", "required": [name]} for name in ("password", "oauth"))
_PASSWORD_AND_OAUTH = {"type": "object", "required": ["password", "oauth"]}
_CONNECTION = ("imap_host", "imap_port", "imap_security", "username")

_ABSENT: Any = object()


def _one_of_two(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Validate a password that was sent; an account with tokens has none."""
    if info.data.get("oauth") is not None:
        raise ValueError("give either password or oauth, not both")
    return handler(value)


class NewAccount(
    Body,
    json_schema_extra={
        "anyOf": [_PASSWORD, _OAUTH],
        "not": {"anyOf": [_PASSWORD_AND_OAUTH, _BOTH_WINDOWS]},
    },
):
    """A mailbox to mirror. Known providers need neither host nor port."""

    email: Email
    oauth: OAuthSignIn = Field(default_factory=left_out, description="In place of password.")
    password: Password = Field(default_factory=lambda: _ABSENT, validate_default=True)
    imap_host: Host = Field(
        default_factory=left_out, description="Default: by provider, or as discover finds it."
    )
    imap_port: Port = Field(
        default_factory=left_out,
        description="993 for tls, 143 for starttls; other ports only in private networks.",
    )
    imap_security: Security = Field(default_factory=left_out, description="Default: by provider or port.")
    username: Username = Field(default_factory=left_out, description="Default: the address.")
    display_name: DisplayName | None = None
    sync_since: Moment | None = Field(
        default=None,
        description="Mirror mail received since then. Not in the future; excludes sync_window_days.",
    )
    sync_window_days: WindowDays | None = Field(
        default_factory=left_out,
        description="Mirror the mail of the last days; 0 or null: all mail. Default: SYNC_WINDOW_DAYS.",
    )
    metadata: Metadata = Field(
        default_factory=left_out, description="Your own data, up to 64 KiB of JSON without NUL."
    )
    discover: bool = Field(
        default=True, description="Look for the server if imap_host is left out and the domain is not known."
    )
    verify: bool = Field(default=True, description="Try to log in before storing anything.")

    @field_validator("password", mode="wrap")
    @classmethod
    def _or_oauth(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if value is not _ABSENT:
            return _one_of_two(value, handler, info)
        # a field that is wrong is not in the data
        if "oauth" in info.data and info.data["oauth"] is None:
            raise PydanticCustomError("missing", "required")
        return left_out()


class AccountChanges(
    Body,
    json_schema_extra={
        "not": {"anyOf": [_PASSWORD_AND_OAUTH, _BOTH_WINDOWS]},
        "dependentSchemas": {name: {"anyOf": [_PASSWORD, _OAUTH]} for name in _CONNECTION},
    },
):
    """The fields to change; fields that are left out keep their value."""

    display_name: DisplayName | None = Field(default_factory=left_out, description="Null removes it.")
    metadata: Metadata = Field(default_factory=left_out, description="Replaces all metadata.")
    sync_since: Moment | None = Field(
        default_factory=left_out,
        description="Also replaces sync_window_days; null mirrors all mail.",
    )
    sync_window_days: WindowDays | None = Field(
        default_factory=left_out, description="Also replaces sync_since; 0 or null mirrors all mail."
    )
    oauth: OAuthSignIn = Field(
        default_factory=left_out, description="Renews the authorization, or replaces the password."
    )
    password: Password = Field(default_factory=left_out)
    imap_host: Host = Field(
        default_factory=left_out,
        description="Requires password or oauth, as do imap_port, imap_security and username.",
    )
    imap_port: Port = Field(default_factory=left_out)
    imap_security: Security = Field(default_factory=left_out)
    username: Username = Field(default_factory=left_out)
    verify: bool = Field(
        default=True, description="Try to log in before storing a password, tokens or connection."
    )

    @field_validator("password", mode="wrap")
    @classmethod
    def _or_oauth(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        return _one_of_two(value, handler, info)


class Pause(Body):
    """Why an account is paused."""

    reason: Annotated[Text, Field(max_length=LONGEST_REASON)] | None = Field(
        default=None, description="If left out, an earlier reason stays; an empty one removes it."
    )


class Reset(Body):
    """How much state to discard."""

    resync: bool = Field(
        default=False, description="Also discard how far each folder is mirrored, and fetch everything again."
    )


class AccountQuery(Paged):
    """Filters for the list of accounts."""

    email: Annotated[Text, Field(min_length=1, max_length=320)] | None = Field(
        default=None, description="The whole address; case is ignored."
    )
    state: State | None = Field(default=None, description="The value of `sync_state`.")


class Account(Answer):
    """The current state of an account."""

    id: int
    email: str
    display_name: str | None
    provider: str | None
    imap_host: str
    imap_port: int
    imap_security: Security
    username: str
    auth_method: AuthMethod
    oauth_provider: str | None = Field(description="Whose client has the tokens; null for a password.")
    oauth_grant: Grant | None
    token_expires_at: Timestamp | None = Field(
        description="When the access token ends; it is renewed 5 min before."
    )
    token_renewed_at: Timestamp | None
    token_refused_at: Timestamp | None = Field(description="When the provider refused to renew it last.")
    token_refusal: Masked | None = Field(description="Why it did, for people.")
    sync_since: Timestamp | None
    sync_window_days: int | None
    sync_state: State
    sync_state_reason: Masked | None
    sync_state_message: Masked | None
    sync_state_since: Timestamp
    currently_syncing: bool = Field(description="Whether a process holds the account's lock.")
    sync_started_by: str | None = Field(description="The process that began the last turn: host:pid:role.")
    heartbeat_at: Timestamp | None
    next_sync_at: Timestamp
    backoff_until: Timestamp | None
    consecutive_failures: int
    last_sync_started_at: Timestamp | None
    last_sync_finished_at: Timestamp | None
    last_success_at: Timestamp | None
    priority_synced_at: Timestamp | None
    overall_synced_at: Timestamp | None
    priority_sync_lag_seconds: float | None
    overall_sync_lag_seconds: float | None
    paused_at: Timestamp | None
    paused_reason: str | None
    folders: int = Field(description="Mirrored folders.")
    folders_complete: int = Field(description="Mirrored folders whose first sync is done.")
    messages: int
    unseen: int = Field(description="Unread messages.")
    backfill_remaining: int = Field(description="Messages that the first sync still has to fetch.")
    push: Push = Field(
        description="How the server reports changes: notify (all folders), idle (the inbox) or none."
    )
    capabilities: list[str]
    metadata: Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": True})]
    created_at: Timestamp
    updated_at: Timestamp = Field(description="When a person last changed the account.")


class AddedAccount(Account):
    """The new account."""

    verified: bool = Field(description="Whether a login was tried.")
    note: str | None = Field(
        description="How the server was found, and what the provider requires, such as an app password."
    )


class Removal(Answer):
    """A removed account: readers no longer see it, and its rows are being deleted."""

    id: int
    email: str
    deleting_at: Timestamp
