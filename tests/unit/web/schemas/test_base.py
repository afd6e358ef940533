"""Times in answers: RFC 3339 in UTC, spelled with Z."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from mailsync.web.schemas.base import Answer
from mailsync.web.views import accounts, bodies, folders, health, messages, runs_and_events

VIEWS = (accounts, bodies, folders, health, messages, runs_and_events)


def times(kind: type[Answer] = Answer) -> Iterator[tuple[str, FieldInfo]]:
    """All fields of all answers that hold a time, by name."""
    for model in kind.__subclasses__():
        for name, field in model.model_fields.items():
            if "Datetime" in str(field.annotation) or "datetime" in str(field.annotation):
                yield f"{model.__name__}.{name}", field
        yield from times(model)


def test_every_time_in_an_answer_is_spelled_with_z() -> None:
    assert VIEWS
    moment = datetime(2026, 1, 31, 11, 0, tzinfo=timezone(timedelta(hours=2)))
    fields = dict(times())
    assert {"Account.updated_at", "Folder.retry_at", "Event.occurred_at", "Run.finished_at"} <= set(fields)
    for name, field in fields.items():
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        assert adapter.dump_json(moment) == b'"2026-01-31T09:00:00Z"', name
