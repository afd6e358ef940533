"""The API as its clients see it: a real gunicorn, a real database, plain HTTP."""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support import run_directory
from tests.support.programs import API_TOKEN, ROOT, Mailsync, Running

AUTHORIZED = {"Authorization": f"Bearer {API_TOKEN}"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Api:
    port: int
    process: Running

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=run_directory.PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """Without the token, unless the headers hold it."""
        return self.request("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def call(self, method: str, path: str, document: Any = None, **parameters: object) -> Answer:
        """As a client does: with the token, a JSON document and query parameters (None is left out)."""
        query = {name.rstrip("_"): value for name, value in parameters.items() if value is not None}
        if query:
            path = f"{path}?{urlencode(query)}"
        headers = dict(AUTHORIZED)
        if document is not None:
            headers["Content-Type"] = "application/json"
        return self.request(method, path, headers, None if document is None else json.dumps(document))


StartApi = Callable[..., Api]


@pytest.fixture
def start_api(mailsync: Mailsync) -> StartApi:
    """Start gunicorn as the Procfile does, with variables added or, if None, removed."""

    def start(*, wait: bool = True, config: bool = True, **changes: str | None) -> Api:
        return started_api(mailsync, wait=wait, config=config, **changes)

    return start


def started_api(mailsync: Mailsync, *, wait: bool = True, config: bool = True, **changes: str | None) -> Api:
    """Start gunicorn; what the fixture :func:`start_api` does, for a fixture of a wider scope."""
    port = int(changes.get("PORT") or run_directory.free_port())
    wanted = mailsync.environment | {"PORT": str(port), "LOG_FORMAT": "json"} | changes
    environment = {name: value for name, value in wanted.items() if value is not None}
    options = ["-c", "python:mailsync.web.gunicorn_conf"] if config else ["--bind", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "gunicorn", *options, "wsgi:app"]
    process = Running(command, environment, ROOT)
    mailsync.running.append(process)
    if wait:
        workers = int(environment.get("WEB_CONCURRENCY") or 1)
        # each worker has loaded the application and run its readiness checks
        process.wait_for(lambda: len(re.findall("Ready to serve|Not ready: ", process.output)) >= workers)
    return Api(port, process)


@pytest.fixture
def api(start_api: StartApi) -> Iterator[Api]:
    running = start_api()
    yield running
    running.process.terminate()
    assert running.process.wait() == 0


def assert_problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert list(document)[:6] == ["type", "title", "status", "detail", "code", "request_id"]
    assert (document["type"], document["status"], document["code"]) == ("about:blank", status, code)
    assert document["request_id"] == answer.headers["X-Request-Id"]
    return document
