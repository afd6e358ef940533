"""The cost of discovery: as many statements for many folders as for one, and no write without a change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from mailsync.store import db
from mailsync.store.statements import statements
from tests.support.costs import tick
from tests.support.discoveries import ALL
from tests.support.scripted import ScriptedServer
from tests.support.stored import new_account, new_folder, settings_for
from tests.support.turns import Mirror, letters

QUIET = ["claim_account", "try_lock", "begin_turn", "end_turn", "unlock"]
LISTED = ["BEGIN", "upsert_folders", "mark_unlisted_folders", "COMMIT", "select_folders"]


def due(mirror: Mirror) -> None:
    mirror.conn.execute("update accounts set next_discovery_at = now()")


@pytest.mark.parametrize("offered", [ALL, ALL + b" OBJECTID"], ids=["all", "OBJECTID too"])
@pytest.mark.parametrize("count", [2, 60])
def test_discovery_costs_the_same_for_any_number_of_folders(
    count: int, offered: bytes, database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=offered)
    user = server.new_user()
    for number in range(count):
        letters(user, 1, f"Folder {number:02}")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.hot()
        due(mirror)
        quiet = tick(mirror, server)
        assert quiet.names == ["LIST", "LIST"]
        assert quiet.of_the_work == [*QUIET[:3], *LISTED, *QUIET[3:]]
        assert (quiet.folders, quiet.runs) == ([], 0)

        for number in range(count):
            user.delete(f"Folder {number:02}")
        due(mirror)
        gone = tick(mirror, server)
        assert gone.names == ["LIST", "LIST"]
        assert gone.of_the_work == quiet.of_the_work
        assert len(gone.folders) == count


@pytest.mark.parametrize("count", [2, 60])
def test_renames_cost_the_same_number_of_statements_and_with_an_identity_no_command(
    count: int, database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=ALL + b" OBJECTID")
    user = server.new_user()
    for number in range(count):
        letters(user, 1, f"Folder {number:02}")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.hot()
        for number in range(count):
            user.rename(f"Folder {number:02}", f"Renamed {number:02}")
        renamed = tick(mirror, server)
        assert renamed.names == ["LIST", "LIST"]
        begin, end = (renamed.of_the_work.index(name) for name in ("start_run", "finish_run"))
        names = ["release_names", "rename_folders"]
        assert renamed.of_the_work[begin + 1 : end] == [LISTED[0], *names, *LISTED[1:]]
        assert mirror.value("select count(*) from sync_events where type = 'folder.renamed'") == count


def test_the_names_in_a_list_are_looked_up_by_a_hash(database_url: str) -> None:
    """Comparing 49,000 listed names with as many rows one by one took longer than STATEMENT_TIMEOUT."""
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        account = new_account(conn, settings)
        new_folder(conn, account)
        explain = sql.SQL("explain (costs off) ") + statements()["mark_unlisted_folders"]
        plan = conn.execute(explain, {"account_id": account, "listed": '["00"]'}).fetchall()
    assert any("wire_name" in line and "hashed SubPlan" in line for (line,) in plan), plan
