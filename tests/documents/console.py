"""Run the shell sessions of a document, and compare the output with the document.

``.. code-block:: console`` contains commands after ``$`` (continuation lines begin with ``>``), each followed
by its output. All commands run in one bash, in order. A line ``…`` matches any lines, and values that differ
in every run are replaced on both sides by :data:`RULES`; everything else must be equal.

A block in ``sh`` or ``python`` is a file that a later command runs; the comment in its first line names it
(``# feed.py: …``). A comment ``.. meanwhile: …`` above a block names an event that happens before the block.
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
    # the sample mail is from 2025, and its times are compared
    (r"\b(?!2025)20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<now>"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} (?!2025)20\d\d \d\d:\d\d:\d\d GMT", "<now>"),
    (r"\b[0-9a-f]{32}\b", "<request id>"),
    (r"\b([Kk]ey) [0-9a-f]{16}\b", r"\1 <id>"),
    (r"\bAQ[A-Za-z0-9_-]{34}(?![A-Za-z0-9_-])", "<cursor>"),
    (r'("version": ?|version=)"\d+\.\d+[^"]*"', r'\1"<version>"'),
    (r'("currently_syncing": ?)(true|false)', r"\1<now>"),
    (r"[\w.-]+:\d+:(api|worker)\b", "<process>"),
    # a turn that was asked for may come before the server's report, or after it
    (r'(?<="trigger": ")(?:push|schedule)(?=")', "<trigger>"),
    (r'("(uidvalidity|modseq|seq|bytes_in|imap_commands)": ?)\d+', r"\1<number>"),
    (r'("(\w+_seconds|duration_ms)": ?)\d[\d.e-]*', r"\1<number>"),
    (r"^(mailsync_\w+(\{.*\})?) \d[\d.e+-]*$", r"\1 <number>"),
)
"""Regular expressions for the parts of a line that are not compared, and their replacements."""

_NAMED = re.compile(r"# ([\w.-]+)(: |$)")
_MEANWHILE = re.compile(r"\.\. meanwhile: (.+)")


class Command(NamedTuple):
    """A command, the output that the document shows, and the line number of its ``$``."""

    line: int
    text: str
    answer: list[str]


class Step(NamedTuple):
    """A block, and the event that happens before it."""

    block: Block
    meanwhile: str | None


class Mismatch(NamedTuple):
    """A command whose output differs from the document."""

    command: Command
    output: list[str]

    def describe(self, document: str) -> str:
        """The difference, with the document's line numbers."""
        command, output = self
        wanted, actual = ([_normal(line) for line in lines] for lines in (command.answer, output))
        below = command.line + 1 + command.text.count("\n")
        head = f"{document}:{command.line}: $ {command.text}"
        return "\n".join([head, *_difference(wanted, actual, below)])


class Shell:
    """One bash that keeps its variables between commands."""

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
        """Run a command to its end; returns its output. Raises TimeoutError when it takes too long.

        The command's input is the line `typed`, or nothing.
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
            raise TimeoutError(f"it still runs after {TIMEOUT:g} s, or ended the shell")
        return _trimmed(self._answer.read_text(errors="replace").splitlines())

    def close(self) -> None:
        """End the shell and its background processes."""
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
        event = _MEANWHILE.fullmatch(above[0]) if above else None
        yield Step(block, event[1] if event else None)


def commands(block: Block) -> list[Command]:
    """The commands of a console block; raises ValueError for output without a command."""
    parsed: list[Command] = []
    open_text = False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            parsed.append(Command(number, line[2:], []))
            open_text = True
        elif not parsed:
            raise ValueError(f"{block.document}:{number}: output without a command")
        elif open_text and (line.startswith("> ") or line == ">"):
            last = parsed[-1]
            parsed[-1] = last._replace(text=f"{last.text}\n{line[2:]}")
        else:
            open_text = False
            parsed[-1].answer.append(line)
    return [command._replace(answer=_trimmed(command.answer)) for command in parsed]


def file_of(block: Block) -> str:
    """The file name in the block's first line; raises ValueError without one."""
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
    """Run the whole document, or one section; returns the commands whose output differs.

    `names` maps names in the document to real ones: ``{"imap.example.com": "localhost", …}``. `happenings`
    maps the events of ``.. meanwhile:`` to functions. Raises ValueError for a block that no command runs, and
    for an unknown event.
    """
    mismatches: list[Mismatch] = []
    documented = [(real, name) for name, real in names.items()]
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
            waiting = {name: block for name, block in waiting.items() if name not in command.text}
            try:
                printed = shell.run(_replaced(command.text, names.items()))
            except TimeoutError as error:
                return [*mismatches, Mismatch(command, [str(error)])]
            output = [_replaced(line, documented) for line in printed]
            if not matches(command.answer, output):
                mismatches.append(Mismatch(command, output))
    if waiting:
        raise ValueError(f"nothing runs {', '.join(block.place for block in waiting.values())}")
    return mismatches


def matches(wanted: Sequence[str], output: Sequence[str]) -> bool:
    """Whether the output equals the wanted lines, after the rules, where ``…`` matches any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ANYTHING else re.escape(_normal(line)) + r"\n" for line in wanted
    )
    return re.fullmatch(pattern, "".join(f"{_normal(line)}\n" for line in output)) is not None


def refresh(document: str, mismatches: Sequence[Mismatch]) -> None:
    """Write the output of the mismatches into the document, in full."""
    file = ROOT / document
    lines = file.read_text().splitlines()
    for command, output in sorted(mismatches, key=lambda mismatch: mismatch.command.line, reverse=True):
        begin = command.line + command.text.count("\n")
        indent = re.match(" *", lines[command.line - 1])
        assert indent
        fresh = [f"{indent[0]}{line}".rstrip() for line in output]
        lines[begin : begin + len(command.answer)] = fresh
        if ANYTHING in (line.strip() for line in command.answer):
            print(f"{document}:{command.line}: contained {ANYTHING} and is now complete; shorten it again")
    file.write_text("".join(f"{line}\n" for line in lines))


def _normal(line: str) -> str:
    for pattern, replacement in RULES:
        line = re.sub(pattern, replacement, line)
    return line


def _replaced(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _difference(wanted: list[str], output: list[str], first: int) -> Iterator[str]:
    """A diff in which ``…`` hides the lines that it matches; lines of the document have their numbers."""
    number = first
    diff = list(difflib.ndiff(wanted, output))
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
