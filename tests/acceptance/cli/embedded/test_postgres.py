"""The embedded Postgres on data that is odd, broken or of another release."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from mailsync.cli.embedded.postgres import embedded_postgres, runtime_directory
from mailsync.errors import ConfigError, DatabaseUnavailable


@pytest.mark.parametrize("name", ["plain", "with blanks, a comma and an @", "ünïcode"])
def test_it_runs_in_a_directory_of_any_name_and_keeps_its_data(name: str, tmp_path: Path) -> None:
    home = tmp_path / name
    with embedded_postgres(home) as server, psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute("create table kept as select 7 as number")
        conn.execute("create role reader login")
    # The owner may connect as any role; only other users are kept out.
    with (
        embedded_postgres(home) as server,
        psycopg.connect(server.url.replace("postgres@", "reader@")) as reader,
        psycopg.connect(server.url) as conn,
    ):
        assert conn.execute("select number from kept").fetchone() == (7,)
        assert reader.execute("select current_user").fetchone() == ("reader",)
    assert not (home / "postgres" / "postmaster.pid").exists()
    assert not list(runtime_directory(home).glob(".s.PGSQL*"))


def test_a_server_that_does_not_start_is_reported_with_its_own_words(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / "home"):
        pass
    with (tmp_path / "home" / "postgres" / "postgresql.conf").open("a") as file:
        file.write("work_mem = plenty\n")
    with (
        pytest.raises(
            DatabaseUnavailable, match=r"does not start: .*FATAL: configuration file .* contains err"
        ),
        embedded_postgres(tmp_path / "home"),
    ):
        pass


def test_data_that_is_half_made_or_of_another_release_is_refused_and_stays(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path / "home"):
        pass
    version = tmp_path / "home" / "postgres" / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(ConfigError, match="was made by Postgres 16"), embedded_postgres(tmp_path / "home"):
        pass
    version.unlink()
    with pytest.raises(ConfigError, match="is incomplete"), embedded_postgres(tmp_path / "home"):
        pass
    assert (tmp_path / "home" / "postgres" / "base").exists()
    runtime = runtime_directory(tmp_path / "home")
    assert runtime.parent == tmp_path / "home" or not runtime.exists()


def test_what_a_killed_start_left_is_made_again(tmp_path: Path) -> None:
    left = tmp_path / "home" / "postgres.new"
    (left / "base").mkdir(parents=True)
    with embedded_postgres(tmp_path / "home") as server, psycopg.connect(server.url) as conn:
        assert conn.execute("select 1").fetchone() == (1,)
    assert not left.exists()
