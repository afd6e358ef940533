"""The role, priority and exclusion of listed folders."""

from __future__ import annotations

import unicodedata

import pytest

from mailsync.core.folder_role_names import NAMES
from mailsync.core.folder_roles import assign_roles, is_inbox, traits
from mailsync.model import FolderTraits, ListedFolder


def _listed(path: str, *attributes: str, delimiter: str | None = "/") -> ListedFolder:
    return ListedFolder(path.encode("utf-8", "replace"), path, delimiter, frozenset(attributes))


def _roles(*rows: ListedFolder) -> dict[str, tuple[str | None, str | None]]:
    decided = assign_roles(rows)
    return {row.path: (decided[row.wire_name].role, decided[row.wire_name].excluded_reason) for row in rows}


@pytest.mark.parametrize(
    ("path", "delimiter", "attributes", "role", "reason"),
    [
        ("INBOX", "/", (), "inbox", None),
        ("Inbox", ".", ("\\haschildren",), "inbox", None),
        ("inbox", None, ("\\noselect", "\\trash"), "inbox", None),
        ("INBOX/INBOX", "/", (), None, None),
        ("Work", "/", ("\\hasnochildren",), None, None),
        ("Ausgang", "/", ("\\sent",), "sent", None),
        ("Sent", "/", ("\\trash",), "trash", "trash"),
        ("[Gmail]", "/", ("\\noselect",), None, "noselect"),
        ("Gone", "/", ("\\nonexistent", "\\noselect"), None, "nonexistent"),
        ("Trash", "/", ("\\noselect",), None, "noselect"),
        ("[Gmail]/All Mail", "/", ("\\all",), "all", "all"),
        ("[Gmail]/Alle Nachrichten", "/", (), "all", "all"),
        ("[Google Mail]/Bin", "/", (), "trash", "trash"),
        ("[Gmail]/Important", "/", ("\\important",), None, None),
        ("[Gmail]/Starred", "/", ("\\flagged",), "flagged", None),
        ("INBOX.Sent", ".", (), "sent", None),
        ("INBOX.sent-mail", ".", (), "sent", None),
        ("Sent Items", "/", (), "sent", None),
        ("SENT", "/", (), "sent", None),
        ("Sent Invoices", "/", (), None, None),
        ("Unsent", "/", (), None, None),
        ("Clients/Acme/Sent", "/", (), None, None),
        ("Clients/Trash", "/", (), None, None),
        ("INBOX.Sent", "/", (), None, None),
        ("Sent", None, (), "sent", None),
        ("Entwürfe", "/", (), "drafts", None),
        (unicodedata.normalize("NFD", "Entwürfe"), "/", (), "drafts", None),
        ("ENTWÜRFE", "/", (), "drafts", None),
        ("Gelöschte Elemente", "/", (), "trash", "trash"),
        ("Papierkorb", "/", (), "trash", "trash"),
        ("Éléments envoyés", "/", (), "sent", None),
        ("Courrier indésirable", "/", (), "junk", "junk"),
        ("Elementos enviados", "/", (), "sent", None),
        ("Posta inviata", "/", (), "sent", None),
        ("Itens Enviados", "/", (), "sent", None),
        ("Verzonden items", "/", (), "sent", None),
        ("Elementy wysłane", "/", (), "sent", None),
        ("Skickat", "/", (), "sent", None),
        ("Sendte elementer", "/", (), "sent", None),
        ("Lähetetyt", "/", (), "sent", None),
        ("Odeslaná pošta", "/", (), "sent", None),
        ("Отправленные", "/", (), "sent", None),
        ("ÇÖP KUTUSU", "/", (), "trash", "trash"),
        ("送信済みメール", "/", (), "sent", None),
        ("已发送", "/", (), "sent", None),
        ("보낸편지함", "/", (), "sent", None),
        ("Archive", "/", (), "archive", None),
        ("Archive/2025", "/", (), None, None),
        ("Todos", "/", (), None, None),
        ("\ufffd", "/", (), None, None),
        ("", "/", (), None, None),
    ],
)
def test_one_folder(
    path: str, delimiter: str | None, attributes: tuple[str, ...], role: str | None, reason: str | None
) -> None:
    decided = traits(_listed(path, *attributes, delimiter=delimiter))
    assert (decided.role, decided.excluded_reason) == (role, reason)


def test_only_inbox_and_sent_are_priority_folders() -> None:
    rows = ("INBOX", "Sent", "Work", "Drafts", "Archive", "Starred", "Spam", "Trash", "All Mail")
    priorities = [traits(_listed(path)).sync_priority for path in rows]
    assert priorities[:2] == [1, 5]
    assert min(priorities[2:]) == 100
    assert priorities == sorted(priorities)


def test_every_localised_name_is_found_in_any_case_and_composition() -> None:
    for role, names in NAMES.items():
        for name in filter(None, (part.strip() for part in names.replace("\n", ";").split(";"))):
            for form in (name, name.upper(), unicodedata.normalize("NFD", name), f"INBOX/{name}"):
                assert traits(_listed(form)).role == role, form


def test_inbox_is_recognised_in_any_case() -> None:
    assert is_inbox(b"InBoX")
    assert not is_inbox(b"INBOX.INBOX")


def test_an_attribute_takes_the_role_from_a_name() -> None:
    assert _roles(_listed("Sent"), _listed("Gesendet", "\\sent")) == {
        "Sent": (None, None),
        "Gesendet": ("sent", None),
    }


def test_the_most_common_of_several_names_wins_the_role() -> None:
    decided = _roles(_listed("Sent Messages"), _listed("Gesendet"), _listed("Sent"))
    assert decided == {"Sent Messages": (None, None), "Gesendet": (None, None), "Sent": ("sent", None)}


def test_a_folder_that_lost_its_role_has_an_ordinary_priority() -> None:
    decided = assign_roles([_listed("Sent"), _listed("Gesendet", "\\sent")])
    assert decided[b"Sent"] == FolderTraits(None, 100, None)


def test_every_attribute_for_a_role_counts() -> None:
    assert _roles(_listed("A", "\\sent"), _listed("B", "\\sent")) == {
        "A": ("sent", None),
        "B": ("sent", None),
    }


def test_junk_and_trash_folders_are_excluded_with_the_folders_below_them() -> None:
    decided = _roles(
        _listed("Junk", "\\junk"),
        _listed("Spam"),
        _listed("Trash"),
        _listed("Trash/Old/Older"),
        _listed("Trashy/Novels"),
        _listed("Trash/Kept", "\\archive"),
    )
    assert decided == {
        "Junk": ("junk", "junk"),
        "Spam": ("junk", "junk"),
        "Trash": ("trash", "trash"),
        "Trash/Old/Older": (None, "trash"),
        "Trashy/Novels": (None, None),
        "Trash/Kept": ("archive", None),
    }


def test_inbox_is_always_included() -> None:
    decided = assign_roles([_listed("INBOX", "\\junk", delimiter="."), _listed("INBOX.Work", delimiter=".")])
    assert decided[b"INBOX"] == FolderTraits("inbox", 1, None)
    assert decided[b"INBOX.Work"].excluded_reason is None


def test_a_folder_listed_twice_has_the_attributes_of_both_rows() -> None:
    assert _roles(_listed("X", "\\sent"), _listed("X")) == {"X": ("sent", None)}


def test_no_folders_give_no_roles() -> None:
    assert assign_roles([]) == {}
