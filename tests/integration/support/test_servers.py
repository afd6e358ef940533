"""The test servers themselves: what other tests build on."""

from __future__ import annotations

import imaplib
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.support import mail, planted, run_directory
from tests.support import postgres as postgres_server
from tests.support.certificates import Authority
from tests.support.dovecot import Dovecot, offering
from tests.support.imap_server import done
from tests.support.patience import Stopwatch
from tests.support.programs import ROOT, Mailsync, Running
from tests.support.proxy import Proxy
from tests.support.pymap_server import Pymap
from tests.support.scripted import ScriptedServer


def test_each_test_gets_a_migrated_database_whose_name_ends_in_test(database: psycopg.Connection) -> None:
    (name,) = database.execute("SELECT current_database()").fetchone()
    assert name.endswith("_test")
    (schema,) = database.execute("SELECT current_schema()").fetchone()
    assert schema == "mailsync"


def test_commits_are_synchronous_though_nothing_is_flushed(postgres, empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'mailsync'").fetchone() == (0,)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgresql://u:p@db.prod.example/mail_test", "prod"),
        ("postgresql://u:p@aws-0.pooler.supabase.com:5432/mail_test", "pooler"),
        ("postgresql://u:p@/mail_test?host=pgbouncer", "pgbouncer"),
        ("postgresql://u:p@db.example:6543/mail_test", "6543"),
        ("postgresql://u:p@/mail_test?host=db.example&port=6543", "6543"),
        ("postgresql://u:p@db.example/mail", "_test"),
        ("postgresql://u:p@db.example/mail?options=-c%20search_path%3Dtesting", "_test"),
    ],
)
def test_a_database_that_may_be_real_is_refused(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        postgres_server.refuse_real_database(url)
    assert "u:p@" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@127.0.0.1/mail_test",
        "postgresql://u@db.example/mail?options=-c%20search_path%3Dtest",
    ],
)
def test_a_test_database_is_accepted(url: str) -> None:
    postgres_server.refuse_real_database(url)


def test_dovecot_gives_each_user_an_empty_mailbox_that_is_filled_quickly(dovecot: Dovecot) -> None:
    user, other = dovecot.new_user(), dovecot.new_user()
    dovecot.create(user, "Sent", "Work/Q1")
    started = Stopwatch()
    count = dovecot.seed(user, "Work/Q1", (mail.message(n) for n in range(1000)))
    assert count == 1000
    assert started.stop() < 60
    dovecot.append(user, "INBOX", mail.message(1), r"\Seen", "01-Feb-2024 10:00:00 +0000")
    dovecot.store(user, "Work/Q1", "1:10", r"\Flagged")
    dovecot.expunge(user, "Work/Q1", "5:6")
    dovecot.rename(user, "Work/Q1", "Done")
    with dovecot.imap(user, "INBOX") as client:
        (line,) = done(client.uid("FETCH", "1", "(FLAGS INTERNALDATE)"))
        assert b'FLAGS (\\Seen \\Recent) INTERNALDATE "01-Feb-2024 10:00:00 +0000"' in line
        (line,) = done(client.status("Done", "(MESSAGES UIDNEXT)"))
        assert line == b"Done (MESSAGES 998 UIDNEXT 1001)"
    with dovecot.imap(other, "INBOX") as client:
        assert client.response("EXISTS")[1] in ([b"0"], [None])
        assert len(done(client.list())) == 1
    assert list(user.directory.rglob("dbox-Mails"))


def test_dovecot_can_offer_fewer_extensions_and_other_storage(dovecot_with: Callable[..., Dovecot]) -> None:
    server = dovecot_with(storage="maildir", capabilities="IMAP4rev1 ID", separator=".", prefix="INBOX.")
    user = server.new_user()
    server.create(user, "INBOX.Sent")
    server.append(user, "INBOX.Sent", mail.message(1))
    with server.imap(user) as client:
        assert done(client.capability())[-1] == b"IMAP4rev1 ID"
    assert list(user.directory.rglob("cur"))


def test_a_dovecot_can_be_killed_and_started_again_with_its_mail(new_dovecot: Callable[..., Dovecot]) -> None:
    server = new_dovecot()
    user = server.new_user()
    server.append(user, "INBOX", mail.message(1))
    client = imaplib.IMAP4(server.host, server.port)
    client.login(user.name, user.password)
    server.kill()
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        client.noop()
    client.shutdown()
    server.start()
    server.restart()
    user = server.set_password(user, "another-password")
    with server.imap(user) as client:
        assert done(client.status("INBOX", "(MESSAGES)")) == [b"INBOX (MESSAGES 1)"]


def test_a_dovecot_that_cannot_start_shows_its_configuration(new_dovecot: Callable[..., Dovecot]) -> None:
    with pytest.raises(RuntimeError, match="Unknown setting: nonsense"):
        new_dovecot(settings="nonsense = 1\n")


def test_the_good_certificate_is_trusted_and_the_others_are_not(
    tls_dovecot: Dovecot, dovecot_with: Callable[..., Dovecot], authority: Authority
) -> None:
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    user = tls_dovecot.new_user()
    with imaplib.IMAP4_SSL("localhost", tls_dovecot.tls_port, ssl_context=trusting) as client:
        done(client.login(user.name, user.password))
    with imaplib.IMAP4("127.0.0.1", tls_dovecot.port) as client:
        done(client.starttls(trusting))
    for certificate, reason in [
        (authority.expired(), "expired"),
        (authority.wrong_name(), "Hostname mismatch"),
        (authority.self_signed(), "self-signed"),
    ]:
        port = dovecot_with(certificate=certificate).tls_port
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            imaplib.IMAP4_SSL("localhost", port, ssl_context=trusting)


def test_a_printed_secret_fails_the_test_that_printed_it(tmp_path: Path) -> None:
    program = Mailsync(tmp_path, "postgresql://nobody@127.0.0.1/none_test")
    secret = planted.keep("a planted secret of this test")
    for form in (
        secret,
        "YSBwbGFudGVkIHNlY3JldCBvZiB0aGlzIHRlc3Q=",
        "a%20planted%20secret%20of%20this%20test",
    ):
        program.printed = [f"LOGIN user {form}"]
        with pytest.raises(AssertionError, match="Secrets were printed"):
            program.close()
    program.printed = ["LOGIN user ***"]
    program.close()


def test_a_process_can_be_watched_and_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; print('ready', flush=True);"
        "print('{\"a\": 1}', file=sys.stderr, flush=True); time.sleep(60)"
    )
    process = Running([sys.executable, "-c", script], {}, tmp_path)
    process.wait_for("ready")
    process.wait_for(lambda: process.records() == [{"a": 1}])
    process.kill9()
    assert process.returncode == -9
    process.close()


def test_servers_of_a_killed_run_are_ended_by_the_next(tmp_path: Path) -> None:
    script = (
        "import os, sys, subprocess; from tests.support import run_directory as r; run = r.create();"
        "p = r.spawn([sys.executable, '-c', 'import time; time.sleep(600)'], stdout=-3, stderr=-3);"
        "print(run, p.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    killed = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    run, pid = killed.stdout.split()
    assert Path(run).exists()
    assert run_directory.belongs_to(Path(run), int(pid))
    sweeping = "from tests.support import run_directory; run_directory.sweep()"
    subprocess.run([sys.executable, "-c", sweeping], env=environment, cwd=ROOT, check=True)
    assert not Path(run).exists()
    assert not run_directory.belongs_to(Path(run), int(pid))


def test_pymap_is_a_second_implementation_with_few_extensions(pymap: Pymap) -> None:
    pymap.create(pymap.user, "Sent")
    pymap.seed(pymap.user, "Sent", [(mail.message(n), r"\Seen", mail.internal_date(n)) for n in range(300)])
    pymap.expunge(pymap.user, "Sent", "101:110")
    with pymap.imap(pymap.user, "Sent") as client:
        assert not {"CONDSTORE", "ESEARCH", "LIST-STATUS"} & set(
            done(client.capability())[-1].decode().split()
        )
        assert done(client.status("INBOX", "(MESSAGES)")) == [b"INBOX (MESSAGES 0)"]
        assert client.response("EXISTS")[1] == [b"290"]


def test_a_proxy_can_be_deaf_slow_and_broken(
    proxy_to: Callable[..., Proxy], scripted: ScriptedServer
) -> None:
    proxy = proxy_to((scripted.host, scripted.port))
    greeting = b"* OK ready\r\n"

    def client(patience: float = run_directory.PATIENCE) -> socket.socket:
        return socket.create_connection((proxy.host, proxy.port), timeout=patience)

    with client() as sock:
        assert sock.recv(100) == greeting
        proxy.deaf = True
        sock.sendall(b"a NOOP\r\n")
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(100)
        with client(0.2) as other, pytest.raises(TimeoutError):
            other.recv(100)
        sock.settimeout(run_directory.PATIENCE)
        proxy.deaf = False
        assert sock.recv(100) == b"a OK NOOP completed\r\n"
        proxy.delay = 0.05
        started = time.monotonic()
        sock.sendall(b"b NOOP\r\n")
        assert sock.recv(100) == b"b OK NOOP completed\r\n"
        assert time.monotonic() - started >= 0.1
        proxy.delay = 0
        proxy.cut_after(5)
        sock.sendall(b"c NOOP\r\n")
        assert sock.recv(100) == b"c OK "
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
    with client() as sock:
        assert sock.recv(100) == greeting
        proxy.close_connections()
        assert sock.recv(100) == b""
    with client() as sock:
        assert sock.recv(100) == greeting
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
    proxy.refusing = True
    with client() as sock:
        assert sock.recv(100) == b""


def test_a_proxy_can_forget_connections_without_a_word(
    proxy_to: Callable[..., Proxy], scripted: ScriptedServer
) -> None:
    proxy = proxy_to((scripted.host, scripted.port))
    with socket.create_connection((proxy.host, proxy.port), timeout=run_directory.PATIENCE) as lost:
        assert lost.recv(100) == b"* OK ready\r\n"
        assert proxy.lose_links() == 1
        scripted.push(b"* OK Still here\r\n")
        lost.sendall(b"a NOOP\r\n" * 100_000)  # far more than buffers hold: the other side acknowledges it
        with socket.create_connection((proxy.host, proxy.port), timeout=run_directory.PATIENCE) as sock:
            assert sock.recv(100) == b"* OK ready\r\n"
            sock.sendall(b"b NOOP\r\n")
            assert sock.recv(100) == b"b OK NOOP completed\r\n"
        scripted.disconnect()
        lost.settimeout(0.2)
        with pytest.raises(TimeoutError):
            lost.recv(100)
    assert scripted.journal.counts() == {"NOOP": 1}


def test_a_proxy_can_be_far_away(proxy_to: Callable[..., Proxy], scripted: ScriptedServer) -> None:
    proxy = proxy_to((scripted.host, scripted.port))
    proxy.round_trip = 0.2
    with socket.create_connection((proxy.host, proxy.port), timeout=run_directory.PATIENCE) as sock:
        file = sock.makefile("rb")
        file.readline()
        watch = Stopwatch()
        for n in range(40):
            sock.sendall(b"a%d NOOP\r\n" % n)
        for n in range(40):
            assert file.readline() == b"a%d OK NOOP completed\r\n" % n
        assert watch.clock >= 0.2
        assert watch.stop() < 4  # one after another they would take 8 s
        file.close()


@pytest.mark.parametrize(
    ("push", "offered"), [("notify", {"NOTIFY", "IDLE"}), ("idle", {"IDLE"}), ("none", set())]
)
def test_a_dovecot_can_report_changes_by_less(
    dovecot_with: Callable[..., Dovecot], push: str, offered: set[str]
) -> None:
    server = dovecot_with(**offering(push))
    with server.imap(server.new_user()) as client:
        capabilities = set(done(client.capability())[-1].decode().split())
    assert capabilities & {"NOTIFY", "IDLE"} == offered
    assert {"LIST-STATUS", "QRESYNC"} < capabilities


def test_postgres_can_be_reached_through_a_proxy(postgres_proxy: tuple[Proxy, str]) -> None:
    proxy, url = postgres_proxy
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT current_database()").fetchone()[0].endswith("_test")
        proxy.reset()
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_the_program_runs_with_a_clean_environment(
    mailsync: Mailsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://real@db.prod.example/mail")
    result = mailsync("migrate", "--status", "--json")
    assert result.returncode == 0, result
    assert result.json()
    result = mailsync("migrate", env={"DATABASE_URL": None})
    assert result.returncode == 2
    assert "DATABASE_URL" in result.stderr
