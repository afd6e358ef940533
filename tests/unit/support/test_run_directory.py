"""A process is recognised as soon as it starts, even while /proc does not show its command line yet."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.support import run_directory


class NotReadableYet(psutil.Process):
    """A process as /proc shows it right after its start on a busy machine."""

    looks = 0

    def cmdline(self) -> list[str]:
        type(self).looks += 1
        return [] if self.looks < 3 else super().cmdline()

    def environ(self) -> dict[str, str]:
        return {} if self.looks < 3 else super().environ()


class Hidden(psutil.Process):
    """A process as /proc shows mailsync's processes to an ordinary user."""

    def environ(self) -> dict[str, str]:
        raise psutil.AccessDenied(self.pid)


def test_a_process_with_hidden_environment_belongs_to_the_run_that_noted_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noted = tmp_path / "pids"
    noted.mkdir()
    monkeypatch.setenv(run_directory.VARIABLE, str(tmp_path))
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            monkeypatch.setattr(psutil, "Process", Hidden)
            assert not run_directory.belongs_to(tmp_path, process.pid)
            run_directory.note(process.pid)
            assert run_directory.belongs_to(tmp_path, process.pid)
            # a later process with the same id
            (noted / str(process.pid)).write_text(f"{process.pid} 12345.0")
            assert not run_directory.belongs_to(tmp_path, process.pid)
        finally:
            process.kill()


def test_a_process_whose_command_line_is_not_readable_yet_belongs_to_its_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = {**os.environ, run_directory.VARIABLE: str(tmp_path)}
    with subprocess.Popen(["sleep", "600"], env=environment) as process:
        try:
            monkeypatch.setattr(psutil, "Process", NotReadableYet)
            assert run_directory.belongs_to(tmp_path, process.pid)
            assert not run_directory.belongs_to(tmp_path / "another", process.pid)
        finally:
            process.kill()
    assert not run_directory.belongs_to(tmp_path, process.pid)
