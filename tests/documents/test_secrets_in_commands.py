"""The commands of the documents keep secrets out of histories, argument lists and readable files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import console
from tests.documents.recipes import ROOT, blocks

DOCUMENTS = sorted(
    str(path.relative_to(ROOT)) for path in [*(ROOT / "docs").rglob("*.rst"), ROOT / "README.rst"]
)

# other users cannot see the arguments of the shell's own commands
_BUILTIN = re.compile(r"(?:\(umask 077; )?(?:(?:echo|printf|read|export|unset|umask)\b|\w+=)")
_TYPED = re.compile(r"://[^\s/:@'\"]+:[^\s@'\"]+@|\bpassword '[^']+'")
_GIVEN = re.compile(
    r"Bearer |generate-key\)|token_urlsafe|\$\{?(?:TOKEN|PASSWORD|KEY|PGPASSWORD)\b|PGPASSWORD="
)
_WRITTEN = re.compile(r"(?<!>)> ?\S*(?:env|pgpass|auth|token|reports|password\.json|account\.json)\b")
# heroku accepts values as arguments only; the page warns about it
_ONLY_WAY = re.compile(r"heroku config:set ")


def commands(document: str) -> Iterator[tuple[str, str]]:
    """The place of each command, and its text with the umask that applies to it."""
    umask = ""
    for block in blocks(document):
        for command in console.commands(block) if block.language == "console" else ():
            if command.text.startswith("umask "):
                umask = f"{command.text}; "
            yield f"{document}:{command.line}", umask + command.text


def faults(text: str) -> Iterator[str]:
    """The ways in which a command shows a secret to others."""
    masked = "umask 077" in text
    text = re.sub(r"^umask \d+; ", "", text)
    arguments = text.partition("\n")[0]
    if _TYPED.search(text):
        yield "a password is typed"
    if _GIVEN.search(arguments) and not _BUILTIN.match(arguments) and not _ONLY_WAY.match(arguments):
        yield "a secret is an argument"
    if _WRITTEN.search(arguments) and not masked:
        yield "a file with a secret can be read by others"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_command_shows_a_secret_to_others(document: str) -> None:
    assert [(place, fault) for place, text in commands(document) for fault in faults(text)] == []


def test_no_statement_has_a_password_which_histories_and_logs_would_keep() -> None:
    for document in DOCUMENTS:
        for block in blocks(document):
            assert not _TYPED.search(block.text.replace("user:password@host", "")), block.place


@pytest.mark.parametrize(
    "text",
    [
        "export DATABASE_URL='postgresql://me:word@db/mail'",
        "cat > env <<EOF\nDATABASE_URL=postgresql://me:word@db/mail\nEOF",
        'curl -s -H "Authorization: Bearer $TOKEN" http://127.0.0.1:3000/v1/accounts',
        'sed -i "s|^API_TOKEN=.*|&,reports=$TOKEN|" /etc/mailsync/env',
        'fly secrets set IMAP_ENCRYPTION_KEY="$(mailsync generate-key)"',
        'echo "Authorization: Bearer $(cat token)" > auth',
        "psql -c \"create role me login password 'word'\"",
    ],
)
def test_what_would_show_a_secret_is_found(text: str) -> None:
    assert list(faults(text))


def test_the_documents_that_have_commands_are_among_them() -> None:
    assert {"README.rst", "docs/howto/deploy.rst", "docs/howto/use_the_api.rst"} <= set(DOCUMENTS)
    assert sum(len(list(commands(document))) for document in DOCUMENTS) > 100
    assert Path(ROOT / "README.rst").exists()
