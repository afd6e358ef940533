"""The packages: the sdist holds the project, and the wheel made from it the program and its SQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from email import message_from_string
from itertools import filterfalse
from pathlib import Path

import pytest

from mailsync import __version__
from mailsync.config import Settings
from mailsync.config.oauth import is_client_variable
from tests import ROOT

NOT_SHIPPED = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "__pycache__", "node_modules", "venv", "*.pyc"
)


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command that must succeed, run without the checkout in its environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind: str, source: Path, target: Path) -> Path:
    """Build by the backend that pyproject.toml names, with nothing fetched."""
    code = f"import setuptools.build_meta as b; print('made', b.build_{kind}({str(target)!r}))"
    return target / run(sys.executable, "-c", code, cwd=source).split("made ")[-1].strip()


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source") / "mailsync"
    shutil.copytree(ROOT, source, ignore=NOT_SHIPPED)
    shutil.copy(ROOT / ".env.example", source)
    return build("sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("unpacked")
    run("tar", "-xzf", sdist, cwd=source)
    return build("wheel", source / f"mailsync-{__version__}", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of programs of a fresh virtual environment with the wheel in it.

    The dependencies are those of the environment that runs the tests, by a path alone, so that an editable
    mailsync there stays invisible.
    """
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=home)
    site = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=home).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    yield home / "bin"
    shutil.rmtree(home)


def names(folder: str, pattern: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(pattern)}


def test_the_sdist_holds_the_project(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        contents = {name.partition("/")[2] for name in archive.getnames()}
    wanted = (
        names("mailsync", "*.py")
        | names("sql", "*.sql")
        | names("sql", "*.json")
        | names("tests", "*.py")
        | names("tests", "*.mjs")
        | names("docs", "*.service")
        | names("docs", "*.socket")
        | names("docs", "*.rst")
        | names("docs", "*.py")
    )
    wanted |= {
        "LICENSE",
        "Makefile",
        "Procfile",
        "README.rst",
        "setup.cfg",
        "wsgi.py",
        ".env.example",
        "bin/mailsync",
    }
    assert wanted - contents == set()


def test_the_wheel_holds_every_module_and_statement_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        contents = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = names("mailsync", "*.py") | {"mailsync/py.typed", "mailsync/sql/__init__.py"}
    read = names("sql", "*.sql") | names("sql", "*.json")
    assert contents == wanted | {f"mailsync/{name}" for name in read}


def test_the_wheel_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        home = f"mailsync-{__version__}.dist-info"
        metadata = message_from_string(archive.read(f"{home}/METADATA").decode())
        entry_points = archive.read(f"{home}/entry_points.txt").decode()
    assert (metadata["Version"], metadata["Requires-Python"]) == (__version__, ">=3.11")
    assert metadata.get_all("Provides-Extra") == ["docs", "embedded", "test"]
    assert all(">=" in need or "~=" in need or "[" in need for need in metadata.get_all("Requires-Dist", []))
    assert "mailsync = mailsync.cli:main" in entry_points


def test_an_installed_wheel_works_from_any_directory_and_brings_its_sql(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "from importlib.resources import files; sql = files('mailsync.sql');"
        "print(*(f'sql/{d}/{f.name}' for d in ('migrations', 'queries') for f in sql.joinpath(d).iterdir()))"
    )
    for directory in (tmp_path, Path("/")):
        listed = {
            name for name in run(installed / "python", "-c", code, cwd=directory).split() if "__" not in name
        }
        assert listed == names("sql", "*.sql")
        assert "Usage: mailsync" in run(installed / "mailsync", "--help", cwd=directory)
        assert __version__ in run(installed / "mailsync", "--version", cwd=directory)
        assert "Usage: " in run(installed / "python", "-m", "mailsync", "--help", cwd=directory)


def test_the_example_file_names_every_variable_with_its_default() -> None:
    text = (ROOT / ".env.example").read_text()
    assigned = dict(
        line.lstrip("#").split("=", 1)
        for line in text.splitlines()
        if "=" in line and not line.startswith("# ")
    )
    settings = {name.upper() for name in Settings.model_fields}
    assert set(filterfalse(is_client_variable, assigned)) == settings
    assert "OAUTH_GOOGLE_CLIENT_ID" in assigned
    needed = {"DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN", "LOG_FORMAT"}
    assert Settings.from_env({name: assigned[name] for name in settings - needed}) == Settings()


def test_the_wrappers_run_the_program(installed: Path, tmp_path: Path) -> None:
    wrappers = tmp_path / "bin"
    shutil.copytree(ROOT / "bin", wrappers)
    environment = {"PATH": f"{installed}:{os.environ['PATH']}"}
    for wrapper in sorted(wrappers.iterdir()):
        done = subprocess.run(
            [wrapper, "--help"], env=environment, capture_output=True, text=True, check=False
        )
        expected = "Usage: mailsync" + ("" if wrapper.name == "mailsync" else f" {wrapper.name}")
        assert (done.returncode, done.stdout.startswith(expected)) == (0, True), done
