"""Whose folders a listing names."""

from __future__ import annotations

import pytest

from mailsync.core.folder_roles import assign_roles
from mailsync.core.namespaces import foreign_names
from mailsync.model import ListedFolder, Namespace, Namespaces


def spaces(*prefixes: str, delimiter: str | None = ".") -> tuple[Namespace, ...]:
    return tuple(Namespace(p.encode(), delimiter.encode() if delimiter else None) for p in prefixes)


def listed(name: str, *attributes: str) -> ListedFolder:
    return ListedFolder(name.encode(), name, ".", frozenset(attributes))


OWN = Namespaces(spaces(""), spaces("user."), spaces("shared."))
CYRUS = Namespaces(spaces("INBOX."), spaces("user."), spaces(""))
SLASH = Namespaces(spaces("", delimiter="/"), spaces("~", delimiter="/"), spaces("#shared/", delimiter="/"))
BARE = Namespaces(spaces(""), (), spaces("Public"))


@pytest.mark.parametrize(
    ("name", "namespaces", "is_foreign"),
    [
        ("INBOX", OWN, False),
        ("INBOX", CYRUS, False),
        ("inbox", CYRUS, False),
        ("Work", OWN, False),
        ("user.bob", OWN, True),
        ("user", OWN, True),
        ("users", OWN, False),
        ("shared.sales.2024", OWN, True),
        ("sharedness", OWN, False),
        ("#news.x", OWN, True),
        ("#news.x", None, True),
        ("user.bob", None, False),
        ("INBOX.Work", CYRUS, False),
        ("Inbox.Work", CYRUS, False),
        ("sales", CYRUS, True),
        ("user.bob", CYRUS, True),
        ("~bob/mail", SLASH, True),
        ("#shared/x", SLASH, True),
        ("#shared", SLASH, True),
        ("Public", BARE, True),
        ("Public.x", BARE, True),
        ("Publications", BARE, False),
        ("#mh/inbox", Namespaces(spaces("", "#mh/", delimiter="/")), False),
        ("Work", Namespaces((), (), spaces("")), False),
        ("user.bob", Namespaces((), spaces("user."), spaces("")), True),
        ("Work", Namespaces(spaces(""), spaces(""), spaces("")), False),
        ("Work", Namespaces(spaces("", delimiter=None), spaces("Work", delimiter=None)), True),
    ],
)
def test_the_longest_prefix_says_whose_a_folder_is(
    name: str, namespaces: Namespaces | None, is_foreign: bool
) -> None:
    assert foreign_names([listed(name)], namespaces) == ({name.encode()} if is_foreign else set())


def test_a_foreign_folder_gets_no_role_and_takes_none_from_the_own_ones() -> None:
    rows = [listed("user.bob.Sent", "\\sent"), listed("Sent"), listed("user.bob", "\\noselect")]
    decided = assign_roles(rows, foreign_names(rows, OWN))
    assert {name.decode(): (t.role, t.excluded_reason) for name, t in decided.items()} == {
        "user.bob.Sent": (None, "other_namespace"),
        "user.bob": (None, "noselect"),
        "Sent": ("sent", None),
    }
