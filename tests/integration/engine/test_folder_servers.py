"""Renamed folders at real servers: Dovecot without OBJECTID, pymap with OBJECTID alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import mail
from tests.support.discoveries import events, ids, look
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.pymap_server import Pymap
from tests.support.turns import Mirror

StartDovecot = Callable[..., Dovecot]
on_either = pytest.mark.parametrize("offered", [None, "IMAP4rev1"], ids=["all extensions", "none"])


def server_with(dovecot_with: StartDovecot, offered: str | None) -> Dovecot:
    return dovecot_with(capabilities=offered) if offered else dovecot_with()


def fill(dovecot: Dovecot, user: User, path: str, *numbers: int) -> None:
    """Create a folder with these messages."""
    dovecot.create(user, path)
    dovecot.seed(user, path, ((mail.message(n), "", mail.internal_date(n)) for n in numbers))


@on_either
def test_a_renamed_parent_keeps_its_rows_and_its_childrens(
    offered: str | None, database_url: str, dovecot_with: StartDovecot
) -> None:
    dovecot = server_with(dovecot_with, offered)
    user = dovecot.new_user()
    fill(dovecot, user, "Work", *range(30))
    fill(dovecot, user, "Work/Sub", *range(30, 35))
    fill(dovecot, user, "Work/Sub/Empty")
    with Mirror(database_url, dovecot, user) as mirror:
        mirror.complete()
        before = {path: (mirror.folder(path).id, ids(mirror, path)) for path in ("Work", "Work/Sub")}
        empty = mirror.folder("Work/Sub/Empty").id
        dovecot.rename(user, "Work", "Job")
        look(mirror)
        assert (mirror.folder("Job").id, ids(mirror, "Job")) == before["Work"]
        assert (mirror.folder("Job/Sub").id, ids(mirror, "Job/Sub")) == before["Work/Sub"]
        # nothing proves that an empty folder is the same
        assert mirror.folder("Job/Sub/Empty").id != empty
        assert sorted(e for e in events(mirror) if e[0] == "folder.renamed") == [
            ("folder.renamed", "Work", "Job"),
            ("folder.renamed", "Work/Sub", "Job/Sub"),
        ]
        dovecot.append(user, "Job/Sub", mail.message(50))
        dovecot.expunge(user, "Job", "1:3")
        mirror.complete()
        assert len(ids(mirror, "Job")) == 27
        assert len(ids(mirror, "Job/Sub")) == 6
        assert mirror.state == ("healthy", None)


@on_either
def test_a_folder_that_is_renamed_during_its_first_sync_goes_on(
    offered: str | None, database_url: str, dovecot_with: StartDovecot
) -> None:
    dovecot = server_with(dovecot_with, offered)
    user = dovecot.new_user()
    fill(dovecot, user, "Big", *range(90))
    with Mirror(database_url, dovecot, user, fetch_batch=30) as mirror:
        mirror.configure(backfill_turn_max=0.0)
        mirror.hot()
        while not ids(mirror, "Big"):
            mirror.fill()
        folder, rows = mirror.folder("Big"), ids(mirror, "Big")
        assert (folder.status, len(rows)) == ("initial", 30)
        dovecot.rename(user, "Big", "Bigger")
        look(mirror)
        mirror.configure(backfill_turn_max=5.0)
        mirror.complete()
        assert mirror.folder("Bigger").id == folder.id
        assert ids(mirror, "Bigger").items() > rows.items()
        assert len(ids(mirror, "Bigger")) == 90
        assert mirror.state == ("healthy", None)


@on_either
def test_a_folder_that_is_renamed_and_gets_mail_is_mirrored_again(
    offered: str | None, database_url: str, dovecot_with: StartDovecot
) -> None:
    dovecot = server_with(dovecot_with, offered)
    user = dovecot.new_user()
    fill(dovecot, user, "Work", *range(5))
    with Mirror(database_url, dovecot, user, folder_missing_grace=0) as mirror:
        mirror.complete()
        dovecot.rename(user, "Work", "Job")
        dovecot.append(user, "Job", mail.message(6))
        look(mirror)
        mirror.complete()
        assert sorted(ids(mirror, "Job")) == [1, 2, 3, 4, 5, 6]
        assert mirror.folder("Work").status == "missing"
        assert ids(mirror, "Work") == {}
        assert mirror.state == ("healthy", None)


def test_swapped_names_are_seen_and_rows_go_with_their_mailboxes(
    database_url: str, dovecot_with: StartDovecot
) -> None:
    dovecot = dovecot_with()
    user = dovecot.new_user()
    fill(dovecot, user, "A", *range(3))
    fill(dovecot, user, "B", *range(10, 25))
    with Mirror(database_url, dovecot, user) as mirror:
        mirror.complete()
        before = {path: (mirror.folder(path).id, ids(mirror, path)) for path in "AB"}
        if mirror.folder("A").uidvalidity == mirror.folder("B").uidvalidity:
            pytest.fail("Dovecot gives each mailbox a UIDVALIDITY of its own")
        for old, new in (("A", "x"), ("B", "A"), ("x", "B")):
            dovecot.rename(user, old, new)
        mirror.hot()
        assert (mirror.folder("B").id, ids(mirror, "B")) == before["A"]
        assert (mirror.folder("A").id, ids(mirror, "A")) == before["B"]
        mirror.complete()
        assert mirror.state == ("healthy", None)


@on_either
def test_a_folder_that_is_deleted_and_recreated_holds_only_its_new_messages(
    offered: str | None, database_url: str, dovecot_with: StartDovecot
) -> None:
    dovecot = server_with(dovecot_with, offered)
    user = dovecot.new_user()
    fill(dovecot, user, "Work", *range(4))
    with Mirror(database_url, dovecot, user) as mirror:
        mirror.complete()
        folder = mirror.folder("Work")
        dovecot.delete(user, "Work")
        look(mirror)
        assert mirror.folder("Work").missing_since is not None
        fill(dovecot, user, "Work", *range(20, 22))
        look(mirror)
        mirror.complete()
        now = mirror.folder("Work")
        assert (now.id, now.missing_since, now.live_count) == (folder.id, None, 2)
        assert now.uidvalidity != folder.uidvalidity
        assert sorted(ids(mirror, "Work")) == [1, 2]
        assert mirror.state == ("healthy", None)


def test_a_mailbox_id_is_enough_for_a_folder_that_is_empty_or_got_new_mail(
    database_url: str, pymap: Pymap
) -> None:
    user = pymap.user
    pymap.create(user, "Work", "Empty")
    with pymap.imap(user) as client:
        for n in range(5):
            client.append('"Work"', "", "", mail.message(n))
    with Mirror(database_url, pymap, user) as mirror:
        mirror.complete()
        work, empty, rows = mirror.folder("Work").id, mirror.folder("Empty").id, ids(mirror, "Work")
        pymap.rename(user, "Work", "Job")
        pymap.rename(user, "Empty", "Still empty")
        with pymap.imap(user) as client:
            client.append('"Job"', "", "", mail.message(5))
        look(mirror)
        mirror.complete()
        assert (mirror.folder("Job").id, mirror.folder("Still empty").id) == (work, empty)
        assert ids(mirror, "Job").items() > rows.items()
        assert len(ids(mirror, "Job")) == 6
        assert mirror.state == ("healthy", None)
