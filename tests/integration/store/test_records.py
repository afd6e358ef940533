"""Rows become records by the names of their columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import psycopg
import pytest

from mailsync.model import Endpoint
from mailsync.store import records


@dataclass(frozen=True, slots=True)
class Base:
    id: int
    flags: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Stored(Base):
    endpoint: Endpoint


class Pair(NamedTuple):
    left: int
    right: int


class Name(NamedTuple):
    name: str


class Names(NamedTuple):
    names: tuple[str, ...]


COLUMNS = "'u' as username, 'tls' as imap_security, 993 as imap_port, 'h' as imap_host"


def test_a_record_takes_its_columns_in_any_order_with_arrays_as_tuples(database: psycopg.Connection) -> None:
    cursor = database.execute(f"select array['a', 'b'] as flags, 'x' as other, 7 as id, {COLUMNS}".encode())
    assert records.all_rows(Stored, cursor) == [Stored(7, ("a", "b"), Endpoint("h", 993, "tls", "u"))]


@pytest.mark.parametrize(
    ("record", "query"),
    [(Name("abc"), "select 'abc' as name"), (Names(("a", "b")), "select array['a', 'b'] as names")],
)
def test_a_named_tuple_may_have_one_field(
    database: psycopg.Connection, record: Name | Names, query: str
) -> None:
    assert records.all_rows(type(record), database.execute(query.encode())) == [record]


def test_null_is_no_array(database: psycopg.Connection) -> None:
    assert records.first_row(Base, database.execute("select null::text[] as flags, 7 as id")) == Base(7, None)


def test_a_field_may_have_a_column_of_another_name(database: psycopg.Connection) -> None:
    cursor = database.execute("select 1 as right, 2 as first")
    assert [*map(records.reader(Pair, cursor, left="first"), cursor)] == [Pair(2, 1)]


def test_no_row_is_none(database: psycopg.Connection) -> None:
    assert records.first_row(Pair, database.execute("select 1 as left, 2 as right where false")) is None


def test_a_field_without_a_column_is_an_error(database: psycopg.Connection) -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        records.all_rows(Pair, database.execute("select 1 as left"))


def test_two_columns_of_one_name_are_an_error(database: psycopg.Connection) -> None:
    with pytest.raises(ValueError, match="the same name"):
        records.all_rows(Pair, database.execute("select 1 as left, 2 as right, 3 as left"))
