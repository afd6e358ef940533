"""Folders of other users and shared ones (RFC 2342): listed, and mirrored only if a person chooses them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailsync.store import folders
from tests.support.mailboxes import Account
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror, letters

CYRUS = b'* NAMESPACE (("" ".")) (("user." ".")) (("shared." ".") ("#news." "."))'
ALTERNATE = b'* NAMESPACE (("INBOX." ".")) (("user." ".")) (("" "."))'
FOREIGN = ["user.bob", "user.bob.Sent", "shared", "shared.sales", "#news.x"]


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    user = scripted.new_user()
    for path in FOREIGN:
        letters(user, 2, path)
    return user


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer, user: Account) -> Iterator[Mirror]:
    """A mirror of an inbox and of Sent on a server with NAMESPACE; no turn was taken yet."""
    scripted.capabilities = CAPABILITIES + b" NAMESPACE"
    scripted.delimiter = b"."
    answer_namespace(scripted, CYRUS)
    letters(user, 3)
    letters(user, 2, "INBOX.Sent")
    with Mirror(database_url, scripted, user) as mirror:
        yield mirror


def answer_namespace(server: ScriptedServer, line: bytes, completion: bytes = b"OK done") -> None:
    lines = line + b"\r\n" if line else b""
    server.on("NAMESPACE", lambda request: lines + request.tagged(completion))


def tracked(mirror: Mirror) -> list[str]:
    return sorted(f.path for f in folders.load(mirror.conn, mirror.account_id) if f.tracked)


def commands_of_a_tick(server: ScriptedServer, mirror: Mirror) -> list[str]:
    before = len(server.journal.commands())
    mirror.hot()
    return [command.name for command in server.journal.commands()[before:]]


@pytest.mark.parametrize("line", [CYRUS, ALTERNATE], ids=["below user and shared", "below nothing"])
def test_others_folders_are_listed_and_not_mirrored(
    scripted: ScriptedServer, mirror: Mirror, line: bytes
) -> None:
    answer_namespace(scripted, line)
    mirror.complete()
    assert tracked(mirror) == ["INBOX", "INBOX.Sent"]
    for path in FOREIGN:
        folder = mirror.folder(path)
        assert (folder.excluded_reason, folder.role, folder.live_count) == ("other_namespace", None, 0)
    assert mirror.folder("INBOX.Sent").role == "sent"
    assert mirror.state == ("healthy", None)
    assert commands_of_a_tick(scripted, mirror) == ["LIST"]


def test_a_person_who_chooses_a_shared_folder_keeps_it(mirror: Mirror) -> None:
    mirror.complete()
    folders.choose(mirror.conn, mirror.account_id, "shared.sales", tracked=True)
    mirror.hot()
    mirror.fill()
    mirror.conn.execute("update accounts set next_discovery_at = now()")
    mirror.hot()
    assert sorted(mirror.rows("shared.sales")) == [1, 2]
    assert tracked(mirror) == ["INBOX", "INBOX.Sent", "shared.sales"]


def test_a_shared_folder_that_was_mirrored_before_stays_mirrored(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    scripted.capabilities = CAPABILITIES
    mirror.complete()
    assert "shared.sales" in tracked(mirror)
    scripted.capabilities = CAPABILITIES + b" NAMESPACE"
    mirror.env.sessions.close()
    letters(user, 1, "shared.marketing")
    letters(user, 1, "shared.sales")
    mirror.conn.execute("update accounts set next_discovery_at = now()")
    mirror.hot()
    assert sorted(mirror.rows("shared.sales")) == [1, 2, 3]
    assert "shared.sales" in tracked(mirror) and "shared.marketing" not in tracked(mirror)
    assert mirror.value("select count(*) from messages where deleted_at is not null") == 0


@pytest.mark.parametrize(
    ("line", "completion"),
    [
        (b"", b"OK done"),
        (b"", b"NO not now"),
        (b"", b"BAD what"),
        (b"* NAMESPACE ((", b"OK done"),
        (b"* NAMESPACE NIL NIL NIL", b"OK done"),
        (b'* NAMESPACE NIL NIL (("" "."))', b"OK done"),
    ],
)
def test_without_a_useful_answer_only_the_names_decide(
    scripted: ScriptedServer, mirror: Mirror, line: bytes, completion: bytes
) -> None:
    answer_namespace(scripted, line, completion)
    mirror.complete()
    assert tracked(mirror) == sorted(["INBOX", "INBOX.Sent", *FOREIGN[:-1]])
    assert mirror.folder("#news.x").excluded_reason == "other_namespace"
    assert mirror.state == ("healthy", None)


def test_prefixes_may_be_literals(scripted: ScriptedServer, mirror: Mirror) -> None:
    def answer(request: Request) -> bytes:
        line = b'* NAMESPACE (("" ".")) (({5}\r\nuser. ".")) (("shared." "." "X-PARAM" ("a" "b")))\r\n'
        return line + request.tagged(b"OK done")

    scripted.on("NAMESPACE", answer)
    mirror.complete()
    assert tracked(mirror) == ["INBOX", "INBOX.Sent"]


def test_folders_of_others_do_not_count_towards_the_limit(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    for number in range(20):
        letters(user, 1, f"shared.{number}")
    mirror.configure(folder_max_count=5)
    mirror.complete()
    assert mirror.state == ("healthy", None)
