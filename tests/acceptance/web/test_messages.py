"""Messages over HTTP: every filter, paging while rows change, one message, and refusals."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from mailsync.web.http.cursors import Cursors
from tests.support import mail
from tests.support.api import Api, assert_problem
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account as add_synced_account
from tests.support.mirrors import mirrored
from tests.support.programs import Mailsync
from tests.support.sql_mirror import add_account, add_folder, add_messages, all_rows

Database = psycopg.Connection[Any]
Row = dict[str, Any]

SINCE, UNTIL = "2026-01-02T03:00:00Z", "2026-01-03T21:00:00+02:00"
FROM, TO = datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 1, 3, 19, tzinfo=UTC)
DAY = datetime(2026, 1, 3, tzinfo=UTC)


@pytest.fixture
def api(api: Api, mailbox: dict[str, int]) -> Api:
    """The API over a filled mirror."""
    return api


@pytest.fixture
def mailbox(database: Database) -> dict[str, int]:
    """An account with three folders, next to another account with mail; ids by name."""
    ids = {"account": add_account(database, "a@example.com"), "other": add_account(database, "b@example.com")}
    for number, path in enumerate(("INBOX", "Work/Ümläut", "2024")):
        ids[path] = add_folder(database, ids["account"], path)
        add_messages(database, ids["account"], ids[path], 60, seed=number)
    ids["other folder"] = add_folder(database, ids["other"], "INBOX")
    add_messages(database, ids["other"], ids["other folder"], 30, seed=9)
    return ids


def pages(api: Api, path: str, **parameters: object) -> Iterator[list[Row]]:
    """The pages of a list, by its cursors, which the Link header must repeat."""
    cursor = None
    while True:
        answer = api.call("GET", path, cursor=cursor, **parameters)
        assert answer.status == 200, answer.body
        document = answer.json()
        assert list(document) == ["data", "next_cursor"]
        cursor = document["next_cursor"]
        yield document["data"]
        if cursor is None:
            assert "Link" not in answer.headers
            return
        target, _, relation = answer.headers["Link"].partition(">; ")
        assert relation == 'rel="next"'
        assert api.call("GET", target[1:]).json() == api.call("GET", path, cursor=cursor, **parameters).json()


def ids_of(api: Api, path: str, **parameters: object) -> list[int]:
    return [item["id"] for page in pages(api, path, **parameters) for item in page]


# each filter, and a predicate for the rows that match
FILTERS: dict[str, tuple[dict[str, object], Callable[[Row, dict[str, int]], bool]]] = {
    "path": ({"folder": "Work/Ümläut"}, lambda row, ids: row["folder_id"] == ids["Work/Ümläut"]),
    "inbox": ({"folder": "inBox"}, lambda row, ids: row["folder_id"] == ids["INBOX"]),
    "since": ({"since": SINCE}, lambda row, ids: row["internal_date"] >= FROM),
    "until": ({"until": UNTIL}, lambda row, ids: row["internal_date"] < TO),
    "day": ({"since": "2026-01-03"}, lambda row, ids: row["internal_date"] >= DAY),
    "from": ({"from_": "Ann@Example.COM"}, lambda row, ids: "ann@example.com" in row["from_emails"]),
    "quote": ({"from_": "o'hara@example.com"}, lambda row, ids: "o'hara@example.com" in row["from_emails"]),
    "to": (
        {"to": "BOB@example.com"},
        lambda row, ids: "bob@example.com" in row["to_emails"] + row["cc_emails"] + row["bcc_emails"],
    ),
    "percent": ({"subject": "0%"}, lambda row, ids: row["subject"] == "Invoice 100%"),
    "underscore": ({"subject": "E_7"}, lambda row, ids: row["subject"] == "invoice_7"),
    "backslash": ({"subject": "\\"}, lambda row, ids: row["subject"] == "a\\b"),
    "word": ({"subject": "INVOICE"}, lambda row, ids: "nvoice" in (row["subject"] or "")),
    "unread": ({"unread": "true"}, lambda row, ids: not row["is_seen"]),
    "read": ({"unread": "false"}, lambda row, ids: row["is_seen"]),
    "flagged": ({"flagged": "true"}, lambda row, ids: row["is_flagged"]),
    "unflagged": ({"flagged": "false"}, lambda row, ids: not row["is_flagged"]),
    "attachments": ({"has_attachments": "true"}, lambda row, ids: row["has_attachments"]),
    "without": ({"has_attachments": "false"}, lambda row, ids: not row["has_attachments"]),
}  # fmt: skip


def test_filters_alone_and_combined_return_each_row_once_newest_first(
    api: Api, mailbox: dict[str, int], database: Database
) -> None:
    path, rows = f"/v1/accounts/{mailbox['account']}/messages", all_rows(database, mailbox["account"])
    chance = random.Random(4)
    asked = [[], *([name] for name in FILTERS), *(chance.sample([*FILTERS], 2) for _ in range(25))]
    for names in asked:
        parameters: dict[str, object] = {}
        for name in names:
            parameters |= FILTERS[name][0]
        if len(parameters) < len(names):
            continue  # twice the same parameter
        for deleted in (False, True):
            wanted = [
                row["id"]
                for row in rows
                if (deleted or row["deleted_at"] is None)
                and all(FILTERS[name][1](row, mailbox) for name in names)
            ]
            assert wanted or len(names) > 1
            given = parameters | ({"include_deleted": "true"} if deleted else {})
            limit = max(1, len(wanted) // 3)
            assert ids_of(api, path, limit=limit, **given) == wanted, given


def test_a_folder_can_be_given_by_id_and_digits_are_always_an_id(
    api: Api, mailbox: dict[str, int], database: Database
) -> None:
    path, folder = f"/v1/accounts/{mailbox['account']}/messages", mailbox["2024"]
    wanted = {row["id"] for row in all_rows(database, mailbox["account"]) if row["folder_id"] == folder}
    assert {*ids_of(api, path, folder=folder, limit=500, include_deleted="true")} == wanted
    for unknown in ("2024", "0", "9" * 30, mailbox["other folder"], "Nowhere", "Work", "inbox/x", "%", "٣"):
        document = assert_problem(api.call("GET", path, folder=unknown), 404, "not_found")
        # the error does not repeat a path
        name = str(unknown)[:20] if str(unknown).isascii() and str(unknown).isdigit() else "of that path"
        assert document["detail"] == f"account {mailbox['account']} has no folder {name}"


def test_rows_added_or_deleted_between_pages_move_no_other_row(
    api: Api, mailbox: dict[str, int], database: Database
) -> None:
    account, folder = mailbox["account"], mailbox["INBOX"]
    before = [row["id"] for row in all_rows(database, account) if row["deleted_at"] is None]
    gone: set[int] = set()
    seen: list[int] = []
    chance = random.Random(5)
    for number, page in enumerate(pages(api, f"/v1/accounts/{account}/messages", limit=9)):
        seen += [item["id"] for item in page]
        add_messages(database, account, folder, 5, seed=100 + number)
        ended = chance.sample(before, 4)
        gone.update(ended)
        database.execute(
            "update messages set deleted_at = coalesce(deleted_at, now()),"
            " deleted_reason = coalesce(deleted_reason, 'expunged') where id = any (%s)",
            [ended],
        )
        database.execute("delete from messages where id = any (%s)", [ended[:1]])
    assert len(seen) == len(set(seen))
    assert [number for number in seen if number in before and number not in gone] == [
        number for number in before if number not in gone
    ]


def test_one_message_is_shown_with_all_fields(api: Api, mailbox: dict[str, int], database: Database) -> None:
    account, folder = mailbox["account"], mailbox["Work/Ümläut"]
    structure: Row = {"type": "text/plain", "part": "1", "size": 7}
    for _ in range(100):  # the deepest structure that is ever stored
        structure = {"type": "multipart/mixed", "parts": [structure]}
    (message_id,) = add_messages(database, account, folder, 1)
    database.execute(
        "update messages set mime_structure = %s, internal_date = '2026-02-01 10:00:00.123456+02',"
        " sent_at = '1999-12-31 23:00:00-03', subject = 'Grüße 😀', size_bytes = 5000000000,"
        " to_emails = array['x@example.com', 'y@example.com'], to_names = array['X', null],"
        " labels = array['\\Inbox'], reference_ids = array['a@b'], parse_errors = array['x'],"
        " deleted_at = '2026-02-03 00:00:00+00', deleted_reason = 'expired' where id = %s",
        [json.dumps(structure), message_id],
    )
    database.execute(
        "insert into attachments (account_id, message_pk, part, filename, content_type, size_bytes)"
        " select %s, %s, part, 'f' || part, 'text/plain', 5 from unnest(array['10', '2', '2.1']) part",
        [account, message_id],
    )
    answer = api.call("GET", f"/v1/messages/{message_id}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    shown = answer.json()
    assert shown["mime_structure"] == structure
    assert (shown["internal_date"], shown["sent_at"]) == (
        "2026-02-01T08:00:00.123456Z",
        "2000-01-01T02:00:00Z",
    )
    assert (shown["deleted_at"], shown["deleted_reason"]) == ("2026-02-03T00:00:00Z", "expired")
    assert (shown["subject"], shown["to_names"], shown["labels"]) == ("Grüße 😀", ["X", None], ["\\Inbox"])
    assert (shown["folder"], shown["folder_id"], shown["account_id"]) == ("Work/Ümläut", folder, account)
    assert (shown["size_bytes"], shown["reference_ids"]) == (5_000_000_000, ["a@b"])
    assert [attachment["part"] for attachment in shown["attachments"]] == ["2", "2.1", "10"]
    assert shown["attachments"][0] == {
        "part": "2", "filename": "f2", "content_type": "text/plain", "size_bytes": 5, "content_id": None,
        "is_inline": False,
    }  # fmt: skip
    columns = {*all_rows(database, account)[0]}
    assert shown.keys() == columns | {"folder", "attachments"}
    # a list shows the same fields except long ones
    window = {"since": "2026-02-01", "until": "2026-02-02", "include_deleted": "true"}
    (item,) = api.call("GET", f"/v1/accounts/{account}/messages", **window).json()["data"]
    assert item == {key: shown[key] for key in shown if key not in ("mime_structure", "attachments")}


def test_missing_objects_are_404_by_name(api: Api, mailbox: dict[str, int], database: Database) -> None:
    leaving = add_account(database, "c@example.com", deleting_at=datetime.now(UTC))
    (message_id,) = add_messages(database, leaving, add_folder(database, leaving, "INBOX"), 1)
    for path, named in (
        ("/v1/accounts/999999/messages", "account 999999"),
        ("/v1/accounts/9223372036854775807/messages?folder=INBOX", "account 9223372036854775807"),
        (f"/v1/accounts/{leaving}/messages", f"account {leaving}"),
        (f"/v1/messages/{message_id}", f"message {message_id}"),
        ("/v1/messages/9223372036854775807", "message 9223372036854775807"),
    ):
        assert named in assert_problem(api.call("GET", path), 404, "not_found")["detail"]
    for path in ("/v1/messages/0", "/v1/messages/x", "/v1/accounts/-1/messages", f"/v1/messages/{2**63}"):
        assert_problem(api.call("GET", path), 404, "not_found")


def test_invalid_parameters_are_refused_by_name(api: Api, mailbox: dict[str, int]) -> None:
    path = f"/v1/accounts/{mailbox['account']}/messages"
    for query, parameter in (
        ("limit=0", "limit"), ("limit=501", "limit"), ("limit=ten", "limit"), ("limit=", "limit"),
        ("limit=1e1", "limit"), ("limit=1&limit=2", "limit"), ("unread=yes", "unread"),
        ("unread=1", "unread"), ("flagged=True", "flagged"), ("has_attachments=", "has_attachments"),
        ("include_deleted=null", "include_deleted"), ("since=yesterday", "since"),
        ("since=2026-13-01", "since"),
        ("until=2026-01-01T00:00:00", "until"), ("until=1700000000", "until"), ("folder=", "folder"),
        ("folder=%00", "folder"), ("from=%00", "from"), ("subject=a%00b", "subject"), ("subject=", "subject"),
        ("to=", "to"), ("nothing=1", "nothing"), ("from_=a@example.com", "from_"), ("sender=a", "sender"),
        ("cursor=", "cursor"), ("cursor=x", "cursor"), ("cursor=%00", "cursor"),
    ):  # fmt: skip
        document = assert_problem(api.call("GET", f"{path}?{query}"), 422, "invalid")
        assert [error["parameter"] for error in document["errors"]] == [parameter], query
    unknown = api.call("GET", f"{path}?sender=a").json()["errors"][0]["detail"]
    assert "from," in unknown and "from_" not in unknown
    assert_problem(api.call("GET", f"/v1/messages/{mailbox['account']}?limit=1"), 422, "invalid")
    for fine in ("limit=500", "since=1800-01-01", "until=9999-12-31", "since=2026-02-01&until=2026-01-01"):
        assert api.call("GET", f"{path}?{fine}").status == 200


def test_a_cursor_is_valid_only_unchanged_and_for_its_own_list(api: Api, mailbox: dict[str, int]) -> None:
    path, other = (f"/v1/accounts/{mailbox[name]}/messages" for name in ("account", "other"))
    cursor = api.call("GET", path, limit=1, flagged="true").json()["next_cursor"]
    assert cursor and len(cursor) == 36 and cursor.replace("-", "").replace("_", "").isalnum()

    def refused(path: str, **parameters: object) -> None:
        document = assert_problem(api.call("GET", path, **parameters), 422, "invalid")
        assert [error["parameter"] for error in document["errors"]] == ["cursor"]
        assert "this list" in document["detail"]

    # the filter may be spelled differently, and the page size may change
    assert api.call("GET", path, cursor=cursor, flagged="true", limit=3).status == 200
    refused(other, cursor=cursor, flagged="true")
    refused(f"/v1/accounts/{mailbox['account']}/runs", cursor=cursor)
    for filters in (
        {},
        {"flagged": "false"},
        {"flagged": "true", "since": SINCE},
        {"include_deleted": "true"},
    ):
        refused(path, cursor=cursor, **filters)
    for at in range(36):
        changed = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]
        refused(path, cursor=changed, flagged="true")
    for broken in (cursor[:-1], cursor + "A", cursor * 3, "A" * 36, cursor[::-1]):
        refused(path, cursor=broken, flagged="true")
    # with a forged checksum, a cursor only leads to another place in the same list
    forger = Cursors("messages", mailbox["account"], *[None] * 9, False)
    for numbers in (
        (-(1 << 63), 0),
        (1 << 63, 1),
        (-(1 << 66), 1),
        (0, 1 << 63),
        (0, -1),
        ((1 << 64) - 1, 5),
    ):
        refused(path, cursor=forger.write(*numbers))
    for year in (1, 1800, 2100, 9999):
        forged = forger.write_moment(datetime(year, 6, 1, tzinfo=UTC), 5)
        data = api.call("GET", path, cursor=forged, limit=500).json()["data"]
        assert {item["account_id"] for item in data} <= {mailbox["account"]}
        assert bool(data) == (year > 2026)


def test_mirrored_messages_are_listed(
    start_api: Callable[..., Api], mailsync: Mailsync, dovecot: Dovecot, database: Database
) -> None:
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", (mail.message(number, attachment=b"x") for number in range(25)))
    account = add_synced_account(mailsync, dovecot, user)
    assert mailsync("sync", user.name).returncode == 0
    api = start_api()
    listed = [item for page in pages(api, f"/v1/accounts/{account}/messages", limit=10) for item in page]
    assert {item["uid"] for item in listed} == {
        message.uid for message in mirrored(database, account)["INBOX"]
    }
    assert len(listed) == 25
    shown = api.call("GET", f"/v1/messages/{listed[0]['id']}").json()
    assert shown["folder"] == "INBOX"
    assert [part["type"] for part in shown["mime_structure"]["parts"]] == [
        "text/plain",
        "application/octet-stream",
    ]
    assert [attachment["filename"] for attachment in shown["attachments"]] == ["file.bin"]
