"""What one connection says to Postgres, counted by libpq itself, which can write down every message it sends.

Unlike a proxy this also counts where the connection is encrypted, and unlike Postgres' statistics it tells
what the statements were. libpq does it on Linux alone.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import Trace

# F<tab>26<tab>Parse<tab> "name" "text, over several lines" …: from the frontend, its size, what it is
_MESSAGE = re.compile(r"^([FB])\t\d+\t", re.MULTILINE)


@contextmanager
def counted(conn: psycopg.Connection[Any]) -> Iterator[list[str]]:
    """Collect the text of each statement that `conn` executes meanwhile; the list is filled at the end.

    BEGIN, COMMIT and COPY are statements; preparing one is not, executing it is, each time.
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
    for sender, said in zip(pieces[::2], pieces[1::2], strict=True):
        if sender == "B":
            continue
        kind, _, rest = said.partition("\t")
        if kind == "Query":
            yield rest.strip()[1:-1]
        elif kind == "Parse":
            name, _, text = rest.strip()[1:].partition('" "')
            prepared[name] = text.rpartition('"')[0]
        elif kind == "Bind":
            bound = rest.split('"')[3]
        elif kind == "Execute":
            yield prepared[bound]
