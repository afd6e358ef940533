"""What is asked and answered about accounts.

The schemas say as much as a schema can; what only the service can know, it checks with the rules of the
command line (``accounts/add.py``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, WithJsonSchema

from mailsync.accounts.add import LONGEST, LONGEST_NAME
from mailsync.accounts.manage import LONGEST_REASON
from mailsync.core.providers import normalise_email
from mailsync.errors import InvalidInput
from mailsync.redaction import mask_credentials
from mailsync.web.schemas.base import Answer, Body, Moment, Paged, Text, Timestamp

State = Literal["initial_sync", "healthy", "degraded", "broken", "paused"]
Security = Literal["tls", "starttls", "plaintext"]
Masked = Annotated[str, AfterValidator(mask_credentials)]


def _email(text: str) -> str:
    try:
        return normalise_email(text)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def _left_out() -> Any:
    """Stands for a field that may be left out and not be null; ``model_fields_set`` tells which are there."""
    return None


_NO_NUL = r"^[^\u0000]*$"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LINE = r"^[^\u0000\r\n]+$"

Email = Annotated[
    str,
    AfterValidator(_email),
    Field(
        min_length=3,
        max_length=254,
        description="Stored in lower case. Letters of other scripts are accepted too.",
        json_schema_extra={"pattern": rf"^(?=.{{1,64}}@){_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})*$"},
    ),
]
Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^\s\u0000-\u001f/@?#\\]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Username = Annotated[str, Field(min_length=1, max_length=LONGEST, pattern=_LINE)]
Password = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST,
        pattern=_LINE,
        repr=False,
        description="Never answered. Many providers want an app password.",
        json_schema_extra={"writeOnly": True},
    ),
]
DisplayName = Annotated[
    str, Field(max_length=LONGEST_NAME, pattern=r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$")
]
WindowDays = Annotated[int, Field(ge=0, le=36_500)]
Metadata = Annotated[
    dict[str, JsonValue],
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": _NO_NUL},
            # all names, but as additionalProperties it makes generators of clients leave the operations out
            "patternProperties": {"": {"$ref": "#/components/schemas/JsonValue"}},
        }
    ),
]

_ONE_WINDOW = {
    "not": {
        "required": ["sync_since", "sync_window_days"],
        "properties": {"sync_since": {"type": "string"}, "sync_window_days": {"type": "integer"}},
    }
}
_OF_CONNECTION = ("imap_host", "imap_port", "imap_security", "username")


class NewAccount(Body, json_schema_extra=_ONE_WINDOW):
    """A mailbox to mirror; host and port of known providers follow from the address."""

    email: Email
    password: Password
    imap_host: Host = Field(default_factory=_left_out, description="Needed unless the provider is known.")
    imap_port: Port = Field(
        default_factory=_left_out,
        description="993 for tls, 143 for starttls; others only in private networks.",
    )
    imap_security: Security = Field(default_factory=_left_out, description="Else that of provider or port.")
    username: Username = Field(default_factory=_left_out, description="Else the address.")
    display_name: DisplayName | None = None
    sync_since: Moment | None = Field(
        default=None,
        description="Mirror mail from then on; not in the future, and not with a window of days.",
    )
    sync_window_days: WindowDays | None = Field(
        default_factory=_left_out,
        description="Mirror mail of so many days; 0 and null are all mail. Else SYNC_WINDOW_DAYS.",
    )
    metadata: Metadata = Field(
        default_factory=_left_out, description="Anything of yours, up to 64 KiB, without NUL."
    )
    verify: bool = Field(default=True, description="Log in before anything is stored.")


class AccountChanges(
    Body,
    json_schema_extra=_ONE_WINDOW | {"dependentRequired": {name: ["password"] for name in _OF_CONNECTION}},
):
    """What is to be another; what is left out stays."""

    display_name: DisplayName | None = Field(default_factory=_left_out, description="Null takes it away.")
    metadata: Metadata = Field(
        default_factory=_left_out, description="Takes the place of all that was there."
    )
    sync_since: Moment | None = Field(
        default_factory=_left_out,
        description="Takes the place of sync_window_days too; with null for both all mail is mirrored.",
    )
    sync_window_days: WindowDays | None = Field(
        default_factory=_left_out, description="Takes the place of sync_since too; 0 is as good as null."
    )
    password: Password = Field(default_factory=_left_out)
    imap_host: Host = Field(
        default_factory=_left_out,
        description="Only with the password, as imap_port, imap_security and username.",
    )
    imap_port: Port = Field(default_factory=_left_out)
    imap_security: Security = Field(default_factory=_left_out)
    username: Username = Field(default_factory=_left_out)
    verify: bool = Field(default=True, description="Log in before a password or a connection is stored.")


class Pause(Body):
    """Why an account is held."""

    reason: Annotated[Text, Field(max_length=LONGEST_REASON)] | None = Field(
        default=None, description="Left out, an earlier one stays; an empty one takes it away."
    )


class Reset(Body):
    """How much is forgotten."""

    resync: bool = Field(
        default=False, description="Also how far each folder is mirrored: all is fetched anew."
    )


class AccountQuery(Paged):
    """Which accounts are listed."""

    email: Annotated[Text, Field(min_length=1, max_length=320)] | None = Field(
        default=None, description="The whole address, in any case."
    )
    state: State | None = Field(default=None, description="As `sync_state` shows it.")


class Account(Answer):
    """An account as of now."""

    id: int
    email: str
    display_name: str | None
    provider: str | None
    imap_host: str
    imap_port: int
    imap_security: Security
    username: str
    sync_since: Timestamp | None
    sync_window_days: int | None
    sync_state: State
    sync_state_reason: Masked | None
    sync_state_message: Masked | None
    sync_state_since: Timestamp
    currently_syncing: bool = Field(description="Whether a process holds its lock.")
    sync_started_by: str | None = Field(description="Who began the last turn: host:pid:role.")
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
    folders: int = Field(description="How many are mirrored.")
    folders_complete: int
    messages: int
    unseen: int
    backfill_remaining: int = Field(description="Messages that the first sync still has to fetch.")
    capabilities: list[str]
    metadata: Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": True})]
    created_at: Timestamp
    updated_at: Timestamp = Field(description="When a person last changed it.")


class AddedAccount(Account):
    """The account as stored."""

    verified: bool = Field(description="Whether a login was tried.")
    note: str | None = Field(description="What its provider asks of people, such as an app password.")


class Removal(Answer):
    """An account that is gone for whoever reads; its rows follow."""

    id: int
    email: str
    deleting_at: Timestamp
