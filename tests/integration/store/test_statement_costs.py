"""The cost of each named statement is bounded by its rows, whatever the statistics say (SPEC §7)."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from mailsync.config import Settings
from mailsync.store import db, migrations
from mailsync.store.statements import statements
from tests.support import lived
from tests.support.postgres import SCHEMA, PostgresServer
from tests.support.statement_costs import measure, outline
from tests.support.statement_samples import common, samples

# Blocks of 8 KiB that a statement may read, including those of temporary tables and foreign keys: a constant,
# and a number for each row that it selects (about 1.3 times the measured values). Constants leave room for
# dead entries of earlier samples. No node of a plan may examine more rows than that either.
LIMITS: dict[str, tuple[int, int]] = {
    "reserve_account_slot": (20, 0),
    "count_accounts": (40, 2),
    "insert_account": (40, 0),
    "seal_credential": (60, 0),
    "save_renewed_tokens": (60, 0),
    "note_token_refusal": (40, 0),
    "select_credentials": (40, 3),
    "account_exists": (40, 0),
    "find_account_to_remove": (40, 0),
    "forget_rejected_password": (120, 0),
    "find_account": (40, 0),
    "wake_worker": (20, 0),
    "make_due": (80, 0),
    "pause_account": (80, 0),
    "resume_account": (80, 0),
    "lock_account_settings": (40, 0),
    "save_account_settings": (80, 0),
    "mark_account_deleting": (80, 0),
    "reset_account": (120, 5),
    "reset_folder_cursors": (120, 5),
    "emit_event": (40, 0),
    "delete_account_messages": (100, 17),
    "delete_account_runs": (100, 6),
    "delete_account_events": (100, 3),
    "delete_account_folders": (100, 3),
    "delete_account_credentials": (20, 0),
    "delete_account": (80, 0),
    "list_accounts": (40, 7),
    "find_removal": (40, 0),
    "load_body": (60, 0),
    "account_of_message": (80, 0),
    "locate_message": (60, 0),
    "load_attachment": (40, 0),
    "store_body": (160, 0),
    "hold_mailbox": (40, 0),
    "forget_bodies": (100, 33),
    "try_body_lock": (20, 0),
    "queue_for_body": (20, 0),
    "unlock_body": (20, 0),
    "lock_credentials": (40, 2),
    "reseal_credentials": (40, 0),
    "insert_authorization": (40, 0),
    "is_authorization_pending": (20, 0),
    "claim_authorization": (60, 0),
    "finish_authorization": (60, 0),
    "select_authorization": (20, 0),
    "purge_authorizations": (100, 10),
    "release_names": (120, 25),
    "rename_folders": (120, 25),
    "upsert_folders": (120, 25),
    "mark_unlisted_folders": (120, 25),
    "restart_grace": (120, 0),
    "newest_states": (100, 2),
    "select_folders": (120, 5),
    "note_polled": (120, 25),
    "choose_folder": (120, 0),
    "note_sizes": (120, 25),
    "begin_initial": (120, 0),
    "rearm_folders": (120, 25),
    "advance_initial": (120, 0),
    "note_remaining": (120, 0),
    "finish_initial": (120, 0),
    "advance_new": (120, 0),
    "save_compared": (120, 0),
    "save_reconciled": (120, 0),
    "suspect_deletion": (120, 0),
    "recount_folder": (100, 7),
    "note_folder_error": (120, 0),
    "forget_retries": (120, 25),
    "note_limitation": (120, 0),
    "restart_folder": (120, 5),
    "clear_folder_cursors": (120, 5),
    "check_account": (120, 0),
    "last_failure": (120, 1),
    "try_lock": (20, 0),
    "set_lock_wait": (20, 0),
    "queue_for_lock": (20, 0),
    "unlock": (20, 0),
    "heartbeat": (80, 0),
    "lock_is_wanted": (80, 0),
    "lock_holder": (80, 0),
    "end_stale_holder": (100, 0),
    "backend_is_alive": (40, 0),
    "upsert_messages": (160, 84),
    "apply_flags": (100, 51),
    "live_uids": (100, 3),
    "live_uids_since": (100, 2),
    "count_rows": (150, 9),
    "lowest_uid": (100, 0),
    "newest_uid": (100, 2),
    "tombstone_uids": (100, 53),
    "tombstone_folder_chunk": (100, 61),
    "select_states": (100, 3),
    "newest_messages": (100, 40),
    "note_attempt": (60, 0),
    "explain_attempts": (40, 9),
    "open_attempts": (40, 3),
    "forget_attempts": (40, 2),
    "forget_batches": (40, 2),
    "add_to_counters": (40, 0),
    "read_counters": (40, 1),
    "read_account_figures": (100, 2),
    "read_state_figures": (100, 1),
    "only_read": (20, 0),
    "plan_for_values": (20, 0),
    "find_listed_account": (40, 0),
    "find_listed_folder": (120, 5),
    "read_message": (60, 0),
    "list_runs_before": (100, 5),
    "list_events_after": (100, 2),
    "list_account_events_after": (100, 2),
    "feed_horizon": (20, 0),
    "relink_incoming": (100, 29),
    "land_relinked": (100, 68),
    "revive_unfetchable": (100, 62),
    "adopt_uidvalidity": (100, 45),
    "look_at_retention": (40, 0),
    "claim_retention": (20, 0),
    "release_retention": (20, 0),
    "begin_retention": (40, 0),
    "finish_retention": (40, 0),
    "hasten_retention": (40, 0),
    "accounts_to_remove": (40, 0),
    "accounts_to_tidy": (40, 2),
    "expire_rows": (100, 47),
    "fill_authors": (100, 40),
    "purge_tombstones": (100, 15),
    "purge_runs": (100, 6),
    "purge_events": (100, 4),
    "set_mirrored_since": (80, 0),
    "reopen_folders": (120, 25),
    "applied_migrations": (40, 1),
    "database_now": (20, 0),
    "claim_account": (40, 2),
    "seconds_until_due": (40, 2),
    "accounts_to_backfill": (80, 10),
    "postpone_account": (80, 0),
    "begin_turn": (80, 10),
    "end_turn": (80, 0),
    "unpark": (80, 20),
    "lost_parking": (40, 8),
    # each reads the accounts, which are few, as claim_account does
    "release_parked": (80, 20),
    "release_abandoned": (80, 20),
    "leave_turn": (80, 0),
    "start_run": (80, 0),
    "finish_run": (80, 0),
    "list_runs": (100, 4),
    "worker_heartbeat": (40, 0),
    "list_workers": (40, 0),
    "forget_worker": (40, 0),
    "list_messages": (700, 4),
    "count_without_content": (40, 2),
    "plan_retries": (40, 12),
    "replan_retries": (100, 12),
    "due_retries": (40, 8),
    "note_retry": (40, 0),
    "cancel_retry": (40, 0),
    "retry_now": (40, 9),
    "announce_content": (80, 0),
    "neighbour_date": (80, 0),
    "silent_uids": (80, 0),
    "note_isolation": (40, 0),
    "take_back_isolation": (40, 0),
    "blame_message": (40, 0),
    "tables_to_analyse": (3_000, 0),
    "find_tables": (40, 0),
    "find_hidden": (40, 0),
    "find_creators": (40, 0),
    "quoted_schema": (20, 0),
    "use_fixed_output_settings": (20, 0),
    "try_migration_lock": (20, 0),
    "queue_for_migration_lock": (20, 0),
    "migration_lock_holder": (40, 0),
    "unlock_migrations": (20, 0),
    "read_schema": (6_000, 0),
    "read_excess_rights": (3_000, 0),
    # earlier samples leave dead entries at the ends of the indexes that it reads
    "read_identities": (2_000, 0),
}

# EXPLAIN does not accept these, and none of them reads a table
UTILITY = {
    "create_incoming",
    "copy_incoming",
    "create_incoming_flags",
    "copy_incoming_flags",
    "listen_for_wake",
    # relations have other names after it
    "leave_schema",
}

# only the API's pool runs these, with plans for their values (plan_for_values)
CUSTOM_ONLY = {"list_messages"}

SERVERS = [
    pytest.param("postgres", id="18"),
    pytest.param("debian_postgres", id="debian", marks=pytest.mark.needs("initdb")),
]


@pytest.fixture
def empty_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database on one of the two servers."""
    server: PostgresServer = request.getfixturevalue(request.param)
    with server.new_database(template=None) as url:
        yield url


def test_every_statement_has_a_sample_and_a_limit() -> None:
    known = lived.Lived(1, 2, 3, dict.fromkeys(lived.PATHS, 1), 1)
    named = set(statements()) - UTILITY
    assert set(samples(known)) == named
    assert set(LIMITS) == named


@pytest.mark.long
@pytest.mark.parametrize("state", [*reversed(lived.STATES)])
@pytest.mark.parametrize("empty_url", SERVERS, indirect=True)
def test_cost_is_bounded_by_rows(empty_url: str, state: str) -> None:
    settings = Settings(database_url=empty_url)
    with db.connect(settings, "test") as conn:
        migrations.migrate(conn, settings)
    with psycopg.connect(empty_url, autocommit=True) as filling:
        filling.execute(f"set search_path to {SCHEMA}, public".encode())
        found = lived.fill(filling, state)
    with db.connect(settings, "test") as conn:
        for name in ("create_incoming", "create_incoming_flags"):
            conn.execute(statements()[name])
        wrong = [line for mode in ("generic", "custom") for line in objections(conn, found, mode)]
    assert not wrong, "\n\n".join(wrong)


def objections(conn: db.Connection, found: lived.Lived, mode: str) -> Iterator[str]:
    """The samples that cost more than their limit, with their plans."""
    conn.execute(f"set plan_cache_mode = force_{mode}_plan".encode())
    for name, of_statement in samples(found).items():
        if mode == "generic" and name in CUSTOM_ONLY:
            continue
        constant, per_row = LIMITS[name]
        for number, sample in enumerate(of_statement):
            values = {**common(found), **sample.values}
            cost = measure(conn, statements()[name].as_string(None), values, before=sample.before)
            most = constant + per_row * sample.rows
            if cost.blocks > most or cost.rows > most:
                yield (
                    f"{name}, sample {number}, {mode} plan: {cost.blocks} blocks, {cost.rows:.0f} rows seen,"
                    f" {most:.0f} allowed for {sample.rows} rows\n{cost.by_relation}\n"
                    + "\n".join(outline(cost.plan))
                )
