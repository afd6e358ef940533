"""The mirror of a mailbox at a large provider: first sync, changes, limits, and sessions that end hourly."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mailsync.engine.turn import Turn
from mailsync.errors import Throttled, Transient
from tests.support import mail
from tests.support.mailboxes import Account
from tests.support.profiles import PROVIDERS, Profile, exchange_online, gmail
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters


@pytest.fixture(params=PROVIDERS.values(), ids=PROVIDERS.keys())
def profile(request: pytest.FixtureRequest) -> Profile:
    make: Callable[[], Profile] = request.param
    return make()


@pytest.fixture
def user(scripted: ScriptedServer, profile: Profile) -> Account:
    scripted.adopt(profile.habits)
    user = profile.furnish(scripted.new_user())
    for folder in list(user.folders.values()):
        if rb"\Noselect" not in folder.attributes:
            letters(user, 3, folder.name.decode())
    return user


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer, user: Account) -> Iterator[Mirror]:
    with Mirror(database_url, scripted, user) as mirror:
        yield mirror


def live(mirror: Mirror) -> list[tuple[str, int, tuple[str, ...]]]:
    """Folder, UID and flags of every live row."""
    rows = mirror.conn.execute(
        "select f.path, m.uid, m.flags from messages m join folders f on f.id = m.folder_id"
        ' where m.deleted_at is null order by f.path collate "C", m.uid'
    )
    return [(path, uid, tuple(flags)) for path, uid, flags in rows]


def served(user: Account, tracked: set[str]) -> list[tuple[str, int, tuple[str, ...]]]:
    """The same of the server, in the folders that are tracked."""
    return [
        (name.decode(), mail.uid, tuple(flag.decode() for flag in mail.flags))
        for name, folder in sorted(user.folders.items())
        for mail in folder.mails.values()
        if name.decode() in tracked
    ]


def test_everything_is_mirrored_and_followed(mirror: Mirror, user: Account, scripted: ScriptedServer) -> None:
    mirror.complete()
    rows = live(mirror)
    tracked = {path for path, _, _ in rows}
    assert "INBOX" in tracked
    assert len(tracked) > 3
    assert rows == served(user, tracked)

    inbox, other = user.folder("INBOX"), user.folder(sorted(tracked - {"INBOX"})[0])
    for folder in (inbox, other):
        folder.add(mail.message(50), rb"\Seen")
        folder.set_flags(1, rb"\Flagged", rb"\Seen")
        folder.expunge(2)
    mirror.conn.execute("update folders set next_flag_scan_at = now(), next_reconcile_at = now()")
    for _ in range(3):
        assert isinstance(mirror.hot(), Turn)
    assert live(mirror) == served(user, tracked)
    assert mirror.state[0] == "healthy"
    assert scripted.speaking_conflicts == []
    assert scripted.journal.interleavings() == []


def test_the_hourly_end_of_a_session_is_no_failure(
    mirror: Mirror, user: Account, scripted: ScriptedServer, profile: Profile
) -> None:
    mirror.complete()
    scripted.bye(profile.farewell, user)
    user.folder("INBOX").add(mail.message(50))
    assert isinstance(mirror.hot(), Turn)
    assert mirror.value("select count(*) from messages where uid = 4") == 1
    assert mirror.state[0] == "healthy"
    assert len(scripted.journal.sessions(user.name)) == 2


def test_a_login_beyond_the_limit_of_connections_is_temporary(
    mirror: Mirror, user: Account, scripted: ScriptedServer, profile: Profile
) -> None:
    limit = profile.habits.connection_limit
    assert limit
    user.watchers += [lambda change: None] * limit
    assert isinstance(mirror.hot(), Transient | Throttled)
    assert mirror.state[0] == "degraded"
    user.watchers.clear()
    mirror.conn.execute("update accounts set backoff_until = null, next_sync_at = now()")
    assert isinstance(mirror.hot(), Turn)


def test_throttling_is_recognised(
    mirror: Mirror, user: Account, scripted: ScriptedServer, profile: Profile
) -> None:
    mirror.complete()
    user.folder("INBOX").add(mail.message(50))
    profile.throttle(scripted, "EXAMINE", 5000)
    before = scripted.journal.counts()["EXAMINE"]
    assert isinstance(mirror.hot(), Throttled)
    assert scripted.journal.counts()["EXAMINE"] == before + 1, "it is not asked again"


def test_profiles_offer_what_the_providers_announce() -> None:
    assert not {b"CONDSTORE", b"ESEARCH", b"LIST-STATUS", b"ENABLE", b"NOTIFY"} & set(
        exchange_online().habits.capabilities.split()
    )
    assert {b"CONDSTORE", b"LIST-STATUS"} < set(gmail().habits.capabilities.split())
    assert b"LIST-STATUS" not in gmail().without(b"LIST-STATUS").habits.capabilities.split()
