"""The fields of requests and answers about accounts, and how an account signs in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, WithJsonSchema, model_validator

from mailsync.accounts.fields import LONGEST, LONGEST_NAME
from mailsync.core.providers import normalise_email
from mailsync.errors import InvalidInput
from mailsync.redaction import mask_credentials
from mailsync.web.schemas.base import Body

Security = Literal["tls", "starttls", "plaintext"]
AuthMethod = Literal["password", "oauth2"]
Grant = Literal["refresh_token", "client_credentials"]
Masked = Annotated[str, AfterValidator(mask_credentials)]


def _email(text: str) -> str:
    try:
        return normalise_email(text)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def left_out() -> Any:
    """The value of a field that may be left out but not be null; see ``model_fields_set`` for those sent."""
    return None


_NO_NUL = r"^[^\u0000]*$"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ONE_LINE = r"^[^\u0000\r\n]+$"

Email = Annotated[
    str,
    AfterValidator(_email),
    Field(
        min_length=3,
        max_length=254,
        description="Stored in lower case. Non-ASCII letters are accepted too.",
        json_schema_extra={"pattern": rf"^(?=.{{1,64}}@){_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})*$"},
    ),
]
Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^\s\u0000-\u001f/@?#\\]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Username = Annotated[str, Field(min_length=1, max_length=LONGEST, pattern=_ONE_LINE)]
Password = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST,
        pattern=_ONE_LINE,
        repr=False,
        description="Never returned. Many providers require an app password.",
        json_schema_extra={"writeOnly": True},
    ),
]
Provider = Annotated[
    str,
    Field(
        min_length=1,
        max_length=40,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="The provider's name: google, microsoft, or one of OAUTH_<NAME>_CLIENT_ID in lower case.",
    ),
]
RefreshToken = Annotated[
    str,
    Field(
        min_length=1,
        max_length=32_768,
        pattern=r"^[\x20-\x7e]+$",
        repr=False,
        description="Issued to the client with which the service is configured. Never returned.",
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
            # matches every name; with additionalProperties, client generators skip the operations
            "patternProperties": {"": {"$ref": "#/components/schemas/JsonValue"}},
        }
    ),
]


class OAuthSignIn(
    Body,
    json_schema_extra={
        "anyOf": [
            {
                "type": "object",
                "required": ["refresh_token"],
                "properties": {"grant": {"const": "refresh_token"}},
            },
            {
                "type": "object",
                "required": ["grant"],
                "properties": {"grant": {"const": "client_credentials"}},
                "not": {"type": "object", "required": ["refresh_token"]},
            },
        ]
    },
):
    """Tokens of an OAuth2 client that the service is configured with, in place of a password."""

    provider: Provider
    grant: Grant = Field(
        default="refresh_token",
        description="client_credentials: an organisation lets the client read its mailboxes.",
    )
    refresh_token: RefreshToken = Field(default_factory=left_out)

    @model_validator(mode="after")
    def _has_what_its_grant_needs(self) -> OAuthSignIn:
        if (self.grant == "refresh_token") != (self.refresh_token is not None):
            raise ValueError(
                'expected either a refresh_token, or "grant": "client_credentials" without refresh_token'
            )
        return self
