"""The worker's ``METRICS_PORT``: valid Prometheus text, right values, and no delay for anybody."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import mail
from tests.support.crowds import crowd, slowest
from tests.support.mirrors import add_account, backends, is_healthy, value
from tests.support.patience import Stopwatch
from tests.support.programs import Mailsync, Running
from tests.support.proxy import Proxy
from tests.support.run_directory import PATIENCE, free_port, wait_until
from tests.support.scripted import ScriptedServer

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]

# as the specification names them, with their labels
METRICS = {
    "mailsync_accounts": {"state"},
    "mailsync_account_lag_seconds": {"account_id", "scope"},
    "mailsync_messages": {"account_id"},
    "mailsync_sync_duration_seconds_bucket": {"le"},
    "mailsync_sync_duration_seconds_sum": set(),
    "mailsync_sync_duration_seconds_count": set(),
    "mailsync_messages_total": {"op"},
    "mailsync_imap_commands_total": {"command"},
    "mailsync_imap_errors_total": {"code"},
    "mailsync_lock_wait_seconds_bucket": {"le"},
    "mailsync_lock_wait_seconds_sum": set(),
    "mailsync_lock_wait_seconds_count": set(),
    "mailsync_lock_busy_total": set(),
    "mailsync_push_sessions": {"kind"},
    "mailsync_arrival_seconds_bucket": {"le"},
    "mailsync_arrival_seconds_sum": set(),
    "mailsync_arrival_seconds_count": set(),
    "mailsync_throttle_yields_total": set(),
    "mailsync_backfill_remaining": {"account_id"},
    "mailsync_worker_heartbeat_age_seconds": {"worker"},
    "mailsync_build_info": {"version"},
}


def ask(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, dict[str, str], str]:
    """Send one request; returns status, headers and text."""
    client = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    client.request(method, path)
    answer = client.getresponse()
    text = answer.read().decode()
    client.close()
    return answer.status, dict(answer.headers), text


def samples(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples by name and labels, as Prometheus' own parser reads them."""
    status, _, text = ask(port)
    assert status == 200, text
    values = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in values, f"duplicate {key}"
            values[key] = sample.value
    return values


def sample(values: dict[Any, float], name: str, **labels: str) -> float | None:
    return values.get((name, frozenset(labels.items())))


def test_every_metric_exists_with_the_right_value(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    for n in range(30):
        user.folder("INBOX").add(mail.message(n))
    account = add_account(mailsync, scripted, user)
    port = free_port()
    worker = start_worker(METRICS_PORT=str(port), SYNC_INTERVAL="1s")
    worker.wait_for(f"Metrics -> http://127.0.0.1:{port}/metrics")
    worker.wait_for(lambda: is_healthy(database, account))
    user.folder("INBOX").add(mail.message(30))
    user.folder("INBOX").set_flags(1, b"\\Seen")
    user.folder("INBOX").expunge(2)
    wait_until(lambda: sample(samples(port), "mailsync_messages_total", op="new") == 31, "31 new messages")
    wait_until(lambda: sample(samples(port), "mailsync_messages_total", op="deleted") == 1, "one deleted")

    scripted.on("LIST", b"NO [UNAVAILABLE] back soon")
    wait_until(lambda: sample(samples(port), "mailsync_imap_errors_total", code="unreachable"), "an error")
    values = samples(port)
    assert {name: {label for label, _ in labels} for name, labels in values} == METRICS
    assert sample(values, "mailsync_messages", account_id=str(account)) == 30
    assert sample(values, "mailsync_messages_total", op="flags_changed") == 1
    assert sample(values, "mailsync_accounts", state="degraded") == 1
    assert sample(values, "mailsync_accounts", state="broken") == 0
    assert sample(values, "mailsync_backfill_remaining", account_id=str(account)) == 0
    assert (sample(values, "mailsync_imap_commands_total", command="LOGIN") or 0) >= 1
    assert (sample(values, "mailsync_imap_commands_total", command="FETCH") or 0) >= 3
    lag = sample(values, "mailsync_account_lag_seconds", account_id=str(account), scope="priority")
    assert lag is not None and 0 <= lag < 30
    assert sample(values, "mailsync_push_sessions", kind="notify") == 0
    assert sample(values, "mailsync_push_sessions", kind="idle") == 0
    for histogram in ("mailsync_sync_duration_seconds", "mailsync_lock_wait_seconds"):
        buckets = sorted(
            (float(dict(labels)["le"]), count)
            for (name, labels), count in values.items()
            if name == f"{histogram}_bucket"
        )
        counts = [count for _, count in buckets]
        assert counts == sorted(counts) and buckets[-1] == (
            float("inf"),
            sample(values, f"{histogram}_count"),
        )
        assert counts[-1] >= 3
    (age,) = (count for (name, _), count in values.items() if name == "mailsync_worker_heartbeat_age_seconds")
    assert 0 <= age < 30
    text = ask(port)[2]
    assert "@" not in text and user.name not in text

    worker.terminate()
    assert worker.wait() == 0
    # the counters of quiet turns are stored at the end too, and outlive the worker
    turns = "select sum(value) from metric_counters where name = 'mailsync_sync_duration_seconds_bucket'"
    assert value(database, turns) >= counts[-1]


def test_the_server_answers_only_get_and_head_of_metrics(
    mailsync: Mailsync, start_worker: StartWorker
) -> None:
    port = free_port()
    worker = start_worker(METRICS_PORT=str(port))
    worker.wait_for("Ready")
    status, headers, text = ask(port, method="HEAD")
    assert (status, text) == (200, "") and int(headers["Content-Length"]) > 1000
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert ask(port, "/")[0] == 404
    assert ask(port, method="POST")[0] == 405
    # silent clients take all places, and lose them to the next client
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    assert ask(port)[0] == 200
    began = Stopwatch()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert began.stop() < 4, "scrapes must not delay the end"
    for client in silent:
        client.close()


@pytest.mark.long
@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\nX-A: "])
def test_a_crowd_delays_neither_scrapes_nor_the_worker(
    scripted: ScriptedServer, mailsync: Mailsync, database: Database, start_worker: StartWorker, sent: bytes
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    account = add_account(mailsync, scripted, user)
    port = free_port()
    worker = start_worker(METRICS_PORT=str(port), SYNC_INTERVAL="1s")
    worker.wait_for(lambda: is_healthy(database, account))

    def is_answered() -> None:
        assert ask(port)[0] == 200

    with crowd(port, sent):
        assert slowest(is_answered) < 1
        user.folder("INBOX").add(mail.message(2))
        wait_until(lambda: value(database, "select count(*) from messages") == 2, "the new message")
        is_answered()
    assert "Traceback" not in worker.output


def test_it_answers_503_without_the_database_and_recovers(
    database: Database, postgres_proxy: tuple[Proxy, str], start_worker: StartWorker
) -> None:
    proxy, url = postgres_proxy
    port = free_port()
    worker = start_worker(METRICS_PORT=str(port), DATABASE_URL=url)
    worker.wait_for("Ready")
    assert ask(port)[0] == 200
    assert backends(database, "mailsync-metrics") == 1
    proxy.refusing = True
    proxy.reset()
    status, headers, text = ask(port)
    assert status == 503 and headers["Retry-After"] and "database" in text
    ask(port)
    assert worker.output.count("Cannot read metrics") == 1
    proxy.refusing = False
    wait_until(lambda: ask(port)[0] == 200, "the metrics")
    database.execute("drop table metric_counters")
    assert ask(port)[0] == 503


def test_a_port_in_use_is_one_line_and_exit_code_2(mailsync: Mailsync) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        sent = mailsync("worker", env={"METRICS_PORT": port})
        assert sent.returncode == 2 and sent.stderr.count("\n") == 1, sent
        assert f"METRICS_PORT: 127.0.0.1:{port} cannot be opened" in sent.stderr
        # a pass from cron does not open the port
        assert mailsync("worker", "--once", env={"METRICS_PORT": port}).returncode == 0
