"""Base models for requests and answers, and the types that several of them share."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
)
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter

T = TypeVar("T")

MAX_ID = 2**63 - 1
MAX_LIMIT = 500


class Body(BaseModel):
    """The JSON document of a request: coerces nothing, and refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _integral_float(cls, value: object) -> object:
        """Accept 993.0 as a whole number, as JSON Schema and so our description do."""
        return int(value) if isinstance(value, float) and value.is_integer() else value


class Query(BaseModel):
    """The query parameters of a request: parsed from text; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """An answer, from keyword arguments or from a record: ``Account.model_validate(row)``."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, from_attributes=True, json_schema_serialization_defaults_required=True
    )


class Page(Answer, Generic[T]):
    """One page of a list."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """The name in the OpenAPI description, such as ``MessageItemPage``."""
        return f"{params[0].__name__}{cls.__name__}"

    data: list[T]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")


class Feed(Answer, Generic[T]):
    """One page of a feed. A feed has no end, so ``next_cursor`` is always set."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """The name in the OpenAPI description, such as ``EventFeed``."""
        return f"{params[0].__name__}{cls.__name__}"

    data: list[T]
    next_cursor: str = Field(description="Store it, and send it as `after` for the events that follow.")
    has_more: bool = Field(description="Whether more events are available now.")


class Id(BaseConverter):
    """``<id:account_id>`` in a route: a positive bigint; anything else is 404."""

    regex = "[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number > MAX_ID:
            # not ValidationError, which werkzeug turns into 405 where a path has several methods
            raise NotFound
        return number


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _text(value: object) -> object:
    if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("contains a character that Postgres cannot store (NUL or a lone surrogate)")
    return value


_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_UNENCODED_PLUS = re.compile(r":\d\d(\.\d+)? \d\d:?\d\d$", re.ASCII)
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)


def read_moment(value: object) -> datetime:
    """Parse a date and time with an offset (RFC 3339 §5.6); raises ValueError for anything else."""
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            return _clamp(datetime.fromisoformat(value.upper()))
        except (ValueError, OverflowError):
            pass
    raise ValueError("expected a date and time with an offset, such as 2026-01-31T09:00:00Z")


def _read_when(value: object) -> datetime:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return _clamp(datetime.combine(date.fromisoformat(value), time(), UTC))
        except ValueError:
            pass
    try:
        return read_moment(value)
    except ValueError:
        # in a query, + means a blank
        has_blank = isinstance(value, str) and _UNENCODED_PLUS.search(value)
        hint = "; in a query, write + as %2B" if has_blank else ""
        raise ValueError(f"expected a date such as 2026-01-31, or 2026-01-31T09:00:00Z{hint}") from None


def _clamp(moment: datetime) -> datetime:
    """Limit `moment` to years that Postgres and all its drivers support; no mail lies outside."""
    low, high = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
    return min(max(moment, low), high)


def _read_flag(value: object) -> bool:
    if value not in ("true", "false"):
        raise ValueError("expected true or false")
    return value == "true"


def _read_whole(value: object) -> int:
    if not isinstance(value, str) or not _WHOLE.fullmatch(value):
        raise ValueError("expected a whole number")
    return int(value)


def _schema(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema(schema)


Text = Annotated[str, BeforeValidator(_text), Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})]
"""Text that Postgres can store; add a limit by ``Field(max_length=…)``."""

Moment = Annotated[
    datetime,
    BeforeValidator(read_moment),
    PlainSerializer(_utc),
    _schema(type="string", format="date-time"),
]
"""A date and time in a request's document: RFC 3339 with an offset."""

Timestamp = Annotated[AwareDatetime, PlainSerializer(_utc)]
"""A date and time in an answer: RFC 3339 in UTC, with ``Z``."""

When = Annotated[
    datetime,
    BeforeValidator(_read_when),
    _schema(type="string", anyOf=[{"format": "date"}, {"format": "date-time"}]),
]
"""A query parameter: a date and time, or a date, which means midnight UTC."""

Flag = Annotated[bool, BeforeValidator(_read_flag), _schema(type="boolean")]
"""A query parameter: ``true`` or ``false``."""

Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT), BeforeValidator(_read_whole)]
"""The query parameter ``limit``."""

Cursor = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[A-Za-z0-9_-]+$")]
"""The query parameter ``cursor``, taken from an earlier answer."""


class Paged(Query):
    """The query parameters of every list."""

    limit: Limit = Field(default=50, description="Maximum number of rows.")
    cursor: Cursor | None = Field(default=None, description="The `next_cursor` of the previous page.")
