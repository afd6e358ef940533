"""Requests and answers about consents in a browser (SPEC §23.5)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mailsync.web.schemas.account_fields import Email, Masked, Provider, left_out
from mailsync.web.schemas.base import MAX_ID, Answer, Body, Timestamp

ReturnUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2000,
        pattern=r"^https?://[!-\[\]-~]+$",
        description="Where the browser goes afterwards, with `account_id` or `error` in its query. It has to"
        " begin with one of OAUTH_RETURN_URLS. Default: a plain page of this service.",
    ),
]


class NewAuthorization(
    Body,
    json_schema_extra={"not": {"type": "object", "required": ["email", "account_id"]}},
):
    """Whom to ask for consent."""

    provider: Provider
    email: Email = Field(
        default_factory=left_out,
        description="Whose mailbox to add. Default: that of the person who gives consent.",
    )
    account_id: Annotated[int, Field(ge=1, le=MAX_ID)] = Field(
        default_factory=left_out, description="The account to authorize again; excludes email."
    )
    return_url: ReturnUrl = Field(default_factory=left_out)


class BegunAuthorization(Answer):
    """An authorization that waits for a browser."""

    id: str
    authorize_url: str = Field(
        description="Where to send the person's browser. Give it to nobody else: whoever opens it connects"
        " the mailbox of their choice."
    )
    expires_at: Timestamp


class Authorization(Answer):
    """How an authorization went."""

    id: str
    provider: str
    status: Literal["pending", "exchanging", "succeeded", "failed", "expired"]
    account_id: int | None = Field(description="The account that was added or authorized again.")
    email: str | None
    error: str | None = Field(
        description="Why it failed: the provider's code, such as access_denied, or a code of our errors."
    )
    message: Masked | None = Field(description="The same for people.")
    created_at: Timestamp
    expires_at: Timestamp
    finished_at: Timestamp | None
