"""A mailbox at Microsoft 365: first sync, a day of ticks, and what a person has to repair (SPEC §23)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailsync.accounts.change import Changes, change_account
from mailsync.accounts.consent import consent_of
from mailsync.auth.grants import begin_device, poll_device
from mailsync.engine.turn import Turn
from mailsync.errors import GrantRejected, InvalidInput, MailsyncError, NotConnected, Throttled, TurnOver
from mailsync.store import turns
from tests.support import mail, planted
from tests.support.access_tokens import AccessTokens
from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.mailboxes import Account
from tests.support.oauth_accounts import TokenLogin, consented
from tests.support.oauth_browser import Browser
from tests.support.passing_time import Hours, pass_time, stored_tokens
from tests.support.profiles import Profile, exchange_online
from tests.support.pushed import PushedMirror
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters

TICK = timedelta(minutes=5)
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> Hours:
    return Hours()


@pytest.fixture
def client(authorization_server: AuthorizationServer) -> RegisteredClient:
    authorization_server.terms.token_length = 4096
    return authorization_server.add_client("microsoft", public=True, mechanism="XOAUTH2")


@pytest.fixture
def profile(scripted: ScriptedServer, authorization_server: AuthorizationServer, clock: Hours) -> Profile:
    def user_of(token: str) -> str | None:
        user: str | None = authorization_server.introspect(token).get("username")
        return user

    profile = exchange_online(AccessTokens(clock, user_of))
    scripted.adopt(profile.habits)
    return profile


@pytest.fixture
def user(scripted: ScriptedServer, profile: Profile) -> Account:
    user = profile.furnish(scripted.new_user("ann@example.test"))
    for name in ("INBOX", "Sent Items", "Archive"):
        letters(user, 3, name)
    return user


@pytest.fixture
def mirror(
    database_url: str,
    scripted: ScriptedServer,
    authorization_server: AuthorizationServer,
    client: RegisteredClient,
    user: Account,
) -> Iterator[Mirror]:
    """The mirror of an account that was authorized, and has a refresh token only."""
    login = TokenLogin(user.name, consented(authorization_server, client, user.name))
    changes: dict[str, Any] = {"oauth_clients": (client.client,), "sync_interval": TICK.total_seconds()}
    with Mirror(database_url, scripted, login, **changes) as mirror:
        yield mirror


class Ticks:
    """Ticks of the account as a worker takes them: when it is due, and not before."""

    def __init__(self, mirror: Mirror, server: ScriptedServer, clock: Hours) -> None:
        self.mirror, self.server, self.clock = mirror, server, clock

    def pass_time(self, by: timedelta = TICK) -> None:
        pass_time(self.mirror, self.server, self.clock, by)

    @property
    def is_due(self) -> bool:
        conn = self.mirror.conn
        return turns.claim(conn, turns.now(conn), TICK.total_seconds()) == self.mirror.account_id

    def take(self) -> Turn | MailsyncError | None:
        """Take a turn if the account is due, and fill folders as the next pass does."""
        if not self.is_due:
            return None
        ended = self.mirror.hot()
        if isinstance(ended, Turn):
            self.mirror.fill()
        return ended


@pytest.fixture
def ticks(mirror: Mirror, scripted: ScriptedServer, clock: Hours) -> Ticks:
    return Ticks(mirror, scripted, clock)


def mirrored(mirror: Mirror) -> list[tuple[str, int, tuple[str, ...]]]:
    """Folder, UID and flags of every live row."""
    rows = mirror.conn.execute(
        "select f.path, m.uid, m.flags from messages m join folders f on f.id = m.folder_id"
        ' where m.deleted_at is null order by f.path collate "C", m.uid'
    )
    return [(path, uid, tuple(flags)) for path, uid, flags in rows]


def served(user: Account) -> list[tuple[str, int, tuple[str, ...]]]:
    """The same of the server, in the folders that are mirrored."""
    return [
        (name.decode(), message.uid, tuple(flag.decode() for flag in message.flags))
        for name, folder in sorted(user.folders.items())
        for message in folder.mails.values()
    ]


def ids(mirror: Mirror) -> list[tuple[int, int, int]]:
    """The rows as products know them: account, folder and message."""
    return mirror.conn.execute("select account_id, folder_id, id from messages order by id").fetchall()


# -- a day ------------------------------------------------------------------------------------------------


def test_the_first_sync_signs_in_with_a_token_of_4_kb(
    mirror: Mirror, user: Account, scripted: ScriptedServer, authorization_server: AuthorizationServer
) -> None:
    mirror.complete()
    assert mirrored(mirror) == served(user)
    assert mirror.state == ("healthy", None)
    assert scripted.journal.counts()["AUTHENTICATE"] == 1
    assert scripted.journal.counts()["LOGIN"] == 0
    (renewal,) = authorization_server.journal.renewals()
    assert len(stored_tokens(mirror).access_token or "") == 4096
    assert "client_secret" not in renewal.parameters


@pytest.mark.long
def test_a_day_of_ticks_renews_every_hour_and_nothing_fails(
    mirror: Mirror,
    user: Account,
    ticks: Ticks,
    scripted: ScriptedServer,
    authorization_server: AuthorizationServer,
) -> None:
    mirror.complete()
    inbox, sent = user.folder("INBOX"), user.folder("Sent Items")
    for number in range(int(DAY / TICK)):
        ticks.pass_time()
        if number % 3 == 0:
            inbox.add(mail.message(number))
        if number % 7 == 0:
            sent.add(mail.message(number), rb"\Seen")
        if number % 11 == 0:
            inbox.set_flags(max(inbox.mails), rb"\Seen")
        ended = ticks.take()
        assert isinstance(ended, Turn), (number, ended)
        assert mirror.state == ("healthy", None), number
    mirror.conn.execute("update folders set next_flag_scan_at = now(), next_reconcile_at = now()")
    assert isinstance(mirror.hot(), Turn)
    assert isinstance(mirror.hot(), Turn)
    assert mirrored(mirror) == served(user)
    assert 24 <= len(authorization_server.journal.renewals()) <= 27
    assert len(authorization_server.journal.requests("token")) == len(authorization_server.journal.renewals())
    (family,) = authorization_server.store.families
    assert not family.reused
    assert scripted.journal.counts()["AUTHENTICATE"] == len(authorization_server.journal.renewals())
    assert mirror.value("select token_refused_at from accounts") is None
    assert mirror.value("select count(*) from sync_runs where error_code is not null") == 0
    states = "select data->>'new' from sync_events where type = 'account.state_changed'"
    assert {state for (state,) in mirror.conn.execute(states)} <= {"healthy", "initial_sync"}
    assert scripted.speaking_conflicts == []


def test_a_session_that_ends_with_its_token_in_the_middle_of_a_turn_is_no_failure(
    mirror: Mirror, user: Account, ticks: Ticks, scripted: ScriptedServer, clock: Hours
) -> None:
    mirror.complete()
    for _ in range(11):
        ticks.pass_time()
        assert isinstance(ticks.take(), Turn)
    ticks.pass_time(timedelta(minutes=4, seconds=45))
    user.folder("INBOX").add(mail.message(50))

    def end(request: Any) -> Any:
        clock.now += 60
        return request.bye(scripted.token_farewell)

    scripted.on("EXAMINE", end, times=1)
    assert isinstance(mirror.hot(), TurnOver)
    assert mirror.state == ("healthy", None)
    assert mirror.value("select consecutive_failures from accounts") == 0
    assert isinstance(mirror.hot(), Turn)
    assert mirrored(mirror) == served(user)


def test_a_parked_session_that_ends_with_its_token_is_opened_again(
    database_url: str,
    scripted: ScriptedServer,
    authorization_server: AuthorizationServer,
    client: RegisteredClient,
    user: Account,
    clock: Hours,
) -> None:
    login = TokenLogin(user.name, consented(authorization_server, client, user.name))
    with PushedMirror(database_url, scripted, login, oauth_clients=(client.client,)) as mirror:
        mirror.complete()
        mirror.settle()
        for number in range(3):
            entry = mirror.listening._entries[mirror.account_id]
            entry.state = replace(entry.state, opened_at=entry.state.opened_at - 3600)
            pass_time(mirror, scripted, clock, timedelta(hours=1))
            mirror.follow(lambda: not mirror.is_parked, "the end of the session")
            assert mirror.value("select next_sync_at <= now() from accounts"), "it is opened again at once"
            assert isinstance(mirror.hot(), Turn)
            assert mirror.state == ("healthy", None)
            user.folder("INBOX").add(mail.message(50 + number))
            mirror.follow(lambda number=number: len(mirror.rows()) == 4 + number, "the message")
        assert mirror.value("select consecutive_failures from accounts") == 0
        assert mirror.value("select count(*) from sync_runs where error_code is not null") == 0
        assert len(authorization_server.journal.renewals()) == 4
        assert scripted.journal.counts()["AUTHENTICATE"] == 4


def test_a_daemon_signs_in_by_client_credentials(
    database_url: str,
    scripted: ScriptedServer,
    authorization_server: AuthorizationServer,
    user: Account,
    clock: Hours,
) -> None:
    client = authorization_server.add_client("microsoft", mailbox=user.name, mechanism="XOAUTH2")
    tokens = consented(authorization_server, client, user.name, grant="client_credentials")
    with Mirror(
        database_url, scripted, TokenLogin(user.name, tokens), oauth_clients=(client.client,)
    ) as mirror:
        mirror.complete()
        pass_time(mirror, scripted, clock, timedelta(hours=1))
        user.folder("INBOX").add(mail.message(50))
        assert isinstance(mirror.hot(), Turn)
        assert mirrored(mirror) == served(user)
        assert len(authorization_server.journal.requests("token", "client_credentials")) == 2


def test_throttling_waits_and_is_no_failure(
    mirror: Mirror, profile: Profile, user: Account, ticks: Ticks, scripted: ScriptedServer
) -> None:
    mirror.complete()
    ticks.pass_time(timedelta(hours=1))
    profile.throttle(scripted, "AUTHENTICATE", 300_000, times=1)
    assert isinstance(ticks.take(), Throttled)
    assert mirror.state == ("degraded", "throttled")
    assert mirror.value("select consecutive_failures from accounts") == 0
    ticks.pass_time(timedelta(minutes=4))
    assert not ticks.is_due
    ticks.pass_time(timedelta(minutes=2))
    assert isinstance(ticks.take(), Turn)
    assert mirror.state == ("healthy", None)


# -- a mailbox that is not opened ------------------------------------------------------------------------


def test_a_mailbox_that_stays_closed_is_broken_after_an_hour_and_tried_hourly(
    mirror: Mirror, user: Account, ticks: Ticks, scripted: ScriptedServer
) -> None:
    mirror.complete()
    rows = ids(mirror)
    user.is_open = False
    ticks.pass_time()
    assert isinstance(ticks.take(), NotConnected)
    passed = timedelta()
    while mirror.state == ("degraded", "not_connected"):
        ticks.pass_time()
        passed += TICK
        assert isinstance(ticks.take(), NotConnected | None)
        assert passed < timedelta(hours=2)
    assert mirror.state == ("broken", "not_connected")
    assert passed >= timedelta(hours=1)
    message = mirror.value("select sync_state_message from accounts")
    for hint in ("not connected", "another user", "IMAP", "licence"):
        assert hint in message
    tries = scripted.journal.counts()["AUTHENTICATE"]
    for _ in range(24):
        ticks.pass_time(timedelta(hours=1, minutes=1))
        assert isinstance(ticks.take(), NotConnected)
    assert scripted.journal.counts()["AUTHENTICATE"] == tries + 24
    assert mirror.state == ("broken", "not_connected")
    user.is_open = True
    user.folder("INBOX").add(mail.message(50))
    ticks.pass_time(timedelta(hours=1, minutes=1))
    assert isinstance(ticks.take(), Turn)
    ticks.pass_time()
    assert isinstance(ticks.take(), Turn), "nothing has been reconciled for a day"
    assert mirror.state == ("healthy", None)
    assert mirrored(mirror) == served(user)
    assert ids(mirror)[: len(rows)] == rows


def test_a_mailbox_that_stays_closed_for_a_week_waits_for_a_person(
    mirror: Mirror, user: Account, ticks: Ticks
) -> None:
    mirror.complete()
    user.is_open = False
    ticks.pass_time()
    ticks.take()
    ticks.pass_time(timedelta(hours=1))
    ticks.take()
    assert mirror.state == ("broken", "not_connected")
    ticks.pass_time(timedelta(days=6, hours=23))
    assert ticks.is_due
    ticks.pass_time(timedelta(hours=2))
    assert not ticks.is_due


# -- a person has to authorize again ---------------------------------------------------------------------


def authorize_by_code(mirror: Mirror, client: RegisteredClient, user: str) -> None:
    """Have a person enter a device code on the provider's page, and store what comes of it."""
    known, settings = client.client, mirror.settings
    device = begin_device(known, settings)
    Browser().enter_code(device.verification_uri, device.user_code, user)
    asked_at = datetime.now(UTC)
    issued = poll_device(known, device, settings)
    assert issued is not None
    changes = Changes(consent=consent_of(known, issued, asked_at))
    change_account(mirror.conn, mirror.account_id, changes, settings, started_by="test", wait=5)


def test_a_revoked_account_is_broken_once_and_comes_back_with_its_rows(
    mirror: Mirror,
    user: Account,
    ticks: Ticks,
    client: RegisteredClient,
    authorization_server: AuthorizationServer,
) -> None:
    mirror.complete()
    rows = ids(mirror)
    authorization_server.revoke(user.name)
    ticks.pass_time(timedelta(minutes=50))
    assert isinstance(ticks.take(), Turn), "the access token is still valid"
    ticks.pass_time(timedelta(minutes=10))
    assert isinstance(ticks.take(), GrantRejected)
    assert mirror.state == ("broken", "auth_failed")
    message = mirror.value("select sync_state_message from accounts")
    assert f"mailsync reauthorize {user.name}" in message
    assert not planted.found_in(message)
    asked = len(authorization_server.journal.requests("token"))
    ticks.pass_time(DAY)
    assert not ticks.is_due, "nobody asks until a person acts"
    assert len(authorization_server.journal.requests("token")) == asked

    user.folder("INBOX").add(mail.message(50))
    authorize_by_code(mirror, client, user.name)
    assert mirror.state[0] == "initial_sync"
    ticks.pass_time()
    for _ in range(2):
        assert isinstance(ticks.take(), Turn)
        ticks.pass_time()
    assert mirror.state == ("healthy", None)
    assert mirrored(mirror) == served(user)
    assert ids(mirror)[: len(rows)] == rows
    (_, family) = authorization_server.store.families
    assert stored_tokens(mirror).refresh_token == family.current


def test_another_user_cannot_authorize_the_account_again(
    mirror: Mirror, ticks: Ticks, user: Account, client: RegisteredClient
) -> None:
    mirror.complete()
    before = stored_tokens(mirror)
    with pytest.raises(InvalidInput, match=r"belong to eve@example\.test"):
        authorize_by_code(mirror, client, "eve@example.test")
    assert stored_tokens(mirror) == before
    ticks.pass_time()
    assert isinstance(ticks.take(), Turn)


def test_a_consent_for_a_mailbox_that_is_not_opened_says_what_may_be_wrong(
    mirror: Mirror, user: Account, client: RegisteredClient
) -> None:
    mirror.complete()
    before = stored_tokens(mirror)
    user.is_open = False
    with pytest.raises(NotConnected, match="licence") as caught:
        authorize_by_code(mirror, client, user.name)
    assert caught.value.step == "list"
    assert stored_tokens(mirror) == before
