"""Running the shell sessions of a document, and comparing what the commands print with what stands there.

``.. code-block:: console`` holds commands after ``$`` (lines that go on begin with ``>``), each with its
output. All of them run in one bash, in order. ``…`` on a line of its own stands for any lines, and what
cannot be the same twice is replaced on both sides by :data:`RULES`; all else must be equal.

A block in ``sh`` or ``python`` is a file, named by the comment in its first line (``# feed.py: …``), that
a later command runs. A comment above a block, ``.. meanwhile: …``, names what else happens before it.
"""

from __future__ import annotations

import difflib
import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.documents import recipes
from tests.documents.recipes import ROOT, Block
from tests.support import run_directory

ANYTHING = "…"
TIMEOUT = 120.0

RULES = (
    # the mail of the documents is of 2025, and those times must be right
    (r"\b(?!2025)20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<now>"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} (?!2025)20\d\d \d\d:\d\d:\d\d GMT", "<now>"),
    (r"\b[0-9a-f]{32}\b", "<request id>"),
    (r"\b([Kk]ey) [0-9a-f]{16}\b", r"\1 <id>"),
    (r"\bAQ[A-Za-z0-9_-]{34}(?![A-Za-z0-9_-])", "<cursor>"),
    (r'("version": ?|version=)"\d+\.\d+[^"]*"', r'\1"<version>"'),
    (r'("currently_syncing": ?)(true|false)', r"\1<now>"),
    (r"[\w.-]+:\d+:(api|worker)\b", "<process>"),
    (r'("(uidvalidity|modseq|seq|bytes_in|imap_commands)": ?)\d+', r"\1<number>"),
    (r'("(\w+_seconds|duration_ms)": ?)\d[\d.e-]*', r"\1<number>"),
    (r"^(mailsync_\w+(\{.*\})?) \d[\d.e+-]*$", r"\1 <number>"),
)
"""What is not compared, as regular expressions of a line and what stands for them."""

_NAMED = re.compile(r"# ([\w.-]+)(: |$)")
_MEANWHILE = re.compile(r"\.\. meanwhile: (.+)")


class Command(NamedTuple):
    """What stands after a ``$``, and the lines below it; `line` is where the ``$`` stands."""

    line: int
    text: str
    answer: list[str]


class Step(NamedTuple):
    """A block, and what is to happen before it."""

    block: Block
    meanwhile: str | None


class Mismatch(NamedTuple):
    """A command of the document that answers otherwise."""

    command: Command
    said: list[str]

    def describe(self, document: str) -> str:
        """The difference, with the document's line numbers."""
        command, said = self
        wanted, found = ([_normal(line) for line in lines] for lines in (command.answer, said))
        below = command.line + 1 + command.text.count("\n")
        head = f"{document}:{command.line}: $ {command.text}"
        return "\n".join([head, *_difference(wanted, found, below)])


class Shell:
    """One bash, which remembers variables from command to command."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self._answer = directory.parent / f"{directory.name}.answer"
        self._script = directory.parent / f"{directory.name}.command"
        self._typed = directory.parent / f"{directory.name}.typed"
        self._process = run_directory.spawn(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
        )

    def run(self, text: str, *, typed: str = "") -> list[str]:
        """Run a command to its end; returns what it printed. Raises TimeoutError when it takes too long.

        It reads the line that is `typed`, and nothing else.
        """
        self._script.write_text(f"{text}\n")
        self._typed.write_text(f"{typed}\n" if typed else "")
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        stdin.write(f". '{self._script}' <'{self._typed}' >'{self._answer}' 2>&1; echo done\n".encode())
        stdin.flush()
        ready, _, _ = select.select([stdout], [], [], TIMEOUT)
        if not ready or stdout.readline() != b"done\n":
            raise TimeoutError(f"it still runs after {TIMEOUT:g} s, or has ended the shell")
        return _trimmed(self._answer.read_text(errors="replace").splitlines())

    def close(self) -> None:
        """End it, and whatever it left in the background."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        run_directory.forget(self._process.pid)


def steps(document: str) -> Iterator[Step]:
    """The blocks of the document that a shell runs, in order; SQL has tests of its own (``querying/``)."""
    lines = (ROOT / document).read_text().splitlines()
    for block in recipes.blocks(document):
        if block.language == "sql":
            continue
        directive = block.line - 1
        while ".. code-block::" not in lines[directive]:
            directive -= 1
        above = [line.strip() for line in lines[:directive] if line.strip()][-1:]
        found = _MEANWHILE.fullmatch(above[0]) if above else None
        yield Step(block, found[1] if found else None)


def commands(block: Block) -> list[Command]:
    """The commands of a console block; raises ValueError for lines that belong to none."""
    found: list[Command] = []
    open_text = False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            found.append(Command(number, line[2:], []))
            open_text = True
        elif not found:
            raise ValueError(f"{block.document}:{number}: output without a command")
        elif open_text and (line.startswith("> ") or line == ">"):
            last = found[-1]
            found[-1] = last._replace(text=f"{last.text}\n{line[2:]}")
        else:
            open_text = False
            found[-1].answer.append(line)
    return [command._replace(answer=_trimmed(command.answer)) for command in found]


def file_of(block: Block) -> str:
    """The name of the file that the block is; raises ValueError if it has none."""
    named = _NAMED.match(block.text)
    if block.language not in ("sh", "python") or not named:
        raise ValueError(f"{block.place}: nothing runs this block; begin it with a comment: # name.sh: …")
    return named[1]


def run(
    document: str,
    shell: Shell,
    names: Mapping[str, str],
    happenings: Mapping[str, Callable[[], None]],
    section: str | None = None,
) -> list[Mismatch]:
    """Run the whole document, or one section; returns the commands that answer otherwise.

    `names` are what the document calls by a name of its own: ``{"imap.example.com": "localhost", …}``.
    Raises ValueError for a block that nothing runs, and for a happening that is not known.
    """
    mismatches: list[Mismatch] = []
    found = [(real, name) for name, real in names.items()]
    waiting: dict[str, Block] = {}
    for block, meanwhile in steps(document):
        if section not in (None, block.section):
            continue
        if meanwhile is not None:
            if meanwhile not in happenings:
                raise ValueError(f"{block.place}: {meanwhile!r} is not known; {', '.join(happenings)} are")
            happenings[meanwhile]()
        if block.language != "console":
            name = file_of(block)
            (shell.directory / name).write_text(block.text)
            waiting[name] = block
            continue
        for command in commands(block):
            waiting = {name: each for name, each in waiting.items() if name not in command.text}
            try:
                printed = shell.run(_replaced(command.text, names.items()))
            except TimeoutError as error:
                return [*mismatches, Mismatch(command, [str(error)])]
            said = [_replaced(line, found) for line in printed]
            if not matches(command.answer, said):
                mismatches.append(Mismatch(command, said))
    if waiting:
        raise ValueError(f"nothing runs {', '.join(block.place for block in waiting.values())}")
    return mismatches


def matches(wanted: Sequence[str], said: Sequence[str]) -> bool:
    """Whether what was said is what is wanted, but for the rules and for what ``…`` stands for."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ANYTHING else re.escape(_normal(line)) + r"\n" for line in wanted
    )
    return re.fullmatch(pattern, "".join(f"{_normal(line)}\n" for line in said)) is not None


def refresh(document: str, mismatches: Sequence[Mismatch]) -> None:
    """Write what was said into the document, in full; what matched stays as it is printed."""
    file = ROOT / document
    lines = file.read_text().splitlines()
    for command, said in sorted(mismatches, key=lambda each: each.command.line, reverse=True):
        begin = command.line + command.text.count("\n")
        indent = re.match(" *", lines[command.line - 1])
        assert indent
        fresh = [f"{indent[0]}{line}".rstrip() for line in said]
        lines[begin : begin + len(command.answer)] = fresh
        if ANYTHING in (line.strip() for line in command.answer):
            print(f"{document}:{command.line}: had {ANYTHING} and is written in full; shorten it again")
    file.write_text("".join(f"{line}\n" for line in lines))


def _normal(line: str) -> str:
    for pattern, stands in RULES:
        line = re.sub(pattern, stands, line)
    return line


def _replaced(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _difference(wanted: list[str], found: list[str], first: int) -> Iterator[str]:
    """A line diff, where ``…`` swallows what it stands for; lines of the document carry their numbers."""
    number = first
    diff = list(difflib.ndiff(wanted, found))
    swallowing = False
    for line in diff:
        kind, text = line[:2], line[2:]
        if kind == "? ":
            continue
        if kind == "+ ":
            if not swallowing:
                yield f"       +{text}"
            continue
        swallowing = text.strip() == ANYTHING
        mark = "-" if kind == "- " and not swallowing else " "
        yield f"{number:6} {mark}{text}"
        number += 1
