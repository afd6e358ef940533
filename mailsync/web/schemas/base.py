"""What requests and answers are made of: strict models, and the types that several of them share."""

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
    """A request's JSON document: nothing is coerced, unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _whole(cls, value: object) -> object:
        """993.0 is a whole number to JSON Schema, and so to those who believe the description."""
        return int(value) if isinstance(value, float) and value.is_integer() else value


class Query(BaseModel):
    """A request's query parameters: read from text, unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What is answered; made from keyword arguments, or from a record: ``Account.model_validate(row)``."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, from_attributes=True, json_schema_serialization_defaults_required=True
    )


class Page(Answer, Generic[T]):
    """A part of a list; ``next_cursor`` asks for the next one and is null at the end."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """How the description calls it: a ``MessageItemPage``."""
        return f"{params[0].__name__}{cls.__name__}"

    data: list[T]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null at the end.")


class Feed(Answer, Generic[T]):
    """A part of a feed, which has no end: ``next_cursor`` is always the position that was reached."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """How the description calls it: an ``EventFeed``."""
        return f"{params[0].__name__}{cls.__name__}"

    data: list[T]
    next_cursor: str = Field(description="Keep it, and give it as `after` for what follows.")
    has_more: bool = Field(description="Whether more can be had at once.")


class Id(BaseConverter):
    """``<id:account_id>`` in a route: a positive bigint; anything else is a page that is not there."""

    regex = "[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number > MAX_ID:
            # not ValidationError: where a path has several methods, werkzeug makes 405 of that
            raise NotFound
        return number


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _text(value: object) -> object:
    if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("it holds a character that Postgres cannot store")
    return value


_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_BLANK = re.compile(r":\d\d(\.\d+)? \d\d:?\d\d$", re.ASCII)
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)


def read_moment(value: object) -> datetime:
    """An RFC 3339 date and time; raises ValueError for all else, such as one without an offset."""
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            return _bounded(datetime.fromisoformat(value.upper()))
        except (ValueError, OverflowError):
            pass
    raise ValueError("expected a date and time with an offset, such as 2026-01-31T09:00:00Z")


def _read_when(value: object) -> datetime:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return _bounded(datetime.combine(date.fromisoformat(value), time(), UTC))
        except ValueError:
            pass
    try:
        return read_moment(value)
    except ValueError:
        # what a + becomes that stands in a query as it is
        hint = "; + is written %2B in a query" if isinstance(value, str) and _BLANK.search(value) else ""
        raise ValueError(f"expected a date such as 2026-01-31, or 2026-01-31T09:00:00Z{hint}") from None


def _bounded(moment: datetime) -> datetime:
    """Into the years that Postgres and its drivers both can read; no mail is older or younger."""
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
"""Text that Postgres can store; bound it by ``Field(max_length=…)``."""

Moment = Annotated[
    datetime,
    BeforeValidator(read_moment),
    PlainSerializer(_utc),
    _schema(type="string", format="date-time"),
]
"""A moment in a request's document: RFC 3339, with its offset."""

Timestamp = Annotated[AwareDatetime, PlainSerializer(_utc)]
"""A moment in an answer, in UTC."""

When = Annotated[
    datetime,
    BeforeValidator(_read_when),
    _schema(type="string", anyOf=[{"format": "date"}, {"format": "date-time"}]),
]
"""A query parameter: a date, which is its midnight in UTC, or a moment."""

Flag = Annotated[bool, BeforeValidator(_read_flag), _schema(type="boolean")]
"""A query parameter: ``true`` or ``false``."""

Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT), BeforeValidator(_read_whole)]
"""The query parameter ``limit``."""

Cursor = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[A-Za-z0-9_-]+$")]
"""The query parameter ``cursor``, as an earlier answer gave it."""


class Paged(Query):
    """The query parameters of every list."""

    limit: Limit = Field(default=50, description="How many at most.")
    cursor: Cursor | None = Field(default=None, description="The `next_cursor` of the page before.")
