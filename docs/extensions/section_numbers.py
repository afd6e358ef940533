"""Numbered sections: ``§10.7`` in a page becomes a link to the section whose title begins with ``§10.7``.

Code cites the same numbers as ``SPEC §10.7``. A number keeps its meaning when its section moves to another
page. A number without a section is a warning, and so an error in ``make docs``. Sections of RFCs are left
alone; they follow the RFC's number (``RFC 9051 §6.2.1``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

log = logging.getLogger(__name__)

_TITLE = re.compile(r"§(\d+(?:\.\d+)?) ")
_CITED = re.compile(r"((?:RFC\s)?\b\d{4}\s+)?§(\d+(?:\.\d+)*)")
_NEVER_LINKED = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block)

Sections = dict[str, tuple[str, str]]
"""Number → the page and the HTML id of the section."""


def _sections(env: BuildEnvironment) -> Sections:
    if not hasattr(env, "section_numbers"):
        env.section_numbers = {}  # type: ignore[attr-defined]
    found: Sections = env.section_numbers  # type: ignore[attr-defined]
    return found


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Note the numbered sections of a page that was read."""
    for section in doctree.findall(nodes.section):
        title = section.next_node(nodes.title)
        number = _TITLE.match(title.astext()) if title else None
        if number:
            _sections(app.env)[number[1]] = (app.env.docname, section["ids"][0])


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Drop the sections of a page that is read again or was removed."""
    sections = _sections(env)
    for number in [number for number, (page, _) in sections.items() if page == docname]:
        del sections[number]


def merge(app: Sphinx, env: BuildEnvironment, docnames: Any, other: BuildEnvironment) -> None:
    """Take over the sections that another process of a parallel build read."""
    _sections(env).update(_sections(other))


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace cited numbers by links to their sections."""
    for text in list(doctree.findall(nodes.Text)):
        parent: nodes.Node | None = text.parent
        while parent is not None and not isinstance(parent, _NEVER_LINKED):
            parent = parent.parent
        if parent is None and "§" in text and text.parent is not None:
            text.parent.replace(text, list(_linked(app, str(text), docname)))


def _linked(app: Sphinx, text: str, docname: str) -> Iterator[nodes.Node]:
    end = 0
    for cited in _CITED.finditer(text):
        if cited[1]:
            continue
        number = cited[2]
        # the invariants 0.1 to 0.10 are rows of one table
        target = _sections(app.env).get("0" if number.startswith("0.") else number)
        if target is None:
            log.warning("there is no section §%s", number, location=docname)
            continue
        yield nodes.Text(text[end : cited.start()])
        label = nodes.Text(f"§{number}")
        yield make_refnode(app.builder, docname, target[0], target[1], label, f"section {number}")
        end = cited.end()
    yield nodes.Text(text[end:])


class SectionNumbers(SphinxDirective):
    """``.. section-numbers::`` lists the numbered sections, subsections left out."""

    def run(self) -> list[nodes.Node]:
        """One item for each; ``link`` finds their pages when all are read."""
        self.env.note_reread()
        titles = sorted(
            _all_titles(Path(self.env.srcdir)), key=lambda title: int(title.partition(" ")[0][1:])
        )
        items = [nodes.list_item("", nodes.paragraph(text=title)) for title in titles]
        return [nodes.bullet_list("", *items)]


def _all_titles(folder: Path) -> Iterator[str]:
    for page in folder.rglob("*.rst"):
        yield from re.findall(r"^(§\d+ .*)\n-{3,}$", page.read_text("utf-8"), re.MULTILINE)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("section-numbers", SectionNumbers)
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
