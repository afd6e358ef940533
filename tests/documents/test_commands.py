"""Every command of mailsync that a document names exists."""

from __future__ import annotations

import re

from mailsync.cli import SECTIONS
from tests import ROOT
from tests.support.specification import PAGES

COMMANDS = {name for section in SECTIONS.values() for name in section}
# in a command of a shell, or in double backquotes
_NAMED = re.compile(r"(?:^ +(?:\$ |> )?|``|\| )(?:\.venv/bin/)?mailsync ([a-z][a-z-]+)", re.MULTILINE)


def test_every_command_that_a_document_names_exists() -> None:
    named = {
        (page.name, name)
        for page in [*PAGES, ROOT / "README.rst"]
        for name in _NAMED.findall(page.read_text("utf-8"))
    }
    assert len(named) > 50
    assert not {(page, name) for page, name in named if name not in COMMANDS}
