"""The shared parts of statements: each is used, and lists of columns match the records of their rows."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from mailsync.model import FolderState, Headers
from mailsync.store import statements
from mailsync.store.pages import MessageSummary
from tests import ROOT

QUERIES = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "sql" / "queries").glob("*.sql")))
BLOCKS = re.split(r"^-- (name|part): (\w+)\n", QUERIES, flags=re.MULTILINE)[1:]
PARTS = {
    name: text.strip()
    for kind, name, text in zip(BLOCKS[::3], BLOCKS[1::3], BLOCKS[2::3], strict=True)
    if kind == "part"
}
SUMMARY = {field.name for field in fields(MessageSummary)} - {"folder"}
FOLDER = {field.name for field in fields(FolderState)} - {"id"}


def expanded(part: str) -> str:
    return statements._expanded(f"{{{{{part}}}}}", PARTS)


def columns(part: str) -> list[str]:
    return [column.strip() for column in expanded(part).split(",")]


@pytest.mark.parametrize("name", sorted(PARTS))
def test_each_part_is_used(name: str) -> None:
    assert re.search(rf"\{{\{{(\w+\.)?{name}\}}\}}", QUERIES)


def test_no_statement_contains_an_insertion_that_was_not_expanded() -> None:
    assert not [name for name, text in statements.statements().items() if "{{" in text.as_string(None)]


def test_the_columns_of_headers_are_the_fields_of_the_record_in_their_order() -> None:
    assert columns("header_columns") == [name for name in Headers._fields if name != "errors"]


@pytest.mark.parametrize(("part", "names"), [("message_columns", SUMMARY), ("folder_columns", FOLDER)])
def test_columns_that_are_read_as_records_are_the_fields_of_the_record(part: str, names: set[str]) -> None:
    assert len(columns(part)) == len(names)
    assert set(columns(part)) == names


def test_a_prefix_stands_before_each_column() -> None:
    parts = {"two": "-- a comment\na, {{one}}", "one": "b"}
    assert statements._expanded("select {{m.two}} from m", parts) == "select m.a, m.b from m"
