"""The consumers in docs/howto/follow_changes.rst, killed at any moment, miss and repeat no event."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest

from tests.documents import recipes
from tests.support import run_directory
from tests.support.api import StartApi, start_api
from tests.support.patience import PATIENCE, pause
from tests.support.programs import API_TOKEN

__all__ = ["start_api"]

DOCUMENT = "docs/howto/follow_changes.rst"

PEOPLE, EACH = 3, 20


def write_events(database_url: str) -> list[threading.Thread]:
    """Write events in overlapping transactions, so that lower numbers may commit later."""
    everybody = threading.Barrier(PEOPLE)

    def write(person: int) -> None:
        with psycopg.connect(database_url) as conn:
            for number in range(EACH):
                conn.execute(
                    "insert into mailsync.sync_events (account_id, type, message_pk) values (%s, %s, %s)",
                    [person, "message.created", number],
                )
                if number % 4 == 0:
                    everybody.wait(PATIENCE)
                if number % 4 == 3:
                    conn.commit()

    writers = [threading.Thread(target=write, args=[person], daemon=True) for person in range(PEOPLE)]
    for writer in writers:
        writer.start()
    return writers


def in_table(directory: Path) -> list[tuple[int, int]]:
    """The events that follow.py has stored."""
    with closing(sqlite3.connect(directory / "changes.db")) as changes, suppress(sqlite3.OperationalError):
        return changes.execute("select account, message from changes").fetchall()
    return []


def in_files(directory: Path) -> list[tuple[int, int]]:
    """The events that follow.sh has stored."""
    pages = [json.loads(file.read_text()) for file in (directory / "feed").glob("*.json")]
    return [(event["account_id"], event["message_pk"]) for page in pages for event in page["data"]]


@pytest.mark.parametrize(
    ("name", "program", "done"),
    [
        ("follow.py", sys.executable, in_table),
        pytest.param("follow.sh", "sh", in_files, marks=pytest.mark.needs("curl", "jq")),
    ],
)
def test_a_consumer_of_the_document_misses_nothing_and_repeats_nothing_though_it_is_killed(
    start_api: StartApi,
    database_url: str,
    tmp_path: Path,
    name: str,
    program: str,
    done: Callable[[Path], list[tuple[int, int]]],
) -> None:
    api = start_api()
    (block,) = [block for block in recipes.blocks(DOCUMENT, "python", "sh") if f"# {name}:" in block.text]
    # small pages, so that a kill can hit between them
    (tmp_path / name).write_text(block.text.replace("500", "5"))
    (tmp_path / "auth").write_text(f"Authorization: Bearer {API_TOKEN}\n")
    environment = {
        "PATH": os.environ["PATH"],
        "API": f"http://127.0.0.1:{api.port}",
        "TOKEN": API_TOKEN,
        run_directory.VARIABLE: str(run_directory.current()),
    }

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [program, name, *options]
        return run_directory.spawn(command, cwd=tmp_path, env=environment, start_new_session=True)

    def read_to_the_end() -> bool:
        consumer = start("--once")
        assert consumer.wait(PATIENCE) == 0
        run_directory.forget(consumer.pid)
        return len(done(tmp_path)) >= PEOPLE * EACH

    writers = write_events(database_url)
    for _ in range(5):
        before = len(done(tmp_path))
        consumer = start()
        while len(done(tmp_path)) == before < PEOPLE * EACH:
            assert consumer.poll() is None
            pause(0.02, "the work that it has done is looked at so often")
        os.killpg(consumer.pid, signal.SIGKILL)
        consumer.wait()
        run_directory.forget(consumer.pid)
    for writer in writers:
        writer.join(PATIENCE)
    run_directory.wait_until(read_to_the_end, "the end of the feed")
    assert sorted(done(tmp_path)) == [(person, number) for person in range(PEOPLE) for number in range(EACH)]
