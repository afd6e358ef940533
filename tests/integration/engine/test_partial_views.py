"""Servers that show a part of a folder: all that can be had is mirrored, and the rest is said."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.limited import cut_searches, hide_from_fetches, hide_from_searches
from tests.support.mailboxes import Account
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.session import Request
from tests.support.stored import assert_counts_are_true
from tests.support.turns import Mirror, letters

PLAIN = b"IMAP4rev1 UNSELECT LIST-EXTENDED LIST-STATUS"
ALL = list(range(1, 26))


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    return scripted.new_user()


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer, user: Account) -> Iterator[Mirror]:
    """A mirror of an inbox with 25 messages; no turn was taken yet."""
    letters(user, 25)
    with Mirror(database_url, scripted, user) as mirror:
        yield mirror


def commands_of(server: ScriptedServer, turn: object) -> list[str]:
    before = len(server.journal.commands())
    turn()  # type: ignore[operator]
    return [command.name for command in server.journal.commands()[before:]]


def tombstones(mirror: Mirror) -> int:
    return int(mirror.value("select count(*) from messages where deleted_at is not null"))


CUTS = {
    "RFC 9738": "OK [MESSAGELIMIT {most} {lowest}] done",
    "without a UID": "OK [MESSAGELIMIT {most}] done",
    "with a UID that is no number": "OK [MESSAGELIMIT {most} x] done",
    "with a UID above all": "OK [MESSAGELIMIT {most} 99999999] done",
    "LIMIT": "OK [LIMIT] done",
    "refused": "NO [MESSAGELIMIT {most}] too many messages",
    "silent": "",
}


@pytest.mark.parametrize("capabilities", [CAPABILITIES, PLAIN], ids=["ESEARCH", "SEARCH"])
@pytest.mark.parametrize("code", CUTS.values(), ids=list(CUTS))
def test_a_search_that_is_cut_is_completed_by_ranges(
    scripted: ScriptedServer, mirror: Mirror, code: str, capabilities: bytes
) -> None:
    scripted.capabilities = capabilities
    cut_searches(scripted, 10, code)
    mirror.complete()
    assert sorted(mirror.rows()) == ALL
    assert mirror.state == ("healthy", None)
    assert commands_of(scripted, mirror.hot) == ["LIST"]
    assert_counts_are_true(mirror.conn, mirror.folder())


@pytest.mark.parametrize("newest", [True, False], ids=["newest", "oldest"])
@pytest.mark.parametrize("capabilities", [CAPABILITIES, PLAIN], ids=["ESEARCH", "SEARCH"])
def test_a_search_by_day_that_is_cut_without_a_word_is_completed(
    scripted: ScriptedServer, mirror: Mirror, capabilities: bytes, newest: bool
) -> None:
    scripted.capabilities = capabilities
    cut_searches(scripted, 10, newest=newest)
    mirror.conn.execute("update accounts set sync_since = '2000-01-01'")
    mirror.complete()
    assert sorted(mirror.rows()) == ALL
    mirror.conn.execute("update folders set next_reconcile_at = now() - interval '1 second'")
    mirror.hot()
    assert (sorted(mirror.rows()), tombstones(mirror)) == (ALL, 0)


def test_a_search_that_is_cut_to_the_oldest_is_completed(scripted: ScriptedServer, mirror: Mirror) -> None:
    cut_searches(scripted, 7, newest=False)
    mirror.complete()
    assert sorted(mirror.rows()) == ALL
    assert mirror.state == ("healthy", None)


@pytest.mark.parametrize("code", ["", "OK [MESSAGELIMIT {most} {lowest}] done"], ids=["silent", "said"])
def test_ranges_take_as_many_commands_as_there_are_parts(
    scripted: ScriptedServer, mirror: Mirror, code: str
) -> None:
    cut_searches(scripted, 10, code)
    mirror.hot()
    names = commands_of(scripted, mirror.fill)
    # a silent cut is asked twice, because messages may have come or gone
    assert names.count("UID SEARCH") == (4 if not code else 3)
    assert names.count("UID FETCH") <= 3


@pytest.mark.parametrize("windowed", [False, True], ids=["all mail", "a window"])
def test_where_a_limit_is_announced_new_mail_and_deletions_are_mirrored_as_ever(
    scripted: ScriptedServer, user: Account, mirror: Mirror, windowed: bool
) -> None:
    scripted.capabilities = CAPABILITIES.replace(b"QRESYNC", b"MESSAGELIMIT=10")
    if windowed:
        mirror.conn.execute("update accounts set sync_since = '2024-01-01T00:00:00Z'")
    cut_searches(scripted, 10, "OK [MESSAGELIMIT {most} {lowest}] done")
    mirror.configure(fetch_batch=5)
    mirror.complete()
    letters(user, 15)
    user.folder("INBOX").expunge(1, 2, 3)
    mirror.hot()
    mirror.hot()
    assert sorted(mirror.rows()) == list(range(4, 41))
    assert mirror.state == ("healthy", None)


def test_a_fetch_names_no_more_messages_than_the_server_processes(
    scripted: ScriptedServer, mirror: Mirror
) -> None:
    scripted.capabilities = CAPABILITIES + b" MESSAGELIMIT=4"
    mirror.complete()
    assert sorted(mirror.rows()) == ALL
    assert mirror.rows()[1] == ()
    sets = [c.line for c in scripted.journal.commands() if b"BODYSTRUCTURE" in c.line]
    assert len(sets) == 7


@pytest.mark.parametrize(
    "code", ["OK [MESSAGELIMIT 10 {}] done", "NO [MESSAGELIMIT 10] too many messages"], ids=["cut", "refused"]
)
def test_a_limit_that_only_a_fetch_reveals_is_kept_from_then_on(
    scripted: ScriptedServer, mirror: Mirror, code: str
) -> None:
    def fetch(request: Request) -> bytes:
        answers = re.split(rb"(?m)(?=^\* \d+ FETCH )", request.default().rpartition(request.tag)[0])[1:]
        if len(answers) <= 10:
            return request.default()
        shown = answers[-10:] if code.startswith("OK") else []
        uid = re.search(rb"UID (\d+)", shown[0]) if shown else None
        completion = code.format(uid[1].decode() if uid else "").encode()
        return b"".join(shown) + request.tagged(completion)

    scripted.on("UID FETCH", fetch)
    for turn in (mirror.hot, mirror.fill, mirror.hot, mirror.fill, mirror.hot, mirror.hot):
        turn()
        mirror.conn.execute("update folders set retry_at = null")
    assert mirror.rows() == dict.fromkeys(ALL, ())
    assert mirror.state == ("healthy", None)


def test_flags_below_the_limit_of_a_command_are_mirrored(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    scripted.capabilities = PLAIN
    mirror.complete()

    def fetch(request: Request) -> bytes:
        answer = request.default()
        lines = answer.splitlines(keepends=True)[:-1]
        if len(lines) <= 10 or b"BODY" in request.text:
            return answer
        lowest = re.search(rb"UID (\d+)", lines[-10])
        assert lowest
        return b"".join(lines[-10:]) + request.tagged(b"OK [MESSAGELIMIT 10 %s] done" % lowest[1])

    scripted.on("UID FETCH", fetch)
    user.folder("INBOX").set_flags(2, rb"\Flagged")
    mirror.conn.execute("update folders set next_flag_scan_at = now(), next_reconcile_at = now()")
    mirror.hot()
    assert mirror.value("select array_agg(uid) from messages where is_flagged") == [2]


@pytest.mark.parametrize("answers_nothing", [False, True], ids=["answers", "silent if nothing is found"])
def test_what_search_hides_and_fetch_gives_is_mirrored(
    scripted: ScriptedServer, mirror: Mirror, answers_nothing: bool
) -> None:
    hide_from_searches(scripted, *range(1, 16))
    if answers_nothing:
        search = scripted.handler("UID SEARCH")

        def silent(request: Request) -> bytes:
            answer = search(request)
            assert answer is not None
            return answer if b" ALL " in answer.split(b"\r\n")[0] else request.tagged(b"OK done")

        scripted.on("UID SEARCH", silent)
    mirror.complete()
    assert sorted(mirror.rows()) == ALL
    assert mirror.state == ("healthy", None)


def test_what_a_server_does_not_show_is_said_and_never_expunged(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    mirror.complete()
    ids = mirror.value("select array_agg(id order by uid) from messages")
    hide_from_searches(scripted, *range(1, 16))
    hide_from_fetches(scripted, *range(1, 16))
    mirror.conn.execute("update folders set next_reconcile_at = now()")
    mirror.hot()
    assert mirror.state == ("degraded", "partial_view")
    folder = mirror.folder()
    assert folder.limitation_message == "INBOX: the server shows 10 of 25 messages"
    assert commands_of(scripted, mirror.hot) == ["LIST"]
    letters(user, 1)
    mirror.hot()
    assert sorted(mirror.rows()) == list(range(1, 27))
    assert mirror.value("select array_agg(id order by uid) from messages where uid <= 25") == ids
    assert tombstones(mirror) == 0
    scripted.off("UID SEARCH")
    scripted.off("UID FETCH")
    mirror.conn.execute("update folders set next_reconcile_at = now()")
    mirror.hot()
    assert mirror.state == ("healthy", None)


def test_a_first_sync_of_a_part_is_complete_and_says_so(scripted: ScriptedServer, mirror: Mirror) -> None:
    hide_from_searches(scripted, *range(1, 16))
    hide_from_fetches(scripted, *range(1, 16))
    mirror.complete()
    assert sorted(mirror.rows()) == list(range(16, 26))
    assert mirror.state == ("degraded", "partial_view")
    message = mirror.value("select sync_state_message from account_status")
    assert message == "INBOX: the server shows 10 of 25 messages"


def test_a_first_sync_with_too_few_commands_to_search_for_all_is_completed_by_later_turns(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    letters(user, 75)
    cut_searches(scripted, 10, "OK [MESSAGELIMIT {most} {lowest}] done")
    mirror.configure(imap_max_commands_per_minute=60)
    mirror.hot()
    for _ in range(40):
        mirror.conn.execute("update accounts set throttle_tokens = 60")
        mirror.fill()
        if mirror.folder().is_complete:
            break
    assert sorted(mirror.rows()) == list(range(1, 101))


# -- a view that slides -------------------------------------------------------------------------------


class Window:
    """A folder of which the server shows the newest messages, by every command."""

    def __init__(self, server: ScriptedServer, user: Account, size: int) -> None:
        self.user, self.size = user, size
        self.hidden: dict[int, object] = {}
        self.slide()

    def slide(self) -> None:
        inbox = self.user.folder("INBOX")
        with inbox.lock:
            for uid in sorted(inbox.mails)[: -self.size]:
                self.hidden[uid] = inbox.mails.pop(uid)

    def arrive(self, count: int) -> None:
        letters(self.user, count)
        self.slide()


@pytest.mark.parametrize(
    "announced",
    [b" MESSAGELIMIT=10 UIDONLY", b" MESSAGELIMIT=10", b" MESSAGELIMIT=1000", b" UIDONLY"],
)
@pytest.mark.parametrize("base", [CAPABILITIES, PLAIN], ids=["QRESYNC", "plain"])
def test_what_slides_out_of_the_view_is_kept_and_said(
    scripted: ScriptedServer, user: Account, mirror: Mirror, announced: bytes, base: bytes
) -> None:
    scripted.capabilities = base + announced
    window = Window(scripted, user, 10)
    mirror.complete()
    assert sorted(mirror.rows()) == list(range(16, 26))
    window.arrive(3)
    mirror.hot()
    assert sorted(mirror.rows()) == list(range(16, 29))
    assert mirror.state == ("degraded", "partial_view")
    said = "INBOX: the server shows only the newest 10 messages; 3 older ones are kept as they were"
    assert mirror.folder().limitation_message == said
    assert commands_of(scripted, mirror.hot) == ["LIST"]
    window.arrive(4)
    mirror.hot()
    mirror.hot()
    assert sorted(mirror.rows()) == list(range(16, 33))
    assert tombstones(mirror) == 0
    assert_counts_are_true(mirror.conn, mirror.folder())


def test_a_doubtful_answer_does_not_end_a_view_that_slides(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    scripted.capabilities = CAPABILITIES + b" MESSAGELIMIT=1000 UIDONLY"
    window = Window(scripted, user, 10)
    mirror.complete()
    window.arrive(2)
    mirror.hot()
    hide_from_searches(scripted, 27)
    hide_from_fetches(scripted, 27)
    mirror.conn.execute("update folders set next_reconcile_at = now()")
    mirror.hot()
    scripted.off("UID SEARCH")
    scripted.off("UID FETCH")
    window.arrive(1)
    letters(user, 1)
    mirror.hot()
    mirror.hot()
    assert sorted(mirror.rows()) == list(range(16, 30))
    assert tombstones(mirror) == 0


def test_what_a_person_deletes_inside_of_the_view_is_expunged(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    scripted.capabilities = CAPABILITIES + b" MESSAGELIMIT=10 UIDONLY"
    window = Window(scripted, user, 10)
    mirror.complete()
    window.arrive(3)
    mirror.hot()
    inbox = user.folder("INBOX")
    inbox.expunge(25)
    # the newest of the older ones slides back
    inbox.mails[18] = window.hidden.pop(18)  # type: ignore[assignment]
    mirror.hot()
    assert sorted(mirror.rows()) == [uid for uid in range(16, 29) if uid != 25]
    assert mirror.value("select deleted_reason from messages where uid = 25") == "expunged"


def test_vanished_is_not_believed_about_what_slides_out(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    scripted.capabilities = CAPABILITIES + b" MESSAGELIMIT=10 UIDONLY"
    window = Window(scripted, user, 10)
    mirror.complete()
    mirror.hot()
    letters(user, 2)
    user.folder("INBOX").expunge(16, 17)
    mirror.hot()
    assert window.size == len(user.folder("INBOX").mails)
    assert sorted(mirror.rows()) == list(range(16, 28))


def test_a_smaller_folder_is_shown_as_a_whole_again(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    scripted.capabilities = CAPABILITIES + b" MESSAGELIMIT=10"
    window = Window(scripted, user, 10)
    mirror.complete()
    window.arrive(1)
    mirror.hot()
    user.folder("INBOX").expunge(20)
    mirror.hot()
    assert sorted(mirror.rows()) == sorted(user.folder("INBOX").mails)
    assert mirror.state == ("healthy", None)


@pytest.mark.parametrize("announced", [b"", b" MESSAGELIMIT=1000"])
def test_the_oldest_messages_that_a_person_deletes_are_expunged(
    scripted: ScriptedServer, user: Account, mirror: Mirror, announced: bytes
) -> None:
    scripted.capabilities = CAPABILITIES + announced
    mirror.complete()
    user.folder("INBOX").expunge(*range(1, 6))
    mirror.hot()
    assert sorted(mirror.rows()) == list(range(6, 26))
    letters(user, 3)
    if not announced:
        # as many as arrived: a rule that keeps the newest messages
        user.folder("INBOX").expunge(6, 7, 8)
    mirror.hot()
    assert sorted(mirror.rows()) == sorted(user.folder("INBOX").mails)
    assert mirror.state == ("healthy", None)


# -- UIDs that are no messages --------------------------------------------------------------------------


def test_a_uid_that_only_search_knows_is_no_message_and_hides_no_deletion(
    scripted: ScriptedServer, user: Account, mirror: Mirror
) -> None:
    def search(request: Request) -> bytes:
        return re.sub(rb"ALL ([0-9:,]+)", rb"ALL \1,90", request.default())

    mirror.complete()
    scripted.on("UID SEARCH", search)
    user.folder("INBOX").expunge(5)
    user.folder("INBOX").vanished.clear()
    mirror.conn.execute("update folders set next_reconcile_at = now()")
    mirror.hot()
    assert sorted(mirror.rows()) == [uid for uid in ALL if uid != 5]
    assert mirror.state == ("healthy", None)
