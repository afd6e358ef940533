"""The values with which each named statement is measured, and the number of rows that they select.

Values that most statements take are in :func:`common`; a sample has only those that differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from tests.support.lived import EMAIL, UIDVALIDITY, Lived

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sample:
    """Values that differ from the common ones, the number of their rows, and a statement to run before."""

    rows: int = 0
    before: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def _of(rows: int = 0, *, before: str = "", **values: Any) -> Sample:
    return Sample(rows, before, values)


def common(lived: Lived) -> dict[str, Any]:
    """The values that most statements take."""
    return {
        "account_id": lived.account, "folder_id": lived.folders["INBOX"], "uidvalidity": UIDVALIDITY,
        "message_id": lived.message, "limit": 50, "count": 51, "days": 30, "part": "2", "email": EMAIL,
        "lowest": 1, "highest": 6_000, "since": NOW, "reason": "expunged", "error": "error", "delay": 5.0,
        "announce": True, "run_id": 1, "worker": "h:1:worker", "trigger": "schedule", "interval": 60.0,
        "longest": 300.0,
        "pass_started": NOW, "tracked": True, "path": None, "name": "a", "state": "healthy",
        "before": "infinity", "before_id": 0, "xid": "1", "seq": 0, "begins": NOW, "wait": "10s",
    }  # fmt: skip


def _incoming(first: int, last: int, *, names: str = "'new.' || n", attachments: bool = True) -> str:
    parts = """'[{"part": "2", "filename": "b.pdf", "content_type": "application/pdf", "size_bytes": 1,
                  "content_id": null, "is_inline": false}]'"""
    return f"""
        insert into incoming (uid, modseq, flags, internal_date, size_bytes, has_attachments, mime_structure,
                              attachments, message_id, reference_ids, subject, from_email, from_emails,
                              reply_to_emails, to_emails, to_names, cc_emails, cc_names, bcc_emails,
                              is_automated, parse_errors)
        select n, n, '{{}}', timestamptz '2025-01-01' + n * interval '7 min', 1000 + n, true, '{{}}',
               {parts if attachments else "null"}::jsonb, {names}, '{{}}', 'Message no. ' || n,
               's@example.com', '{{s@example.com}}',
               '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', false, '{{}}'
        from generate_series({first}, {last}) n
    """


def _flags(first: int, last: int) -> str:
    # another keyword, so that every row differs
    return (
        rf"insert into incoming_flags select n, n, '{{\\Seen,new}}' from generate_series({first}, {last}) n"
    )


def samples(lived: Lived) -> dict[str, list[Sample]]:
    """Samples of each named statement that can be explained. A statement without one fails the test."""
    folder, account = lived.folders, lived.account
    old = f"'{{n}}.' || {folder['Gone']} || '@example.com'".replace("'{n}", "n || '")
    ids = [folder[f"Project {n}"] for n in range(10)]
    listed = json.dumps([
        {"wire_name": path.encode().hex(), "path": path, "delimiter": "/", "role": None, "sync_priority": 100,
         "excluded_reason": None, "mailbox_id": f"m{path}"}
        for path in folder
    ])  # fmt: skip
    planned = f"""
        insert into fetch_attempts (account_id, folder_id, uidvalidity, uid, through_uid, retry_at)
        select account_id, folder_id, uidvalidity, uid, uid, now() + interval '1 h'
        from messages where account_id = {account} and parse_errors <> '{{}}' and deleted_at is null
        on conflict (account_id, folder_id, uidvalidity, uid) do update set retry_at = excluded.retry_at
    """
    coauthors = "update messages set from_emails = array[from_email, 'also@example.com'] where uid % 50 = 7"
    filled = f"update accounts set authors_missing_through = null where id = {account}"
    removed = f"update accounts set deleting_at = now() where id = {account}"
    emptied = f"""
        delete from folders where account_id = {lived.emptied};
        delete from account_credentials where account_id = {lived.emptied};
        update accounts set deleting_at = now() where id = {lived.emptied}
    """
    list_filters = {
        "before": "infinity", "before_id": 0, "since": None, "folder_id": None, "sender": None,
        "recipient": None,
        "subject": None, "seen": None, "flagged": None, "has_attachments": None, "include_deleted": False,
    }  # fmt: skip
    runs = {"folders": 1, "messages_new": 1, "flags_changed": 1, "messages_deleted": 1, "imap_commands": 1,
            "bytes_in": 1, "error_code": None, "error_message": None, "status": "success"}  # fmt: skip
    all_accounts = lived.accounts
    consents = """
        insert into oauth_authorizations (id, provider, oauth_client_id, state_hash, key_id, verifier, status,
                                          created_at, expires_at)
        select lpad(n::text, 32, '0'), 'own', 'client', sha256(n::text::bytea), 'k', 'sealed',
               case when n % 2 = 0 then 'pending' else 'exchanging' end,
               now() - n * interval '10 min', now() + interval '10 min'
        from generate_series(1, 5000) n
    """
    consent = f"{71:032}"
    parked = "update accounts set parked_by = 'h:1:worker', parked_kind = 'notify'"
    return {
        # accounts
        "reserve_account_slot": [_of()],
        "count_accounts": [_of(all_accounts)],
        "insert_account": [
            _of(1, email="more@example.com", display_name=None, provider=None, host="h", port=993,
                security="tls", username="u", sync_since=None, sync_window_days=None, capabilities=[],
                metadata="{}")
        ],
        "seal_credential": [
            _of(2, key_id="k", ciphertext=b"sealed", auth_method="password", provider=None, grant=None,
                client_id=None, expires_at=None)
        ],
        "save_renewed_tokens": [_of(2, key_id="k", ciphertext=b"sealed", expires_at=None)],
        "note_token_refusal": [_of(1, message="invalid_grant")],
        "select_credentials": [_of(1), _of(all_accounts, account_id=None)],
        "account_exists": [_of(1)],
        "find_account_to_remove": [_of(1)],
        "forget_rejected_password": [
            _of(1, before=f"update accounts set sync_state_reason = 'auth_failed' where id = {account}")
        ],
        "find_account": [_of(1)],
        "wake_worker": [_of()],
        "make_due": [_of(1)],
        "pause_account": [_of(1)],
        "resume_account": [_of(1)],
        "lock_account_settings": [_of(1)],
        "save_account_settings": [
            _of(1, host="h", port=993, security="tls", username="u", display_name=None, provider=None,
                capabilities=[], sync_since=None, sync_window_days=None, metadata=None)
        ],
        "mark_account_deleting": [_of(1)],
        "reset_account": [_of(1 + len(folder))],
        "reset_folder_cursors": [_of(21 * len(folder))],
        "emit_event": [_of(1, type="account.created", folder_id=None, data="{}")],
        "delete_account_messages": [_of(5_000, limit=5_000), _of(10, limit=10), _of(account_id=999)],
        "delete_account_runs": [_of(5_000, limit=5_000), _of(account_id=999)],
        "delete_account_events": [_of(5_000, limit=5_000), _of(account_id=999)],
        "delete_account_folders": [_of(1 + 21 * 20, account_id=lived.emptied)],
        "delete_account_credentials": [_of(1)],
        "delete_account": [_of(1, account_id=lived.emptied, before=emptied)],
        "list_accounts": [
            _of(all_accounts + len(folder), after=0, account_id=None, email=None, state=None),
                                _of(1 + len(folder), after=0, email=None, state=None)],
        "find_removal": [_of(1)],
        # bodies
        "load_body": [_of(3), _of(message_id=1)],
        "account_of_message": [_of(1)],
        "locate_message": [_of(1)],
        "load_attachment": [_of(1)],
        "store_body": [
            _of(2, attachments="[]", has_attachments=False, text="text", html=None, raw_bytes=4,
                truncated=not is_complete, is_complete=is_complete, warnings=[], parser_version=2)
            for is_complete in (True, False)
        ],
        "hold_mailbox": [_of(1)],
        "forget_bodies": [_of(1_000)],
        "try_body_lock": [_of()],
        "queue_for_body": [_of()],
        "unlock_body": [_of(before="select 1")],
        # credentials
        "lock_credentials": [_of(all_accounts)],
        "reseal_credentials": [
            _of(1, key_id="k", sealed=json.dumps([{"account_id": account, "ciphertext": "00"}]))
        ],
        # consents
        "insert_authorization": [
            _of(1, before=consents, id="new", provider="own", client_id="client", account_id=None,
                return_url=None, state_hash=b"hash", key_id="k", verifier=b"sealed", seconds=600.0)
        ],
        "is_authorization_pending": [_of(before=consents, state_hash=sha256(b"70").digest())],
        "claim_authorization": [_of(1, before=consents, state_hash=sha256(b"70").digest(), too_late="late")],
        "finish_authorization": [
            _of(1, before=consents, id=consent, status="succeeded", error_code=None, error_message=None)
        ],
        "select_authorization": [_of(1, before=consents, id=consent)],
        "purge_authorizations": [
            _of(1_000, before=consents, limit=1_000), _of(10, before=consents, limit=10)
        ],
        # folders
        "release_names": [_of(len(ids), ids=ids)],
        "rename_folders": [
            _of(len(ids), renamed=json.dumps(
                [{"id": i, "wire_name": f"{i:08x}", "path": str(i)} for i in ids]))
        ],
        "upsert_folders": [_of(len(folder), listed=listed)],
        "mark_unlisted_folders": [_of(len(folder), listed="[]"),
                                  _of(len(folder), listed=json.dumps([p.encode().hex() for p in folder]))],
        "restart_grace": [_of(1)],
        "newest_states": [_of(len(ids) * 50, ids=ids, count=50)],
        "select_folders": [_of(len(folder), folder_id=None, after_id=None, after_priority=None, limit=None),
                           _of(1, after_id=None, after_priority=None, limit=None)],
        "note_polled": [_of(len(ids), ids=ids, at=NOW)],
        "choose_folder": [_of(1, folder_id=None, path="INBOX"), _of(1)],
        "note_sizes": [
            _of(len(ids), sizes=json.dumps([{"id": i, "messages": 5} for i in ids]),
                before=f"update folders set status = 'pending' where account_id = {account}")
        ],
        "begin_initial": [_of(1, target=1, remaining=1, modseq=1, messages=1, uidnext=1, mailbox_id=None)],
        "rearm_folders": [_of(1), _of(len(folder), folder_id=None)],
        "advance_initial": [_of(1, oldest=1, done=1)],
        "note_remaining": [_of(1, remaining=1)],
        "finish_initial": [_of(1)],
        "advance_new": [_of(1, last_uid=1)],
        "save_compared": [_of(1, uidnext=1, messages=1, unseen=1, modseq=1, mailbox_id=None, highest_modseq=1,
                              next_flag_scan_at=None)],
        "save_reconciled": [_of(1, clean=True, missing=1, gone=1, next_reconcile_at=NOW, suspect=None)],
        "suspect_deletion": [_of(1, suspect="s")],
        "recount_folder": [_of(6_000), _of(218, folder_id=ids[0]), _of(folder_id=folder["Deleted"])],
        "note_folder_error": [_of(1, retry_at=NOW)],
        "forget_retries": [
            _of(len(folder),
                before=f"update folders set retry_at = now() + interval '1 h' where account_id = {account}")
        ],
        "note_limitation": [_of(1, limitation="partial_view", message="INBOX: 1 of 2", view_limit=None)],
        "restart_folder": [_of(21, uidvalidity=5)],
        "clear_folder_cursors": [_of(21, status=None)],
        # inspection
        "check_account": [_of(1)],
        "last_failure": [
            _of(3), _of(before=f"update sync_runs set error_code = null where account_id = {account}")],
        # locks
        "try_lock": [_of()],
        "set_lock_wait": [_of()],
        "queue_for_lock": [_of()],
        "unlock": [_of()],
        "heartbeat": [_of(1, step="FETCH in folder INBOX", progressed=False)],
        "lock_is_wanted": [_of(1)],
        "lock_holder": [_of(1)],
        "end_stale_holder": [_of(1, stale_after=600.0)],
        "backend_is_alive": [_of(pid=1)],
        # messages
        "upsert_messages": [
            _of(500, before=_incoming(7_001, 7_500)),
            _of(500, before=_incoming(1_001, 1_500)),
            # unchanged messages with new flags, and restored tombstones
            _of(500, before=_incoming(2_001, 2_500,
                                      names=f"n || '.' || {folder['INBOX']} || '@example.com'")),
            _of(500, before=_incoming(1, 500), folder_id=folder["Gone"]),
            _of(1, before=_incoming(7_001, 7_001)),
            _of(1, before=_incoming(3_000, 3_000)),
        ],
        "apply_flags": [
            _of(6_000, before=_flags(1, 6_000)),
            _of(5_000, before=_flags(1, 5_000)),
            _of(10, before=_flags(101, 110)),
            _of(500, before=_flags(10_001, 10_500)),
        ],
        "live_uids": [_of(6_000), _of(218, folder_id=ids[0]), _of(1_000, lowest=2_001, highest=3_000),
                      _of(lowest=20_000, highest=21_000)],
        "live_uids_since": [_of(6_000), _of(218, folder_id=ids[0]), _of(1_000, lowest=2_001, highest=3_000)],
        "count_rows": [_of(6_000), _of(218, folder_id=ids[0]), _of(folder_id=folder["Deleted"])],
        "lowest_uid": [_of(1), _of(1, folder_id=ids[0])],
        "newest_uid": [
            Sample(1_000, "", {"before": 999}), Sample(100, "", {"before": 99, "folder_id": ids[0]})],
        "tombstone_uids": [_of(5_000, uids="{[1,5000]}"), _of(10, uids="{[1,5],[11,12],[100,102]}"),
                           _of(uids="{[20000,21000]}")],
        "tombstone_folder_chunk": [_of(5_000, keep_uidvalidity=None, limit=5_000),
                                   _of(218, folder_id=ids[0], keep_uidvalidity=None, limit=5_000),
                                   _of(keep_uidvalidity=None, limit=5_000, folder_id=folder["Deleted"])],
        "select_states": [_of(6_000), _of(218, folder_id=ids[0]), _of(1_000, lowest=2_001, highest=3_000)],
        "newest_messages": [_of(50)],
        "note_attempt": [_of(1, uid=1, through_uid=2)],
        "explain_attempts": [_of(20)],
        "open_attempts": [_of(20)],
        "forget_attempts": [_of(20)],
        "forget_batches": [_of(20, uids="{[1,5000]}")],
        # placeholders
        "count_without_content": [_of(40)],
        "plan_retries": [_of(12, uids=[1 + 500 * n for n in range(12)])],
        "replan_retries": [_of(12), _of(1, folder_id=ids[0]), _of(12, before=planned)],
        "due_retries": [_of(), _of(20, before=planned, limit=10)],
        "note_retry": [_of(1, uid=7, before=planned)],
        "cancel_retry": [_of(1, uid=7, before=planned)],
        "retry_now": [_of(21 * len(folder), before=planned)],
        "announce_content": [_of(2, uid=8), _of(2, uid=7)],
        "neighbour_date": [_of(1, uid=7)],
        "silent_uids": [_of(1)],
        "note_isolation": [_of(1, uid=7)],
        "take_back_isolation": [_of(1, uid=7)],
        "blame_message": [_of(1, uid=7)],
        # metrics
        "add_to_counters": [_of(1, sums=json.dumps([{"name": "n", "labels": {}, "value": 1}]))],
        "read_counters": [_of(10)],
        "read_account_figures": [_of(all_accounts * 5 + len(folder))],
        "read_state_figures": [_of(all_accounts * 5 + len(folder))],
        "only_read": [_of()],
        # reading
        "plan_for_values": [_of()],
        "find_listed_account": [_of(1)],
        "find_listed_folder": [_of(len(folder), folder_id=None, path="inbox"), _of(1)],
        "list_messages": [
            Sample(51, "", list_filters),
            Sample(51, "", list_filters | {"folder_id": folder["INBOX"]}),
            Sample(51, "", list_filters | {"folder_id": ids[0]}),
            # before there are statistics these may be read from all tombstones of the account
            Sample(5_000, "", list_filters | {"folder_id": folder["Deleted"], "include_deleted": True}),
            Sample(51, "", list_filters | {"sender": "s5@example.com"}),
            Sample(51, coauthors, list_filters | {"sender": "also@example.com"}),
        ],
        "read_message": [_of(3)],
        "list_runs_before": [_of(51)],
        "list_events_after": [_of(51)],
        "list_account_events_after": [_of(51), _of(xid="99999999")],
        "feed_horizon": [_of()],
        # relinking
        "relink_incoming": [
            _of(500, before=_incoming(7_001, 7_500)),
            _of(500, before=_incoming(1_001, 1_500)),
            _of(500, before=_incoming(6_001, 6_500, names=old), folder_id=folder["Gone"]),
            _of(500, before=_incoming(1, 500), folder_id=folder["Gone"]),
        ],
        "land_relinked": [
            _of(),
            _of(100, folder_id=ids[0],
                before=f"update messages set uid = -uid where folder_id = {ids[0]} and uid <= 100")
        ],
        "revive_unfetchable": [_of(500, uids="{[1,501)}", folder_id=folder["Gone"]), _of(uids="{[1,5]}")],
        "adopt_uidvalidity": [_of(600, folder_id=folder["Unknown"])],
        # retention
        "look_at_retention": [_of(1)],
        "claim_retention": [_of()],
        "release_retention": [_of()],
        "begin_retention": [_of(1)],
        "finish_retention": [_of(1)],
        "hasten_retention": [_of(1)],
        "accounts_to_remove": [_of(1, before=removed)],
        "accounts_to_tidy": [_of(all_accounts)],
        "expire_rows": [_of(5_000, limit=5_000), _of(10, limit=10),
                        _of(limit=5_000,
                            before=f"update accounts set sync_window_days = null where id = {account}")],
        "fill_authors": [_of(5_000, limit=5_000), _of(10, limit=10), _of(before=filled, limit=5_000)],
        "purge_tombstones": [_of(5_000, limit=5_000), _of(10, limit=10), _of(days=300, limit=5_000)],
        "purge_runs": [_of(5_000, days=2, limit=5_000), _of(all_accounts, days=3000, limit=5_000)],
        "purge_events": [_of(5_000, days=2, limit=5_000), _of(days=3000, limit=5_000)],
        "set_mirrored_since": [_of(1)],
        "reopen_folders": [_of(len(folder))],
        # statistics and the schema
        "tables_to_analyse": [_of(tables=["messages", "folders"])],
        "find_tables": [_of(schema="mailsync", tables=["messages", "folders"])],
        "find_hidden": [_of(schema="mailsync")],
        "find_creators": [_of(schema="mailsync")],
        "quoted_schema": [_of()],
        "use_fixed_output_settings": [_of()],
        "read_schema": [_of()],
        "read_excess_rights": [_of()],
        "read_identities": [_of()],
        "try_migration_lock": [_of(schema="mailsync")],
        "queue_for_migration_lock": [_of(schema="mailsync")],
        "migration_lock_holder": [_of(schema="mailsync")],
        "unlock_migrations": [_of(schema="mailsync")],
        # the rest
        "applied_migrations": [_of(10)],
        "database_now": [_of()],
        "claim_account": [_of(all_accounts)],
        "seconds_until_due": [_of(all_accounts)],
        "accounts_to_backfill": [_of(all_accounts)],
        "postpone_account": [_of(1)],
        "begin_turn": [
            _of(1 + len(folder), burst=10.0, refill=1.0, floor=1.0, started_by="h:1:worker", kind="sync",
                survived=None, silent_for=120.0)
        ],
        "end_turn": [
            _of(1, state="degraded", message=None, healthy_until=NOW, failures=0, successes=1,
                backoff_until=None,
                next_sync_at=None, last_success_at=NOW, priority_synced_at=NOW, overall_synced_at=NOW,
                failing_since=None, next_discovery_at=None, folder_rr_cursor=None, capabilities=None,
                tokens=5.0, asked=True,
                parked_by="h:1:worker", parked_kind="notify", tick_seconds=300.0,
                tick_at_latest=None)
        ],
        "unpark": [_of(1, account_ids=[account], seconds=[5.0], before=parked)],
        "lost_parking": [_of(1, account_ids=[account])],
        "release_parked": [_of(all_accounts, before=parked)],
        "release_abandoned": [_of(all_accounts, before=parked, silent_for=60.0)],
        "leave_turn": [_of(1, tokens=5.0, asked=True)],
        "start_run": [_of(1)],
        "finish_run": [_of(1, **runs)],
        "list_runs": [_of(50)],
        "worker_heartbeat": [_of(1, version="1")],
        "list_workers": [_of(1)],
        "forget_worker": [_of(1)],
    }  # fmt: skip
