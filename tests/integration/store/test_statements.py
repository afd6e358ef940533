"""Every named statement of ``sql/queries`` against a real, migrated database, and against the code."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import fields

import psycopg
import pytest

from mailsync.model import RunResult, Verdict
from mailsync.store import db, messages
from mailsync.store.statements import statements
from tests import ROOT
from tests.support.stored import message, new_account, new_folder, settings_for

NAMES = sorted(statements())
PARAMETER = re.compile(r"%\((\w+)\)s")
WHOLE = {
    "account_id", "folder_id", "uidvalidity", "host", "port", "security", "username", "display_name",
    "provider", "sync_since", "sync_window_days", "capabilities",
} | {f.name for record in (Verdict, RunResult) for f in fields(record)}  # fmt: skip
VERBS = ("select", "insert", "update", "delete", "with", "create temporary table", "copy", "listen")


def text_of(name: str) -> str:
    """The statement without comments."""
    lines = statements()[name].as_string(None).splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))


@pytest.fixture
def prepared(database: psycopg.Connection) -> psycopg.Connection:
    """A connection with the temporary tables of a session."""
    for name in NAMES:
        if name.startswith("create_"):
            database.execute(text_of(name))
    return database


def test_every_statement_prepares(prepared: psycopg.Connection) -> None:
    wrong = []
    for name in NAMES:
        text = text_of(name)
        if not text.startswith(("select", "insert", "update", "delete", "with")):
            continue
        numbers: dict[str, int] = {}
        numbered = PARAMETER.sub(lambda m: f"${numbers.setdefault(m[1], len(numbers) + 1)}", text)  # noqa: B023
        try:
            prepared.execute(f"prepare checked as {numbered.replace('%%', '%')}".encode())
            prepared.execute("deallocate checked")
        except psycopg.Error as error:
            wrong.append(f"{name}: {error.diag.message_primary}")
    assert not wrong, "\n".join(wrong)


def test_every_other_statement_runs(prepared: psycopg.Connection) -> None:
    for name in NAMES:
        text = text_of(name)
        if text.startswith("copy"):
            with prepared.cursor() as cursor, cursor.copy(text):
                pass
        elif text.startswith(("create", "listen")):
            prepared.execute(text)


def test_every_statement_begins_with_a_known_verb() -> None:
    assert not [name for name in NAMES if not text_of(name).startswith(VERBS)]


def test_every_statement_is_used_and_every_use_is_a_statement() -> None:
    used: set[str] = set()
    literals: Counter[str] = Counter()
    for path in sorted((ROOT / "mailsync").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                literals[node.value] += path.parent.name == "store"
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "Statement" and isinstance(node.args[0], ast.Constant):
                # the engine names the statements that move a cursor
                used.add(str(node.args[0].value))
            if node.func.id == "run" and isinstance(name := node.args[1], ast.Constant):
                assert path.parent.name == "store", f"{path}: only the store runs statements"
                used.add(str(name.value))
    assert used <= set(NAMES), f"no such statements: {sorted(used - set(NAMES))}"
    # some names are composed (copy_incoming) or in lists (delete_account_…)
    walked = {
        name for name in NAMES if literals[name] or name.startswith(("create_incoming", "copy_incoming"))
    }
    unused = set(NAMES) - used - walked
    assert not unused, f"unused statements: {sorted(unused)}"


def test_every_use_gives_exactly_the_parameters_that_the_statement_takes() -> None:
    wrong = []
    for path in sorted((ROOT / "mailsync" / "store").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "run":
                continue
            name, given = node.args[1], {keyword.arg for keyword in node.keywords}
            if not isinstance(name, ast.Constant):
                continue
            wanted = set(PARAMETER.findall(text_of(str(name.value))))
            if None in given:  # the key of a folder, or all fields of a record
                given = (given | WHOLE & wanted) - {None}
            if given != wanted:
                wrong.append(f"{path.name}:{node.lineno} {name.value}: {sorted(given ^ wanted)}")
    assert not wrong, "\n".join(wrong)


def test_no_statement_names_a_schema() -> None:
    assert not [name for name in NAMES if re.search(r"\bmailsync\.", text_of(name))]


def test_every_statement_is_bound_to_an_account_or_says_why_not() -> None:
    """``account_id`` begins every key, so all statements use it, except these."""
    of_all_accounts = {
        "account_exists", "accounts_to_backfill", "applied_migrations", "backend_is_alive", "claim_account",
        "count_accounts", "database_now", "find_account", "find_account_to_remove", "forget_worker",
        "insert_account", "list_workers", "reserve_account_slot", "seconds_until_due", "set_lock_wait",
        "worker_heartbeat",
        # a worker's parked sessions
        "lost_parking", "release_abandoned", "release_parked", "unpark",
        # it looks up the account
        "account_of_message",
        # about the connection, or the feed as a whole
        "feed_horizon", "list_events_after", "plan_for_values",
        # about the schema, not its rows
        "find_creators", "find_hidden", "find_tables", "leave_schema",
        "migration_lock_holder", "queue_for_migration_lock", "try_migration_lock", "unlock_migrations",
        "quoted_schema", "read_excess_rights", "read_identities", "read_schema", "use_fixed_output_settings",
        # retention, metrics and key rotation cover all accounts
        "accounts_to_remove", "accounts_to_tidy", "add_to_counters", "begin_retention", "claim_retention",
        "finish_retention", "hasten_retention", "look_at_retention", "only_read", "purge_events",
        "purge_runs", "read_account_figures", "lock_credentials", "read_counters", "read_state_figures",
        "release_retention", "reseal_credentials",
        # a consent may be for an account that does not exist yet
        "claim_authorization", "is_authorization_pending", "purge_authorizations", "select_authorization",
        # about tables
        "tables_to_analyse",
    }  # fmt: skip
    free = {
        name
        for name in NAMES
        if "%(account_id)s" not in text_of(name)
        and not text_of(name).startswith(("create", "copy", "listen"))
    }
    assert free == of_all_accounts


def test_what_runs_for_every_batch_finds_rows_by_their_key_before_there_are_statistics(
    database_url: str, prepared: psycopg.Connection
) -> None:
    """A plan that was made for a small mailbox must not read a whole large one a minute later."""
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        folder = new_folder(conn, new_account(conn, settings))
        with db.transaction(conn):
            messages.store_batch(conn, folder, [message(uid) for uid in range(1, 3001)], announce=False)
    key = {"account_id": folder.account_id, "folder_id": folder.id, "uidvalidity": folder.uidvalidity}
    calls: dict[str, dict[str, object]] = {
        "relink_incoming": {},
        "upsert_messages": {"announce": True},
        "apply_flags": {},
        "live_uids": {"lowest": 1, "highest": 3000},
        "tombstone_uids": {"uids": "{[1,1]}", "reason": "expunged"},
        "select_states": {"lowest": 1, "highest": 3000},
    }
    for name, more in calls.items():
        rows = prepared.execute(b"explain (costs off) " + text_of(name).encode(), key | more).fetchall()
        plan = "\n".join(line for (line,) in rows)
        assert "using messages_folder_id_account_id_uidvalidity_uid_key" in plan, f"{name}\n{plan}"
        assert "Seq Scan on messages" not in plan, f"{name}\n{plan}"
        assert "using messages_folder_newest" not in plan, f"{name}\n{plan}"
