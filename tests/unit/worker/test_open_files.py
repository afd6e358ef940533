"""The limit of open files, which a process of its own raises."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT

_PROGRAM = """
import logging, resource, sys
from mailsync.worker.open_files import raise_limit
from tests.support.stored import settings_for
hard, accounts, cap = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
logging.basicConfig(format="%(message)s")
raise_limit(settings_for("postgresql:///x", sync_max_accounts=accounts, imap_session_cap=cap))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("hard", "accounts", "cap", "warns"),
    [
        pytest.param(512, 100, 1000, False, id="enough for the accounts"),
        pytest.param(512, 5000, 100, False, id="enough for the sessions that are kept"),
        pytest.param(512, 5000, 1000, True, id="too few"),
    ],
)
def test_the_limit_is_raised_and_said_if_it_is_too_low(
    hard: int, accounts: int, cap: int, warns: bool
) -> None:
    program = [sys.executable, "-c", _PROGRAM, str(hard), str(accounts), str(cap)]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [str(hard)]
    warning = "At most 512 files may be open, too few for 1000 sessions"
    assert (warning in ended.stderr) == warns, ended.stderr
