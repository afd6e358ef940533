"""Parts of the reference that are generated from the code, so that they cannot differ from it.

``.. command-help::``
    ``--help`` of each command, from click.
``.. api-operations::``
    Method, path and summary of each operation, from the OpenAPI description.
``.. table-columns:: messages``
    The columns of a table with types and defaults, from ``sql/schema.json``.
``.. schema-functions::``
    The functions in the schema, from ``sql/schema.json``, with their comments in the migrations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mailsync.cli import cli
from mailsync.config import Settings
from mailsync.store.migrations import migrations
from mailsync.web import create_app
from mailsync.web.http import openapi

_SCHEMA = Path(__file__).parents[2] / "sql" / "schema.json"
_WIDTH = 96
_LOCK_CLASS = "The first half of the keys of all account locks, from the schema's name."
_FUNCTION_COMMENT = re.compile(r"^comment on function (\w+)(?:\([^)]*\))? is '((?:[^']|'')*)';", re.MULTILINE)


class CommandHelp(SphinxDirective):
    """One section for each command."""

    def run(self) -> list[nodes.Node]:
        """The sections, in the order of ``mailsync --help``."""
        context = click.Context(cli, info_name="mailsync")
        return [self._section(name, context) for name in cli.list_commands(context)]

    def _section(self, name: str, parent: click.Context) -> nodes.section:
        command = cli.get_command(parent, name)
        assert command
        context = click.Context(command, parent=parent, info_name=name, terminal_width=_WIDTH)
        section = nodes.section(ids=[f"command-{name}"], names=[name])
        section += nodes.title(name, name)
        text = command.get_help(context)
        section += nodes.literal_block(text, text, language="text")
        return section


class ApiOperations(SphinxDirective):
    """A table of the operations of the HTTP API."""

    def run(self) -> list[nodes.Node]:
        """The table, in the order of the description."""
        # it would connect with its first request; none is made
        app = create_app(
            Settings(
                database_url="postgresql://nobody@127.0.0.1:1/none_test",
                imap_encryption_key="00" * 32,  # type: ignore[arg-type]
                api_token="only-for-the-docs",  # type: ignore[arg-type]
            )
        )
        with app.app_context():
            paths = openapi.document(app)["paths"]
        rows = [
            (f"{method.upper()} {path}", operation.get("summary", ""))
            for path, operations in paths.items()
            for method, operation in operations.items()
        ]
        return [_table(("request", "what it does"), rows)]


class TableColumns(SphinxDirective):
    """The columns of one table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table, by name."""
        columns = json.loads(_SCHEMA.read_text("utf-8"))["column"]
        rows = []
        for name, column in columns.items():
            table, _, own = name.partition(".")
            if table == self.arguments[0]:
                null = "not null" if column["not_null"] else "null"
                rows.append((own, column["type"], null, column.get("default", "")))
        if not rows:
            raise self.error(f"sql/schema.json has no table {self.arguments[0]}")
        return [_table(("column", "type", "null", "default"), rows)]


class SchemaFunctions(SphinxDirective):
    """The functions in the schema."""

    def run(self) -> list[nodes.Node]:
        """The table, by name."""
        text = "".join(migration.text for migration in migrations())
        comments = {"account_lock_class": _LOCK_CLASS, **dict(_FUNCTION_COMMENT.findall(text))}
        functions = json.loads(_SCHEMA.read_text("utf-8"))["function"]
        rows = []
        for signature, function in functions.items():
            name = signature.partition("(")[0]
            if name not in comments:
                raise self.error(f"no migration has a comment on the function {name}")
            meaning = comments[name].replace("''", "'")
            rows.append((signature, function["returns"], meaning))
        return [_table(("function", "returns", "meaning"), rows)]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> nodes.table:
    """A table whose first column is literal."""
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]
    head = nodes.thead()
    head += _row(nodes.paragraph(text=text) for text in heads)
    body = nodes.tbody()
    for first, *others in rows:
        cells: list[nodes.Node] = [nodes.paragraph("", "", nodes.literal(text=first))]
        cells += [nodes.paragraph(text=text) for text in others]
        body += _row(cells)
    group += [head, body]
    table = nodes.table()
    table += group
    return table


def _row(cells: Iterable[nodes.Node]) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        entry = nodes.entry()
        entry += cell
        row += entry
    return row


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("command-help", CommandHelp)
    app.add_directive("api-operations", ApiOperations)
    app.add_directive("table-columns", TableColumns)
    app.add_directive("schema-functions", SchemaFunctions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
