"""Files, folders and modules that the documentation names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import ROOT
from tests.support.specification import PAGES

_FOLDERS = sorted(
    {path.name for top in ("mailsync", "tests") for path in (ROOT / top).rglob("*") if path.is_dir()}
)
_PATH = re.compile(
    r"(?<![\w./~$<{%*-])("
    r"(?:[\w-]+/)*[\w-]+\.(?:py|sql|service|socket)\b"
    rf"|(?:{'|'.join(_FOLDERS)}|docs|sql)/(?:[\w-]+/)*"
    r")"
)
_MODULE = re.compile(r"``((?:mailsync|tests)(?:\.[a-z_]\w*)+)``")

# a page may shorten a path where its folder is the subject
_STARTS = [
    ROOT / folder
    for folder in ("", "mailsync", "mailsync/engine", "mailsync/imap", "mailsync/web", "docs", "docs/systemd")
]

# files that a reader of a page creates
_OF_THE_READER = {"roles.sql", "follow.py", "body.py"}


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "README.rst", ROOT / "tests" / "README.rst"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    paths = set(_PATH.findall(text)) - _OF_THE_READER
    missing = {
        path for path in paths if not any((start / path).exists() for start in (page.parent, *_STARTS))
    }
    assert not missing
    assert not {name for name in _MODULE.findall(text) if not _is_module_or_member(name)}


def _is_module_or_member(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return (
        path.is_dir()
        or path.with_suffix(".py").exists()
        or path.parent.with_suffix(".py").exists()
        or path.parent.is_dir()
    )


def test_the_paths_of_a_message_and_a_request_are_whole() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.rst").read_text("utf-8")
    for title, least in (("From socket to row", 12), ("From request to answer", 9)):
        section = page.partition(f"\n{title}\n")[2].partition("\n\n\n")[0]
        files = re.findall(r"^    ([a-z_]+(?:/[a-z_]+)+\.py)  ", section, re.MULTILINE)
        assert len(files) >= least
        assert not [file for file in files if not (ROOT / "mailsync" / file).exists()]
