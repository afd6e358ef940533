"""Programs that some tests need and some machines lack: ``@pytest.mark.needs("systemd-analyze")``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

import pytest

from tests.support import debian_postgres, dovecot

PACKAGES = {
    "dovecot": "dovecot-imapd",
    "curl": "curl",
    "jq": "jq",
    "make": "make",
    "psql": "postgresql-client",
    "initdb": "postgresql",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
}
"""Program → the Debian package that installs it."""

ROOT = "root"
"""The need of a test that acts as other users of this machine."""


def missing_for(item: pytest.Item) -> list[str]:
    """The programs that the test needs and that this machine lacks."""
    wanted = [name for marker in item.iter_markers("needs") for name in marker.args]
    unknown = sorted(set(wanted) - set(PACKAGES) - {ROOT})
    if unknown:
        raise pytest.UsageError(f"{item.nodeid} needs {unknown}, which tests/support/tools.py does not know")
    if not {"dovecot_with", "new_dovecot"}.isdisjoint(getattr(item, "fixturenames", ())):
        wanted.append("dovecot")
    if "debian_postgres" in getattr(item, "fixturenames", ()):
        wanted.append("initdb")
    return [name for name in wanted if not _find(name)]


def install(programs: Iterable[str]) -> str:
    """The command that installs the programs, or that runs the tests as root if only that is missing."""
    packages = sorted({PACKAGES[program] for program in programs if program != ROOT})
    if not packages:
        return ".venv/bin/python -m pytest"
    return f"apt-get install --no-install-recommends {' '.join(packages)}"


def _find(program: str) -> str | None:
    if program == ROOT:
        return ROOT if os.geteuid() == 0 else None
    if program == "dovecot":
        return dovecot.find()
    if program == "initdb":
        programs = debian_postgres.programs()
        return str(programs / program) if programs else None
    # the PATH of an ordinary user does not include these
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
