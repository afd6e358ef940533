"""One bad message costs itself, within the same turn (SPEC §9.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from mailsync.engine.turn import Turn
from mailsync.engine.verify import verify
from mailsync.errors import TurnOver
from mailsync.store import attempts
from mailsync.uidset import UidSet
from tests.support import faulty_messages as faults
from tests.support import mail
from tests.support.faulty_messages import asks_for, fail_at, for_content, for_structure, kill, refuse
from tests.support.mailboxes import Account
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.turns import Mirror

MANY = 500
FEW = 40
INBOX = {"folder": b"INBOX"}
BASICS = ("unfetchable",)
NOTHING = ("unfetchable", "internal_date", "size")
STRUCTURE = ("bodystructure",)


class Kind(NamedTuple):
    """A fault at one message, the message's row, and what a turn may spend to complete the others."""

    fail: Callable[[ScriptedServer, int], None]
    errors: tuple[str, ...]
    connections: int
    commands: int
    turns: int = 1


def at(fault: faults.Fault, **options: Any) -> Callable[[ScriptedServer, int], None]:
    return lambda server, uid: fail_at(server, uid, fault, **INBOX, **options)


def refused(text: bytes, **options: Any) -> Callable[[ScriptedServer, int], None]:
    return lambda server, uid: refuse(server, uid, text, **INBOX, **options)


def closed_at_once(**options: Any) -> Callable[[ScriptedServer, int], None]:
    return lambda server, uid: kill(server, uid, **INBOX, **options)


KINDS = {
    "an empty line before the parenthesis": Kind(at(faults.blank_line), (), 1, 10),
    "garbage inside": Kind(at(faults.garbage), NOTHING, 4, 35),
    "a literal that is too short": Kind(at(faults.literal_too_short), BASICS, 4, 35),
    "the connection is closed": Kind(at(faults.close), NOTHING, 4, 35),
    "the connection is closed inside": Kind(at(faults.close_inside), NOTHING, 4, 35),
    "BYE": Kind(at(faults.bye), NOTHING, 4, 35),
    "closed for its content": Kind(at(faults.close, when=for_content), BASICS, 4, 35),
    "closed for its structure": Kind(at(faults.close, when=for_structure), STRUCTURE, 4, 35),
    "closed at once": Kind(lambda s, uid: kill(s, uid, **INBOX), NOTHING, 4, 75, turns=2),
    "left out": Kind(at(faults.left_out), NOTHING, 2, 30),
    "its content is left out": Kind(at(faults.left_out, when=for_content), BASICS, 2, 30),
    "NO behind the others": Kind(at(faults.no), NOTHING, 2, 45),
    "NO": Kind(refused(b"NO cannot read it"), NOTHING, 2, 45),
    "NO for its content": Kind(refused(b"NO cannot read it", when=for_content), BASICS, 2, 45),
    "NO for its structure": Kind(refused(b"NO cannot read it", when=for_structure), STRUCTURE, 1, 30),
    "BAD": Kind(refused(b"BAD what"), NOTHING, 2, 60),
    "BAD for its content": Kind(refused(b"BAD what", when=for_content), BASICS, 2, 60),
    "SERVERBUG": Kind(refused(b"NO [SERVERBUG] Internal error", when=for_content), BASICS, 2, 45),
    "unavailable": Kind(refused(b"NO Server Unavailable. 15", when=for_content), BASICS, 2, 45),
}


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    """A user with an empty inbox, and ten messages in Sent."""
    account = scripted.new_user()
    sent = account.create("Sent", rb"\Sent")
    for n in range(1, 11):
        sent.add(mail.message(n))
    return account


def add(user: Account, count: int) -> None:
    for n in range(1, count + 1):
        user.folder("INBOX").add(mail.message(n), date=mail.internal_date(n).encode())


def unhindered(ended: object) -> bool:
    """Whether the turn ended without a failure of the account."""
    return isinstance(ended, Turn | TurnOver)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_one_bad_message_of_500_costs_no_other_and_the_account_no_backoff(
    kind: Kind, database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    bad = 217
    add(user, MANY)
    kind.fail(scripted, bad)
    with Mirror(database_url, scripted, user, imap_read_timeout=5) as mirror:
        mirror.hot()
        before = len(scripted.journal.commands())
        assert unhindered(mirror.fill())
        commands = scripted.journal.commands()[before:]
        assert len({command.connection for command in commands}) <= kind.connections
        assert len(commands) <= kind.commands
        assert set(range(1, MANY + 1)) - mirror.rows().keys() <= {bad}
        assert len(mirror.rows("Sent")) == 10

        for _ in range(kind.turns - 1):
            assert unhindered(mirror.fill())
        expected = dict.fromkeys(range(1, MANY + 1), ()) | {bad: kind.errors}
        assert mirror.rows() == expected
        assert mirror.value("select count(*) from fetch_attempts where retry_at is null") == 0
        for _ in range(2):
            assert unhindered(mirror.hot())
        unreadable = "unfetchable" in kind.errors
        assert mirror.state == (("degraded", "unreadable_messages") if unreadable else ("healthy", None))
        account = mirror.conn.execute("select consecutive_failures, backoff_until from accounts").fetchone()
        assert account == (0, None)
        size, date = mirror.conn.execute(
            "select m.size_bytes, m.internal_date from messages m join folders f on f.id = m.folder_id"
            " where f.path = 'INBOX' and m.uid = %s",
            [bad],
        ).fetchone()  # type: ignore[misc]
        if kind.errors == NOTHING:
            assert date in (mail.sent_at(bad - 1), mail.sent_at(bad + 1)), "a neighbour's"
        else:
            assert (size, date) == (len(mail.message(bad)), mail.sent_at(bad))


def test_the_commands_of_all_connections_of_a_turn_are_counted(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    add(user, FEW)
    fail_at(scripted, 20, faults.close, **INBOX)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        before = len(scripted.journal.commands())
        assert isinstance(mirror.fill(), Turn)
        commands = scripted.journal.commands()
        assert len({command.connection for command in commands}) == 4
        # those of the three logins are not the turn's own work, but are counted as metrics
        sent = mirror.value("select imap_commands from sync_runs order by id desc limit 1")
        logins = sum(command.name in ("LOGIN", "CAPABILITY", "ID", "ENABLE") for command in commands[before:])
        # UNSELECT follows the end of the run
        assert len(commands) - before - logins - 1 <= sent <= len(commands) - before
        mirror.env.counters.store(mirror.conn)
        metric = "select sum(value) from metric_counters where name = 'mailsync_imap_commands_total'"
        assert mirror.value(metric) == len(commands)
        errors = "select sum(value) from metric_counters where name = 'mailsync_imap_errors_total'"
        assert mirror.value(errors) == 3


def test_a_server_that_loses_answers_when_it_breaks_hides_no_message_for_long(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    bad = 217
    add(user, MANY)
    fail_at(scripted, range(bad - 30, bad + 1), faults.close, when=lambda r: asks_for(r, bad), **INBOX)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        assert unhindered(mirror.fill())
        assert len(mirror.rows()) > MANY - 50
        for _ in range(2):
            assert unhindered(mirror.fill())
        assert mirror.rows() == dict.fromkeys(range(1, MANY + 1), ()) | {bad: NOTHING}


@pytest.mark.parametrize("capabilities", [CAPABILITIES, b"IMAP4rev1 UNSELECT"], ids=["all", "none"])
@pytest.mark.parametrize("text", [b"NO cannot", b"BAD what", b"NO [SERVERBUG] Internal error"])
def test_a_message_of_which_even_the_flags_are_refused_hides_no_flags_of_others(
    text: bytes, capabilities: bytes, database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    scripted.capabilities = capabilities
    add(user, FEW)
    refuse(scripted, 20, text, even_flags=True, **INBOX)
    with Mirror(database_url, scripted, user) as mirror:
        for turn in (mirror.hot, mirror.fill, mirror.hot, mirror.hot, mirror.hot):
            assert unhindered(turn())
        assert mirror.rows() == dict.fromkeys(range(1, FEW + 1), ()) | {20: NOTHING}
        user.folder("INBOX").set_flags(7, rb"\Flagged")
        user.folder("INBOX").set_flags(33, rb"\Flagged")
        mirror.conn.execute("update folders set next_flag_scan_at = now()")
        for _ in range(3):
            assert unhindered(mirror.hot())
            mirror.conn.execute("update folders set next_flag_scan_at = now(), retry_at = now()")
        flagged = "select array_agg(uid::int order by uid) from messages where is_flagged"
        assert mirror.value(flagged) == [7, 33]
        assert mirror.state == ("degraded", "unreadable_messages")


@pytest.mark.parametrize("capabilities", [CAPABILITIES, b"IMAP4rev1 UNSELECT"], ids=["all", "none"])
@pytest.mark.parametrize(
    "fail", [refused(b"NO cannot", even_flags=True), closed_at_once(even_flags=True)], ids=["NO", "closed"]
)
def test_a_message_of_which_the_server_gives_nothing_is_left_out_of_scans(
    fail: Callable[[ScriptedServer, int], None],
    capabilities: bytes,
    database_url: str,
    scripted: ScriptedServer,
    user: Account,
) -> None:
    scripted.capabilities = capabilities
    add(user, FEW)
    fail(scripted, 20)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        for _ in range(2):
            assert unhindered(mirror.fill())
        assert mirror.rows() == dict.fromkeys(range(1, FEW + 1), ()) | {20: NOTHING}
        mirror.hot()
        user.folder("INBOX").set_flags(33, rb"\Flagged")
        mirror.conn.execute("update folders set next_flag_scan_at = now()")
        mirror.conn.execute("update fetch_attempts set retry_at = now() + interval '1 day'")
        before = len(scripted.journal.commands())
        assert unhindered(mirror.hot())
        commands = scripted.journal.commands()[before:]
        # one for each folder, at most
        assert len([command for command in commands if command.name == "UID FETCH"]) <= 2
        assert mirror.value("select array_agg(uid::int) from messages where is_flagged") == [33]
        report = verify(mirror.env, mirror.account_id, wait=5)
        assert {kind: n for f in report.folders.values() for kind, n in f.counts.items()} == {
            "placeholder": 1
        }


@pytest.mark.parametrize("bad", [1, FEW], ids=["oldest", "newest"])
@pytest.mark.parametrize("kind", [KINDS["the connection is closed"], KINDS["NO"]], ids=["closed", "NO"])
@pytest.mark.parametrize("first_sync", [True, False], ids=["first sync", "new mail"])
def test_the_place_of_the_bad_message_does_not_matter(
    first_sync: bool, kind: Kind, bad: int, database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    with Mirror(database_url, scripted, user, fetch_batch=25) as mirror:
        mirror.complete()
        if first_sync:
            mirror.conn.execute("update folders set status = 'pending', last_uid = 0")
        add(user, FEW)
        kind.fail(scripted, bad)
        turn = mirror.fill if first_sync else mirror.hot
        ended = turn()
        assert unhindered(ended)
        assert set(range(1, FEW + 1)) - mirror.rows().keys() <= {bad}
        assert len(mirror.rows("Sent")) == 10
        if not isinstance(ended, Turn):
            turn()
        assert mirror.rows() == dict.fromkeys(range(1, FEW + 1), ()) | {bad: kind.errors}
        assert mirror.folder().last_uid == FEW


@pytest.mark.parametrize("new", [False, True], ids=["first sync", "new mail"])
@pytest.mark.parametrize(
    "fail",
    [
        lambda s: fail_at(s, (7, 30), faults.close, **INBOX),
        lambda s: kill(s, (7, 30), **INBOX),
        lambda s: refuse(s, (7, 30), b"NO cannot", **INBOX),
        lambda s: fail_at(s, (7, 30), faults.garbage, when=for_content, **INBOX),
    ],
    ids=["closed", "closed at once", "NO", "garbage"],
)
def test_two_bad_messages_take_no_more_turns_than_connections_allow(
    fail: Callable[[ScriptedServer], None],
    new: bool,
    database_url: str,
    scripted: ScriptedServer,
    user: Account,
) -> None:
    with Mirror(database_url, scripted, user) as mirror:
        if new:
            mirror.complete()
        add(user, FEW)
        fail(scripted)
        mirror.hot()
        for _ in range(4):
            assert len(mirror.rows("Sent")) == 10 or not new
            ended = mirror.hot() if new else mirror.fill()
            assert unhindered(ended)
            assert len(mirror.rows("Sent")) == 10
            mirror.conn.execute("update folders set retry_at = now()")
        assert set(mirror.rows()) == set(range(1, FEW + 1))
        assert {uid for uid, errors in mirror.rows().items() if errors} == {7, 30}
        assert mirror.value("select consecutive_failures from accounts") == 0


@pytest.mark.parametrize(
    "fail",
    [
        lambda s: fail_at(s, range(1, FEW + 1), faults.close, **INBOX),
        lambda s: kill(s, range(1, FEW + 1), **INBOX),
        lambda s: refuse(s, range(1, FEW + 1), b"NO cannot", **INBOX),
        lambda s: refuse(s, range(1, FEW + 1), b"NO Server Unavailable. 15", **INBOX),
        lambda s: fail_at(s, range(1, FEW + 1), faults.left_out, **INBOX),
    ],
    ids=["closed", "closed at once", "NO", "unavailable", "left out"],
)
def test_a_folder_that_is_unreadable_as_a_whole_costs_only_itself(
    fail: Callable[[ScriptedServer], None], database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    add(user, FEW)
    fail(scripted)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        assert isinstance(mirror.fill(), Turn)
        assert len(mirror.rows("Sent")) == 10
        assert len(mirror.rows()) <= 3, "placeholders only for what was asked for alone, a few a tick"
        assert mirror.state == ("degraded", "folder_error")
        assert "cannot be fetched for now" in str(mirror.folder().last_error)
        before = len(scripted.journal.commands("UID FETCH"))
        assert isinstance(mirror.fill(), Turn)
        assert len(scripted.journal.commands("UID FETCH")) == before, "not before the next tick"

        scripted.off("UID FETCH")
        mirror.conn.execute("update folders set retry_at = now()")
        mirror.conn.execute("update fetch_attempts set retry_at = now() where retry_at is not null")
        for turn in (mirror.fill, mirror.hot, mirror.hot):
            assert isinstance(turn(), Turn)
        assert mirror.rows() == dict.fromkeys(range(1, FEW + 1), ())
        assert mirror.state == ("healthy", None)


def test_a_temporary_refusal_of_everything_blames_no_message(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    add(user, FEW)
    refuse(scripted, range(1, FEW + 1), b"NO [UNAVAILABLE] later", **INBOX)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        for _ in range(5):
            mirror.fill()
            mirror.conn.execute("update folders set retry_at = now()")
        assert mirror.rows() == {}
        assert mirror.value("select coalesce(sum(failures), 0) from fetch_attempts") == 0


@pytest.mark.parametrize("text", [b"NO cannot", b"BAD what"])
def test_other_folders_have_their_share_of_the_commands_of_a_first_turn(
    text: bytes, database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    scripted.capabilities = b"IMAP4rev1"
    add(user, FEW)
    refuse(scripted, 17, text, even_flags=True, **INBOX)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.configure(imap_max_commands_per_minute=200)
        mirror.hot()
        assert unhindered(mirror.fill())
        # to find the bad message takes more commands than a turn has
        assert len(mirror.rows()) >= FEW - 2
        assert len(mirror.rows("Sent")) == 10
        assert mirror.value("select count(*) from folders where last_error is not null") == 0


def test_a_new_message_that_is_always_unavailable_gets_a_placeholder(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    add(user, FEW)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        user.folder("INBOX").add(mail.message(FEW + 1))
        refuse(scripted, FEW + 1, b"NO [UNAVAILABLE] later", **INBOX)
        for _ in range(3):
            assert unhindered(mirror.hot())
            mirror.conn.execute("update folders set retry_at = null")
        assert mirror.rows() == dict.fromkeys(range(1, FEW + 1), ()) | {FEW + 1: NOTHING}
        assert mirror.state == ("degraded", "unreadable_messages")


def test_a_hang_at_one_message_keeps_the_answers_before_it(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    add(user, FEW)
    fail_at(scripted, 20, faults.hang, **INBOX)
    with Mirror(database_url, scripted, user, imap_read_timeout=1) as mirror:
        mirror.hot()
        assert unhindered(mirror.fill())
        assert set(range(1, FEW + 1)) - mirror.rows().keys() <= {20}
        assert len(mirror.rows("Sent")) == 10
        mirror.fill()
        assert set(mirror.rows()) == set(range(1, FEW + 1))


def test_a_header_above_the_limit_keeps_what_stands_behind_its_giant_fields(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    people = b",\r\n ".join(b"n%d@x.test" % n for n in range(20_000))
    user.folder("INBOX").add(b"To: %s\r\nReferences: <a@x>\r\n%s" % (people, mail.message(1)))
    with Mirror(database_url, scripted, user, imap_max_literal_bytes=65_536) as mirror:
        mirror.complete()
        assert mirror.rows() == {1: ("headers",)}
        row = mirror.conn.execute("select subject, message_id, sent_at from messages where to_emails = '{}'")
        assert row.fetchone() == ("Message 1", "1@mail.test", mail.sent_at(1))
        assert mirror.state == ("healthy", None)


def test_throttling_during_a_completion_ends_the_turn_and_loses_nothing(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    add(user, FEW)
    kill(scripted, 20, **INBOX)
    asked = []

    def slow_down(request: Any) -> bytes | None:
        asked.append(request.text)
        # the part behind the one that failed
        return request.tagged(b"NO [LIMIT] slow down") if len(asked) > 4 else handler(request)

    handler = scripted.handler("UID FETCH")
    scripted.on("UID FETCH", slow_down)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        mirror.fill()
        assert mirror.state[1] == "throttled"
        assert mirror.rows() and 20 not in mirror.rows()
        assert mirror.value("select coalesce(sum(failures), 0) from fetch_attempts") == 0


def test_a_uid_that_search_invents_gets_no_placeholder(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    add(user, FEW)

    def search(request: Any) -> bytes:
        return request.default().replace(b"1:40", b"1:41")  # type: ignore[no-any-return]

    scripted.on("UID SEARCH", search)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        assert isinstance(mirror.fill(), Turn)
        assert mirror.rows() == dict.fromkeys(range(1, FEW + 1), ())
        assert mirror.value("select count(*) from fetch_attempts") == 0


def test_a_server_that_does_not_come_back_fails_the_turn_with_what_it_gave_stored(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    add(user, FEW)

    def die(request: Any, line: bytes) -> bytes:
        scripted.greeting = b"* BYE going down"
        return faults.close(request, line)

    fail_at(scripted, 20, die, **INBOX)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        mirror.fill()
        assert mirror.state == ("degraded", "unreachable")
        assert mirror.value("select backoff_until > now() from accounts")
        assert set(mirror.rows()) == set(range(1, 20))
        assert mirror.value("select coalesce(sum(failures), 0) from fetch_attempts") == 0


def test_a_turn_without_time_asks_for_the_message_that_ended_an_earlier_one(
    database_url: str, scripted: ScriptedServer, user: Account
) -> None:
    add(user, 1)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.hot()
        attempts.note_attempt(mirror.conn, mirror.folder(), UidSet.of([1]))
        mirror.configure(backfill_turn_max=0)
        mirror.fill()
        assert mirror.rows() == {1: ()}
