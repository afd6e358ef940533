"""Other processes of this machine: what they run, whose they are, whether they live."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def command_line(pid: int) -> str:
    """The words of a process's command, each between blanks; empty if it has ended."""
    if sys.platform != "linux":
        done = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return f" {done.stdout.strip()} " if done.stdout.strip() else ""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return f" {os.fsdecode(b' '.join(words)).strip()} " if any(words) else ""


def owner(pid: int) -> int | None:
    """The user of a process; None if it has ended."""
    if sys.platform != "linux":
        done = subprocess.run(
            ["ps", "-o", "uid=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return int(done.stdout) if done.stdout.strip() else None
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None


def lives(pid: int) -> bool:
    """Whether a process has not ended; a zombie has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if sys.platform != "linux":
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
