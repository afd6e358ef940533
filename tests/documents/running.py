"""Run the SQL of documents unchanged, and find the blocks that no test runs."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.documents.recipes import Block, blocks

Rows = list[dict[str, Any]]


class Recipes:
    """The SQL of some documents, in order. Each section belongs to one test, see :meth:`of`.

    Raises ValueError if two documents have a section with the same title.
    """

    def __init__(self, *documents: str) -> None:
        self.blocks = [block for document in documents for block in blocks(document, "sql")]
        self.sections: dict[str, list[Block]] = {}
        for block in self.blocks:
            section = self.sections.setdefault(block.section, [])
            if section and section[0].document != block.document:
                raise ValueError(f"{block.place}: {section[0].document} has a section of this title")
            section.append(block)
        self.tested: set[str] = set()

    def of(self, section: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Mark the test of a section. It takes ``recipe`` and has to run every block of the section."""

        def mark(test: Callable[..., None]) -> Callable[..., None]:
            assert section not in self.tested, f"two tests for {section!r}"
            self.tested.add(section)

            @functools.wraps(test)
            def complete(recipe: Recipe, **fixtures: Any) -> None:
                test(recipe=recipe, **fixtures)
                assert not recipe.left, [recipe.blocks[number].place for number in recipe.left]

            complete.section, complete.recipes = section, self  # type: ignore[attr-defined]
            return complete

        return mark

    def untested(self) -> list[str]:
        """The places of blocks that no test runs, and the sections of tests that no document has."""
        forgotten = [block.place for block in self.blocks if block.section not in self.tested]
        return forgotten + [f"no section {name!r}" for name in self.tested - self.sections.keys()]


class Recipe:
    """The blocks of one section, on a connection without a search_path, like a reader's."""

    def __init__(self, recipes: Recipes, section: str, conn: psycopg.Connection[Any]) -> None:
        self.recipes = recipes
        self.blocks = recipes.sections[section]
        self.conn = conn
        self.left = set(range(len(self.blocks)))

    def run(self, number: int, replace: dict[str, str] | None = None) -> list[Rows]:
        """Run a block; returns the rows of each statement that returns rows. `replace` renames roles."""
        self.left.discard(number)
        return self._run(self.blocks[number], replace or {})

    def rows(self, number: int, on: psycopg.Connection[Any] | None = None) -> Rows:
        """Run a block with one query; returns its rows."""
        self.left.discard(number)
        (rows,) = self._run(self.blocks[number], {}, on)
        return rows

    def borrow(self, section: str, number: int) -> None:
        """Run a block of another section, which this section builds on."""
        self._run(self.recipes.sections[section][number], {})

    def plan(self, number: int) -> str:
        """Postgres' plan for a block with one query."""
        self.left.discard(number)
        plan = self.conn.execute("explain " + self.blocks[number].text)
        return "\n".join(line for row in plan for line in row.values())

    def _run(
        self, block: Block, replace: dict[str, str], on: psycopg.Connection[Any] | None = None
    ) -> list[Rows]:
        text = block.text
        for old, new in replace.items():
            text = re.sub(rf"\b{old}\b", new, text)
        results: list[Rows] = []
        with (on or self.conn).cursor(row_factory=dict_row) as cursor:
            try:
                cursor.execute(text)
                while True:
                    if cursor.description:
                        results.append(cursor.fetchall())
                    if not cursor.nextset():
                        return results
            except psycopg.Error as error:
                error.add_note(f"in {block.place}")
                raise
