"""Rows as records: each field of a record takes the column that has its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from inspect import get_annotations
from operator import itemgetter
from typing import Any, TypeVar

import psycopg

from mailsync.model import Endpoint

T = TypeVar("T")

_ENDPOINT = ("imap_host", "imap_port", "imap_security", "username")


def reader(record: type[T], cursor: psycopg.Cursor[Any], **columns: str) -> Callable[[Sequence[Any]], T]:
    """The function that turns a row of `cursor` into a `record`, a dataclass or a named tuple.

    Arrays become tuples, and a field ``endpoint`` is composed of four columns. `columns` gives the column of
    a field that has another name. Columns without a field are ignored. Raises ValueError for a field without
    a column, and if two columns have the same name.
    """
    key: Any = record
    read: Callable[[Sequence[Any]], T] = _reader(key, _names(cursor), tuple(columns.items()))
    return read


def all_rows(record: type[T], cursor: psycopg.Cursor[Any]) -> list[T]:
    """All rows of `cursor`, by :func:`reader`."""
    return [*map(reader(record, cursor), cursor)]


def first_row(record: type[T], cursor: psycopg.Cursor[Any]) -> T | None:
    """The first row of `cursor`, by :func:`reader`; None if there is no row."""
    row = cursor.fetchone()
    return None if row is None else reader(record, cursor)(row)


def as_dicts(cursor: psycopg.Cursor[Any]) -> list[dict[str, Any]]:
    """All rows of `cursor` as column → value."""
    names = _names(cursor)
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _names(cursor: psycopg.Cursor[Any]) -> tuple[str, ...]:
    result = cursor.pgresult
    # cursor.description would take twenty times as long
    return tuple([(result.fname(i) or b"").decode() for i in range(result.nfields)]) if result else ()


def _is_tuple(annotation: Any) -> bool:
    # a named tuple wraps its annotations, which are text, as forward references
    return str(getattr(annotation, "__forward_arg__", annotation)).startswith("tuple[")


def _picker(indexes: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    # with one index, itemgetter returns the value itself
    return itemgetter(*indexes) if len(indexes) > 1 else itemgetter(slice(indexes[0], indexes[0] + 1))


# cached, since looking up names for each row would double its cost
@cache
def _reader(record: Any, names: tuple[str, ...], columns: tuple[tuple[str, str], ...]) -> Any:
    annotations: dict[str, Any] = {}
    for base in reversed(record.__mro__):
        annotations |= get_annotations(base)
    fields = list(annotations)
    if len(set(names)) < len(names):
        raise ValueError(f"columns with the same name: {names}")
    column = {"endpoint": _ENDPOINT[0]} | dict(columns)
    pick = _picker([names.index(column.get(field, field)) for field in fields])
    arrays = [i for i, field in enumerate(fields) if _is_tuple(annotations[field])]
    endpoint = fields.index("endpoint") if "endpoint" in fields else None
    if not arrays and endpoint is None:
        return lambda row: record(*pick(row))
    pick_endpoint = itemgetter(*map(names.index, _ENDPOINT)) if endpoint is not None else None

    def read(row: Sequence[Any]) -> Any:
        values = list(pick(row))
        for i in arrays:
            if values[i] is not None:
                values[i] = tuple(values[i])
        if endpoint is not None and pick_endpoint is not None:
            values[endpoint] = Endpoint(*pick_endpoint(row))
        return record(*values)

    return read
