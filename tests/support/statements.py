"""The statements that a connection executes, read from libpq's trace of all messages (Linux only).

Unlike a proxy, this also works on encrypted connections; unlike Postgres' statistics, it has the texts.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import Trace

# F<tab>26<tab>Parse<tab> "name" "text, over several lines" …: sender (frontend), size, type, content
_MESSAGE = re.compile(r"^([FB])\t\d+\t", re.MULTILINE)


@contextmanager
def counted(conn: psycopg.Connection[Any]) -> Iterator[list[str]]:
    """Collect the text of each statement that `conn` executes in the block; the list is filled at the end.

    BEGIN, COMMIT and COPY count as statements, and so does each execution of a prepared statement, but not
    its preparation.
    """
    executed: list[str] = []
    before = conn.execute("select name, statement from pg_prepared_statements", prepare=False).fetchall()
    with tempfile.TemporaryFile("rb") as file:
        conn.pgconn.trace(file.fileno())
        conn.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        try:
            yield executed
        finally:
            conn.pgconn.untrace()
        file.seek(0)
        executed += _executed(file.read().decode(errors="replace"), dict(before))


def _executed(trace: str, prepared: dict[str, str]) -> Iterator[str]:
    bound = ""
    pieces = _MESSAGE.split(trace)[1:]
    for sender, message in zip(pieces[::2], pieces[1::2], strict=True):
        if sender == "B":
            continue
        kind, _, rest = message.partition("\t")
        if kind == "Query":
            yield rest.strip()[1:-1]
        elif kind == "Parse":
            name, _, text = rest.strip()[1:].partition('" "')
            prepared[name] = text.rpartition('"')[0]
        elif kind == "Bind":
            bound = rest.split('"')[3]
        elif kind == "Execute":
            yield prepared[bound]
