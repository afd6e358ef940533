"""Other roles of Postgres, for tests of what a role that may connect can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict


class Role(NamedTuple):
    """A role's name, and its URL of the test's database."""

    name: str
    url: str


@contextmanager
def new_role(database: psycopg.Connection[Any], url: str, kind: str = "joe") -> Iterator[Role]:
    """Create a role that may only connect to the database of `url`, and drop it afterwards.

    Its name contains the database's name, because roles belong to the whole server.
    """
    name = f"{kind}_{database.info.dbname}"
    database.execute(f"create role {name} login".encode())
    try:
        parameters = conninfo_to_dict(url) | {"user": name}
        yield Role(name, _url(parameters))
    finally:
        database.execute(
            "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = %s", [name]
        )
        database.execute(f"drop owned by {name} cascade; drop role {name}".encode())


def _url(parameters: dict[str, Any]) -> str:
    place = {name: value for name, value in parameters.items() if name not in ("user", "dbname")}
    return f"postgresql://{parameters['user']}@/{parameters['dbname']}?{urlencode(place)}"
