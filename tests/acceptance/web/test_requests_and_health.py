"""Requests and health checks of a real gunicorn with a real database: tokens, ids, log lines, readiness."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support import run_directory
from tests.support.api import AUTHORIZED, Api, StartApi, assert_problem
from tests.support.programs import API_TOKEN
from tests.support.proxy import Proxy
from tests.support.run_directory import wait_until


def test_only_the_health_checks_need_no_token(api: Api) -> None:
    live, ready = api.get("/health/live"), api.get("/health/ready")
    assert (live.status, live.json()) == (200, {"status": "ok"})
    assert (ready.status, ready.json()) == (200, {"status": "ready"})
    for path in ("/v1/accounts", "/", "/health", "/health/live/", "/health/ready/../x", "/nowhere"):
        answer = api.get(path)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="mailsync"'


def test_a_wrong_token_is_refused(api: Api) -> None:
    almost = (f"{API_TOKEN}x", API_TOKEN[:-1], f"{API_TOKEN},{API_TOKEN}", "\xff\xfe", "")
    for value in ("", "Bearer", f"Basic {API_TOKEN}", API_TOKEN, *(f"Bearer {token}" for token in almost)):
        assert_problem(api.get("/v1/x", Authorization=value), 401, "unauthorized")


def test_every_token_is_accepted_and_the_case_of_the_scheme_ignored(start_api: StartApi) -> None:
    api = start_api(API_TOKEN=f"{API_TOKEN}, the-second-token-of-two")
    for value in (f"Bearer {API_TOKEN}", "bearer the-second-token-of-two", "BEARER  the-second-token-of-two"):
        assert_problem(api.get("/v1/x", Authorization=value), 404, "not_found")


def test_errors_of_routing_are_problem_documents(api: Api) -> None:
    missing = assert_problem(api.get("/v1/nothing", **AUTHORIZED), 404, "not_found")
    assert missing["title"] == "Not Found"
    answer = api.request("POST", "/health/live", AUTHORIZED)
    assert_problem(answer, 405, "method_not_allowed")
    assert {word.strip() for word in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "OPTIONS"}


def test_a_body_over_one_mebibyte_is_refused(api: Api) -> None:
    document = assert_problem(
        api.request("POST", "/v1/x", AUTHORIZED, b"x" * ((1 << 20) + 1)), 413, "too_large"
    )
    assert "1 MiB" in document["detail"]
    assert_problem(api.request("POST", "/v1/x", AUTHORIZED, b"x" * (1 << 20)), 404, "not_found")


def test_a_harmless_request_id_is_kept_and_any_other_replaced(api: Api) -> None:
    assert api.get("/health/live", X_Request_Id="abc-1.2_3:4").headers["X-Request-Id"] == "abc-1.2_3:4"
    made = set()
    for odd in ("", "a b", "<script>", "x" * 65, 'a"b', "ü"):
        answer = api.get("/nowhere", X_Request_Id=odd)
        made.add(answer.headers["X-Request-Id"])
        assert_problem(answer, 401, "unauthorized")
    assert len(made) == 6
    assert all(len(request_id) == 32 and request_id.isalnum() for request_id in made)


def test_answers_are_neither_sniffed_nor_cached(api: Api) -> None:
    for answer in (api.get("/health/live"), api.get("/nowhere")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


def test_every_request_logs_one_json_line_with_its_id_and_without_the_token(api: Api) -> None:
    api.get("/v1/nothing", X_Request_Id="find-me", **AUTHORIZED)
    api.process.wait_for("find-me")
    (line,) = [record for record in api.process.records() if record.get("request_id") == "find-me"]
    assert (line["message"], line["action"], line["level"]) == ("GET /v1/nothing 404", "http", "INFO")
    assert (line["remote"], line["logger"]) == ("127.0.0.1", "mailsync.web.http.auth")
    assert line["duration_ms"] >= 0
    assert API_TOKEN not in api.process.output
    assert all(line.startswith("{") for line in api.process.lines), api.process.output


def test_without_the_schema_it_is_not_ready_and_names_the_check(
    start_api: StartApi, empty_database_url: str
) -> None:
    api = start_api(DATABASE_URL=empty_database_url)
    assert api.get("/health/live").status == 200
    answer = api.get("/health/ready")
    document = assert_problem(answer, 503, "not_ready")
    assert document["checks"] == ["schema"]
    assert answer.headers["Retry-After"] == "5"
    api.process.wait_for("Not ready: schema: ")


def test_without_a_database_it_is_alive_but_not_ready(start_api: StartApi) -> None:
    closed = run_directory.free_port()
    api = start_api(DATABASE_URL=f"postgresql://u:hush-hush@127.0.0.1:{closed}/none_test")
    assert api.get("/health/live").status == 200
    assert assert_problem(api.get("/health/ready"), 503, "not_ready")["checks"] == ["database"]
    assert "hush-hush" not in api.process.output


def test_it_is_ready_again_after_its_connections_were_terminated(
    api: Api, database: psycopg.Connection
) -> None:
    assert api.get("/health/ready").status == 200
    ended = database.execute(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where application_name like 'mailsync-api%' and datname = current_database()"
    ).fetchone()
    assert ended
    assert ended[0] > 0
    api.process.wait_for(lambda: api.get("/health/ready").status == 200)


def test_a_lost_database_is_logged_once_and_so_is_its_return(
    start_api: StartApi, postgres_proxy: tuple[Proxy, str]
) -> None:
    proxy, url = postgres_proxy
    api = start_api(DATABASE_URL=url)
    assert api.call("GET", "/v1/accounts").status == 200
    proxy.refusing = True
    proxy.reset()
    # twice on a connection of its own, once on a pooled one
    for method, path in [("POST", "/v1/accounts/1/reset")] * 2 + [("GET", "/v1/accounts")]:
        assert_problem(api.call(method, path), 503, "database_unavailable")
    assert api.get("/health/ready").status == 503
    proxy.refusing = False
    wait_until(lambda: api.call("GET", "/v1/accounts").status == 200, "the database")
    api.process.wait_for(lambda: api.process.output.count("Ready to serve") == 2)
    warnings = [record for record in api.process.records() if record["level"] in ("WARNING", "ERROR")]
    assert len(warnings) == 1
    assert warnings[0]["message"].startswith("Not ready: database: ")


def test_many_clients_at_once_are_served(api: Api) -> None:
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda _: api.get("/health/ready").status, range(64)))
    assert answers == [200] * 64


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"API_TOKEN": None}, "API_TOKEN: not set; give at least 16 characters"),
        ({"API_TOKEN": "short"}, "API_TOKEN: the value (a secret, not shown) is not accepted"),
        ({"DATABASE_URL": None}, "DATABASE_URL: not set; give postgresql://"),
        ({"SYNC_INTERVAL": "0"}, 'SYNC_INTERVAL: "0" is not accepted'),
    ],
)
def test_a_bad_configuration_prevents_the_start_with_one_line(
    start_api: StartApi, changes: dict[str, str | None], line: str
) -> None:
    process = start_api(wait=False, **changes).process
    assert process.wait() == 2
    assert process.lines[0].startswith(line)
    assert len(process.lines) == 1


def test_a_bad_configuration_ends_gunicorn_even_without_our_configuration_module(start_api: StartApi) -> None:
    process = start_api(wait=False, config=False, API_TOKEN="short").process
    assert process.wait() == 4
    assert "API_TOKEN: the value (a secret, not shown) is not accepted" in process.output
    assert "Traceback" not in process.output


def test_the_summary_counts_accounts_and_reports_missing_workers(
    api: Api, database: psycopg.Connection
) -> None:
    empty = api.call("GET", "/health").json()
    assert (empty["status"], empty["reasons"]) == ("degraded", ["no worker is alive"])
    assert empty["accounts"] == {
        "total": 0, "initial_sync": 0, "healthy": 0, "degraded": 0, "broken": 0, "paused": 0,
    }  # fmt: skip
    assert empty["unhealthy"] == {"total": 0, "accounts": []}
    assert empty["worst_lag"] == {"priority_seconds": None, "overall_seconds": None}
    database.execute("insert into workers (worker, version) values ('w:1:worker', '9')")
    database.execute(
        "insert into accounts (email, imap_host, imap_port, imap_security, username, sync_state,"
        "  priority_synced_at, overall_synced_at, paused_at)"
        " values ('a@x.test', 'h', 993, 'tls', 'a', 'broken', now() - interval '1 hour', now(), null),"
        "  ('b@x.test', 'h', 993, 'tls', 'a', 'initial_sync', now() - interval '9 hours', null, now())"
    )
    summary = api.call("GET", "/health").json()
    assert (summary["status"], summary["reasons"]) == ("degraded", ["1 broken"])
    assert {state: count for state, count in summary["accounts"].items() if count} == {
        "total": 2, "broken": 1, "paused": 1,
    }  # fmt: skip
    assert 3600 <= summary["worst_lag"]["priority_seconds"] < 9000, "paused accounts are excluded"
    (worker,) = summary["workers"]
    assert (worker["worker"], worker["version"], worker["alive"]) == ("w:1:worker", "9", True)
    database.execute("update workers set heartbeat_at = now() - interval '2 minutes'")
    assert api.call("GET", "/health").json()["reasons"] == ["no worker is alive", "1 broken"]


def test_the_summary_lists_unhealthy_accounts_and_what_to_do(api: Api, database: psycopg.Connection) -> None:
    database.execute(
        "insert into accounts (email, imap_host, imap_port, imap_security, username, sync_state,"
        "  sync_state_reason, sync_state_message)"
        " select format('%s@x.test', n), 'h', 993, 'tls', 'a',"
        "  case when n <= 30 then 'degraded' when n <= 33 then 'broken' else 'initial_sync' end,"
        "  case when n <= 30 then 'tls' when n <= 33 then 'auth_failed' end, 'it said no'"
        " from generate_series(1, 40) n"
    )
    unhealthy = api.call("GET", "/health").json()["unhealthy"]
    assert unhealthy["total"] == 33
    named = unhealthy["accounts"]
    assert [entry["email"] for entry in named] == [f"{n}@x.test" for n in (31, 32, 33, *range(1, 18))]
    first = named[0]
    assert first.pop("since").endswith("Z")
    assert first == {
        "id": first["id"], "email": "31@x.test", "state": "broken", "reason": "auth_failed",
        "message": "it said no",
        "action": "Enter a password that the server accepts: `mailsync set-password 31@x.test`",
    }  # fmt: skip
    assert named[-1]["action"].startswith("Have the mail server's certificate renewed")


def test_metrics_are_scraped_with_the_token(api: Api) -> None:
    assert_problem(api.get("/metrics"), 401, "unauthorized")
    answer = api.call("GET", "/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    assert b'mailsync_accounts{state="healthy"} 0.0' in answer.body


def test_the_openapi_description_lists_exactly_the_routes(api: Api) -> None:
    document = api.call("GET", "/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], f"{method} {path}"
            assert path in ("/health/live", "/health/ready") or "401" in operation["responses"]
    identifiers = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert len(set(identifiers)) == len(identifiers)
    assert {"/health", "/health/live", "/health/ready", "/metrics", "/openapi.json"} <= set(document["paths"])


def test_unknown_and_repeated_parameters_are_refused_except_by_open_checks(api: Api) -> None:
    document = assert_problem(api.call("GET", "/health", verbose="1"), 422, "invalid")
    assert document["errors"] == [{"detail": "unknown; nothing is accepted here", "parameter": "verbose"}]
    assert document["detail"] == "verbose: unknown; nothing is accepted here"
    document = assert_problem(api.request("GET", "/health?a=1&a=2", AUTHORIZED), 422, "invalid")
    assert document["errors"] == [{"detail": "given more than once", "parameter": "a"}]
    assert api.get("/health/live?t=1700000000").status == 200
    assert api.get("/health/ready?t=1700000000").status == 200


def test_the_log_shows_which_token_was_used(start_api: StartApi) -> None:
    api = start_api(API_TOKEN=f"{API_TOKEN}, next-one=the-second-token-of-two")
    api.get("/health", X_Request_Id="by-first", **AUTHORIZED)
    api.get("/health", X_Request_Id="by-name", Authorization="Bearer the-second-token-of-two")
    api.get("/health", X_Request_Id="by-none", Authorization="Bearer next-one=the-second-token-of-two")
    api.process.wait_for("by-none")
    used = {record["request_id"]: record for record in api.process.records() if "request_id" in record}
    tokens = {
        name: (used[name]["status"], used[name]["token"]) for name in ("by-first", "by-name", "by-none")
    }
    assert tokens == {"by-first": (200, "token-1"), "by-name": (200, "next-one"), "by-none": (401, None)}
    assert "the-second-token" not in api.process.output
