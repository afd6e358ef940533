"""The cases of :mod:`tests.support.cases` in one mailbox of Dovecot, synced, behind an API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from pytest_postgresql.executors import NoopExecutor

from tests.support.api import Answer, Api, started_api
from tests.support.cases import CASES, Case
from tests.support.commands import EMAIL, add
from tests.support.dovecot import Dovecot
from tests.support.postgres import PostgresServer
from tests.support.programs import Mailsync


@dataclass(frozen=True)
class Shown:
    """What the API answers for a message: before its body was fetched, its body, and afterwards."""

    before: dict[str, Any]
    body: dict[str, Any]
    after: dict[str, Any]


class CaseMailbox:
    """All cases, mirrored once. A body is fetched when a test first asks for it."""

    def __init__(self, api: Api, ids: dict[str, int]) -> None:
        self._api, self._ids = api, ids
        self._shown: dict[str, Shown] = {}

    def message(self, case: Case) -> dict[str, Any]:
        """The message as ``GET /v1/messages/<id>`` shows it."""
        return self._get(case)

    def shown(self, case: Case) -> Shown:
        """The message and its body."""
        if case.name not in self._shown:
            self._shown[case.name] = Shown(self._get(case), self._get(case, "/body"), self._get(case))
        return self._shown[case.name]

    def download(self, case: Case, part: str) -> Answer:
        """The attachment that has this part number."""
        answer = self._api.call("GET", f"/v1/messages/{self._ids[case.name]}/attachments/{part}")
        assert answer.status == 200, answer
        return answer

    def _get(self, case: Case, what: str = "") -> dict[str, Any]:
        answer = self._api.call("GET", f"/v1/messages/{self._ids[case.name]}{what}")
        assert answer.status == 200, answer
        document: dict[str, Any] = answer.json()
        return document


@pytest.fixture(scope="module")
def case_mailbox(
    postgres: PostgresServer,
    _migrated: NoopExecutor,
    dovecot_with: Callable[..., Dovecot],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[CaseMailbox]:
    """Deliver every case, run ``mailsync sync`` and start the API."""
    dovecot = dovecot_with()
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", (case.raw for case in CASES), chunk=50)
    with postgres.new_database(template=_migrated.template_dbname) as url:
        mailsync = Mailsync(tmp_path_factory.mktemp("cases"), url)
        try:
            add(mailsync, dovecot, user)
            synced = mailsync("sync", EMAIL)
            assert synced.returncode == 0, synced
            with psycopg.connect(url) as conn:
                ids = [row[0] for row in conn.execute("select id from mailsync.messages order by uid")]
            names = [case.name for case in CASES]
            yield CaseMailbox(started_api(mailsync), dict(zip(names, ids, strict=True)))
        finally:
            mailsync.close()
