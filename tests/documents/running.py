"""Running the examples of a document as they stand, and knowing which of them no test has run."""

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
    """The sql blocks of some documents, in order; each section belongs to one test, see :meth:`of`.

    Raises ValueError for sections of two documents that have one title.
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
        """Mark a test as that of a section: it takes ``recipe`` and has to run each of its blocks."""

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
        """Where blocks stand that no test runs, and sections of tests that no document has."""
        forgotten = [
            block.place for name, all_ in self.sections.items() if name not in self.tested for block in all_
        ]
        return forgotten + [f"no section {name!r}" for name in self.tested - self.sections.keys()]


class Recipe:
    """The blocks of one section, on a connection that has no search_path set, as a reader's has none."""

    def __init__(self, recipes: Recipes, section: str, conn: psycopg.Connection[Any]) -> None:
        self.recipes = recipes
        self.blocks = recipes.sections[section]
        self.conn = conn
        self.left = set(range(len(self.blocks)))

    def run(self, number: int, replace: dict[str, str] | None = None) -> list[Rows]:
        """Run a block; returns the rows of each statement that has any. `replace` is for names of roles."""
        self.left.discard(number)
        return self._run(self.blocks[number], replace or {})

    def rows(self, number: int, on: psycopg.Connection[Any] | None = None) -> Rows:
        """Run a block that is one query; returns its rows."""
        self.left.discard(number)
        (rows,) = self._run(self.blocks[number], {}, on)
        return rows

    def borrow(self, section: str, number: int) -> None:
        """Run a block of another section, as its text says."""
        self._run(self.recipes.sections[section][number], {})

    def plan(self, number: int) -> str:
        """How Postgres would run a block that is one query."""
        self.left.discard(number)
        found = self.conn.execute("explain " + self.blocks[number].text)
        return "\n".join(line for row in found for line in row.values())

    def _run(
        self, block: Block, replace: dict[str, str], on: psycopg.Connection[Any] | None = None
    ) -> list[Rows]:
        text = block.text
        for old, new in replace.items():
            text = re.sub(rf"\b{old}\b", new, text)
        found: list[Rows] = []
        with (on or self.conn).cursor(row_factory=dict_row) as cursor:
            try:
                cursor.execute(text)
                while True:
                    if cursor.description:
                        found.append(cursor.fetchall())
                    if not cursor.nextset():
                        return found
            except psycopg.Error as error:
                error.add_note(f"in {block.place}")
                raise
