"""The pages about the HTTP API, run with ``mailsync dev``, a mail server with TLS, bash, curl and jq.

``REFRESH_DOCUMENTS=1 pytest tests/documents/test_using_the_api.py`` writes the actual output into the pages.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailsync import errors
from mailsync.accounts.fields import LONGEST_NAME, MAX_METADATA
from mailsync.accounts.manage import LONGEST_REASON
from mailsync.store import db
from mailsync.store.locks import account_lock
from mailsync.web import MAX_BODY, create_app, resources
from mailsync.web.http import downloads, problems
from mailsync.web.schemas.base import MAX_LIMIT
from mailsync.web.server import connections, gunicorn_worker
from tests.documents import console, recipes
from tests.documents.letters import ADDRESS, LATER, LETTERS, NEW_PASSWORD, PASSWORD, Letter
from tests.support import planted, run_directory
from tests.support.certificates import Authority
from tests.support.dovecot import Dovecot
from tests.support.patience import PATIENCE
from tests.support.programs import API_TOKEN, ENCRYPTION_KEY, ROOT
from tests.support.stored import settings_for

README = "README.rst"
# one session: each page goes on where the one before it ended
DOCUMENTS = (
    "docs/howto/use_the_api.rst",
    "docs/howto/read_over_http.rst",
    "docs/howto/follow_changes.rst",
    "docs/howto/operate_the_api.rst",
)
REFERENCE = "docs/reference/http_api.rst"
REFRESH = "REFRESH_DOCUMENTS"
URL, HOST, PORT = "http://127.0.0.1:3000", "imap.example.com", '"imap_port": 993'


class World:
    """The service, its mail server, and the events that the pages refer to."""

    def __init__(self, directory: Path, database_url: str, dovecot: Dovecot, authority: Authority) -> None:
        self.directory = directory
        self.log = directory / "mailsync.log"
        self._database_url = database_url
        self._dovecot = dovecot
        self._later = iter(LATER)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._holders: list[threading.Thread] = []
        self._ports = [run_directory.free_port() for _ in range(2)]
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            run_directory.VARIABLE: str(run_directory.current()),
        }
        self._settings = {
            "DATABASE_URL": database_url,
            "IMAP_ENCRYPTION_KEY": ENCRYPTION_KEY,
            "IMAP_CA_FILE": str(authority.ca_file),
            "IMAP_MAX_COMMANDS_PER_MINUTE": "1000000",
            "LOG_FORMAT": "json",
            "BODY_LOCK_WAIT": "1s",
            "WEB_CONCURRENCY": "2",
            "OAUTH_GOOGLE_CLIENT_ID": "client.apps.example",
            "OAUTH_CALLBACK_URL": "http://127.0.0.1:3000/oauth/callback",
        }
        self.names = {
            URL: f"http://127.0.0.1:{self._ports[0]}",
            HOST: "localhost",
            PORT: f'"imap_port": {dovecot.tls_port}',
        }
        self.shell = console.Shell(directory, self.environment)

    # -- the service -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start ``mailsync dev``, and a second API that allows public hosts only and has two tokens."""
        self._run("dev", PORT=str(self._ports[0]), IMAP_ALLOW_PRIVATE_HOSTS="true")
        self._user = self._dovecot.new_user(ADDRESS, PASSWORD)
        self._dovecot.create(self._user, "Sent", "Projects", "Junk")
        for letter in LETTERS:
            self._deliver(letter)
        file = self.directory / ".mailsync" / "token"
        run_directory.wait_until(lambda: file.exists() and file.read_text().endswith("\n"), "the token")
        token = planted.keep(file.read_text().strip())
        (self.directory / "reports.token").write_text(f"{API_TOKEN}\n")
        self._run("api", PORT=str(self._ports[1]), API_TOKEN=f"laptop={token},reports={API_TOKEN}")
        self.wait_for("[worker] ✓ Ready")
        self.wait_for("[api] ✓ Ready", 2)
        self.wait_for('"Ready to serve"', 2 * int(self._settings["WEB_CONCURRENCY"]))

    def _run(self, command: str, **settings: str) -> None:
        with self.log.open("ab") as log:
            self._processes.append(
                run_directory.spawn(
                    [sys.executable, "-m", "mailsync", command],
                    env=self.environment | self._settings | settings,
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until the log contains the text so many times."""
        run_directory.wait_until(lambda: self.log.read_text().count(text) >= times, text)

    def stop(self) -> None:
        """End everything, and check that the log contains no secret."""
        self.shell.close()
        for holder in self._holders:
            holder.join(PATIENCE)
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(run_directory.PATIENCE) for process in self._processes]
        for process in self._processes:
            run_directory.forget(process.pid)
        assert not any(codes), self.log.read_text()
        assert not planted.found_in(self.log.read_text())

    def _speak_to(self, which: int) -> None:
        self.shell.run(f"API=http://127.0.0.1:{self._ports[which]}")

    # -- events ----------------------------------------------------------------------------------------

    @property
    def happenings(self) -> dict[str, Callable[[], None]]:
        """The events for ``.. meanwhile:``."""
        return {
            "only public hosts are allowed": lambda: self._speak_to(1),
            "private hosts are allowed": lambda: self._speak_to(0),
            "there are two tokens": lambda: self._speak_to(1),
            "a message arrives": lambda: self._deliver(next(self._later)),
            "a message is deleted": lambda: self._dovecot.expunge(self._user, "INBOX", "1"),
            "the password is changed": self._change_password,
            "the account is being synced": self._hold,
        }

    def _deliver(self, letter: Letter) -> None:
        self._dovecot.append(self._user, letter.folder, letter.raw, letter.flags, letter.received)

    def _change_password(self) -> None:
        self._user = self._dovecot.set_password(self._user, NEW_PASSWORD)

    def _hold(self) -> None:
        """Hold the account's lock, like a process that syncs it, until a client was answered 503."""
        held = threading.Event()
        refused = self.log.read_text().count('"status": 503')

        def hold() -> None:
            settings = settings_for(self._database_url)
            with db.connect(settings, "worker") as conn, account_lock(conn, 1, settings, wait=60):
                held.set()
                self.wait_for('"status": 503', refused + 1)

        self._holders.append(threading.Thread(target=hold, daemon=True))
        self._holders[-1].start()
        assert held.wait(PATIENCE)


@pytest.fixture
def world(tmp_path: Path, database_url: str, tls_dovecot: Dovecot, authority: Authority) -> Iterator[World]:
    directory = tmp_path / "work"
    directory.mkdir()
    world = World(directory, database_url, tls_dovecot, authority)
    try:
        world.start()
        yield world
    finally:
        world.stop()


@pytest.mark.long
@pytest.mark.needs("curl", "jq")
def test_every_command_answers_as_the_pages_show(world: World) -> None:
    mismatches = {}

    def run_readme() -> None:
        mismatches[README] = console.run(README, world.shell, world.names, {}, section="The API")

    happenings = world.happenings | {"the README is tried": run_readme}
    for document in DOCUMENTS:
        mismatches[document] = console.run(document, world.shell, world.names, happenings)
    if os.environ.get(REFRESH):
        for document, different in mismatches.items():
            console.refresh(document, different)
    described = [
        mismatch.describe(document) for document, different in mismatches.items() for mismatch in different
    ]
    assert not described, f"{len(described)} commands answer otherwise:\n\n" + "\n\n".join(described)
    assert README in mismatches


# -- completeness -----------------------------------------------------------------------------------


def test_every_operation_of_the_api_is_shown() -> None:
    blocks = [block for document in DOCUMENTS for block in recipes.blocks(document)]
    shown = {asked for block in blocks for asked in _requests(block.text)}
    settings = settings_for("postgresql://nobody@127.0.0.1:1/none_test", api_token=API_TOKEN)
    client = create_app(settings).test_client()
    described = client.get("/openapi.json", headers={"Authorization": f"Bearer {API_TOKEN}"}).get_json()
    operations = {
        (method.upper(), path) for path, methods in described["paths"].items() for method in methods
    }
    assert len(operations) >= 24
    missing = {
        (method, path)
        for method, path in operations
        if not any(
            method == used and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), where) for used, where in shown
        )
    }
    assert not missing


def _requests(text: str) -> Iterator[tuple[str, str]]:
    """The method and the path of each ``curl`` that asks the API."""
    for call in re.split(r"\bcurl ", text)[1:]:
        where = re.search(r"\$API(/[\w./-]+)", re.sub(r"\$1|\$\([^)]*\)", "1", call))
        method = re.search(r"-\w*X (\w+)", call)
        if where:
            yield method[1] if method else "POST" if "--json" in call else "GET", where[1]


def test_every_code_of_an_error_is_in_the_table() -> None:
    text = (ROOT / REFERENCE).read_text()
    table = {(int(status), code) for status, code in re.findall(r"^(\d{3})     ``(\w+)``  ", text, re.M)}
    ours = {(_status(kind), kind.code) for kind in _kinds(errors.MailsyncError)}
    # to a client a slow statement is a query that asked for too much
    ours = ours - {(504, "database_slow")} | {(504, "query_timeout")}
    of_http = {*problems._CODES.items(), (503, "not_ready")}
    of_gunicorn = {
        (status, code)
        for status, code, _ in (*gunicorn_worker._STATUS.values(), gunicorn_worker._BAD, gunicorn_worker._BUG)
    }
    known = {each for each in ours if each[0] != 500} | of_http | of_gunicorn
    assert table == known


def test_the_limits_are_those_of_the_code() -> None:
    section = (ROOT / REFERENCE).read_text().partition("\nLimits\n")[2]
    # cells may wrap anywhere
    said = " ".join(section.split())
    default = settings_for("postgresql://nobody@127.0.0.1:1/none_test")
    for limit in (
        f"``SYNC_MAX_ACCOUNTS`` ({default.sync_max_accounts}) ",
        f" {MAX_BODY >> 20} MiB, {gunicorn_limit('line') >> 10} KiB, {gunicorn_limit('fields')} of ",
        f" {gunicorn_limit('field_size') >> 10} KiB each and {connections.MAX_HEAD >> 10} KiB together ",
        f" {MAX_LIMIT}; by default 50 ",
        f" {resources.STATEMENT_TIMEOUT:g} s ",
        f"``BODY_LOCK_WAIT`` ({default.body_lock_wait:g} s) ",
        f"``IMAP_MAX_COMMANDS_PER_MINUTE`` ({default.imap_max_commands_per_minute})",
        f" {resources.MAX_SEARCHES} in each process; the next waits for {resources.SEARCH_WAIT:g} s",
        f" {resources.MAX_TURN_ENVIRONMENTS} in each process",
        f" {resources.MAX_DOWNLOADS} in each process",
        f"``BODY_MAX_BYTES`` ({default.body_max_bytes >> 20} MiB)",
        f" incomplete after {connections.HEAD_TIMEOUT:g} s, or the document after ",
        f" {connections.BODY_TIMEOUT:g} s; cut off after ",
        f" for {connections.ANSWER_STALL_TIMEOUT} s, ",
        f" for {downloads.DOWNLOAD_STALL_TIMEOUT:g} s ",
        f" {MAX_METADATA >> 10} KiB, {LONGEST_NAME} and {LONGEST_REASON} characters ",
        f"``EVENT_RETENTION_DAYS`` ({default.event_retention_days})",
        f"``TOMBSTONE_RETENTION_DAYS`` ({default.tombstone_retention_days})",
        f"``RUN_RETENTION_DAYS`` ({default.run_retention_days})",
    ):
        assert limit in said


def gunicorn_limit(name: str) -> int:
    """A limit in gunicorn_conf, which is not imported because that reads the environment."""
    line = re.search(
        rf"^limit_request_{name} = (\d+)$", (ROOT / "mailsync/web/gunicorn_conf.py").read_text(), re.M
    )
    assert line
    # people say 8 KiB for 8190
    return int(line[1]) + 2 if name != "fields" else int(line[1])


def _kinds(kind: type[errors.MailsyncError]) -> Iterator[type[errors.MailsyncError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def _status(kind: type[errors.MailsyncError]) -> int:
    return next(problems._STATUS[each] for each in kind.__mro__ if each in problems._STATUS)
