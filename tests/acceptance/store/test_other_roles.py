"""A role that may connect, but has no rights on our schema, cannot make us run its code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support import mail, overloads
from tests.support.api import StartApi
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, is_healthy, live_uids
from tests.support.programs import Mailsync
from tests.support.roles import Role, new_role

Database = psycopg.Connection[Any]

# tables, views and types with names that our statements use, even those of temporary tables
SHADOWS = (
    "create table public.incoming (uid bigint)",
    "create table public.incoming_flags (uid bigint)",
    "create table public.accounts (id bigint, email text)",
    "create table public.messages (id bigint)",
    "create view public.account_locks as select 1::bigint as account_id, 1 as pid, true as granted",
    "create type public.int8multirange as enum ('a')",
    "create type public.jsonb as enum ('a')",
    "create domain public.timestamptz as text",
)


@pytest.fixture
def joe(database: Database, database_url: str) -> Iterator[Role]:
    database.execute("set search_path = mailsync, pg_temp")
    with new_role(database, database_url) as role:
        yield role
        overloads.remove(database, "public")


def test_what_a_role_makes_in_public_is_neither_called_nor_read(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_api: StartApi, joe: Role
) -> None:
    database.execute(f"grant usage, create on schema public to {joe.name}".encode())
    with psycopg.connect(joe.url, autocommit=True) as other:
        overloads.add_functions(other, "public")
        overloads.add_operators(other, "public")
        for shadow in SHADOWS:
            other.execute(shadow.encode())
        for refused in ("create cast (text as bigint) with inout as implicit", "create table mailsync.a ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute(refused.encode())

    user = dovecot.new_user()
    sent = [mail.message(n, attachment=b"attached") for n in range(3)]
    dovecot.seed(user, "INBOX", sent)
    account = add_account(mailsync, dovecot, user)
    for command in (
        ["preflight"],
        ["migrate", "--status"],
        ["sync", user.name],
        ["sync", user.name, "--full"],
        ["verify", user.name],
        ["status"],
        ["check-account", user.name],
        ["list-folders", user.name],
    ):
        done = mailsync(*command)
        assert done.returncode == 0, done
    worker = mailsync.start("worker", SYNC_INTERVAL="1s", LOG_FORMAT="json")
    worker.wait_for("Ready")
    dovecot.seed(user, "INBOX", [mail.message(4)])
    worker.wait_for(lambda: live_uids(database, account) == [1, 2, 3, 4])
    worker.wait_for(lambda: is_healthy(database, account))

    api = start_api()
    listed = api.call("GET", f"/v1/accounts/{account}/messages").json()["data"]
    assert [m["uid"] for m in listed] == [4, 3, 2, 1]
    number = listed[-1]["id"]
    for path in (f"/v1/messages/{number}/body", f"/v1/messages/{number}", f"/v1/accounts/{account}/folders"):
        assert api.call("GET", path).status == 200
    done = mailsync("remove-account", user.name, "--yes")
    assert done.returncode == 0, done
    worker.terminate()
    assert worker.wait() == 0
    assert not [r for r in worker.records() if r["level"] in ("WARNING", "ERROR")]
    assert "an overload" not in api.process.output


@pytest.mark.long
def test_a_role_that_holds_an_accounts_lock_is_named_everywhere(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_api: StartApi, joe: Role
) -> None:
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [mail.message(1)])
    account = add_account(mailsync, dovecot, user)
    worker = mailsync.start("worker", SYNC_INTERVAL="1s", LOG_FORMAT="json")
    worker.wait_for(lambda: is_healthy(database, account))
    with psycopg.connect(joe.url, autocommit=True, application_name="psql") as other:
        other.execute("select pg_advisory_lock(hashtext('mailsync'), %s::int)", [account])
        pid = other.info.backend_pid
        named, ended = f"pid {pid} (role {joe.name}, psql)", f"select pg_terminate_backend({pid})"

        worker.wait_for(lambda: [r for r in worker.records() if named in str(r.get("error"))])
        shown = " ".join(mailsync("check-account", user.name).stdout.split())
        assert "degraded (lock_held)" in shown
        assert shown.count(named) == shown.count(ended) == 2, "in the state and at the lock"
        document = mailsync("check-account", user.name, "--json").json()
        assert document["account"]["sync_state_reason"] == "lock_held"
        lock = document["lock"]
        assert (lock["pid"], lock["role"], lock["application_name"]) == (pid, joe.name, "psql")
        assert (lock["is_mailsync"], lock["started_by"]) == (False, None)
        found = start_api().call("GET", f"/v1/accounts/{account}").json()
        assert found["sync_state_reason"] == "lock_held"
        assert named in found["sync_state_message"]
        refused = mailsync("sync", user.name)
        assert refused.returncode == 3
        assert named in refused.stderr

        database.execute(ended.encode())
    dovecot.seed(user, "INBOX", [mail.message(2)])
    worker.wait_for(lambda: live_uids(database, account) == [1, 2] and is_healthy(database, account))
    assert sum(named in str(r.get("error")) for r in worker.records()) == 1, "it is said once"
