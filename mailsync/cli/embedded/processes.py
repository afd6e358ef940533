"""Other processes of this machine: their command lines, their owners, whether they are alive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def command_line(pid: int) -> str:
    """The command line of a process, with a blank before and after; empty if it has ended."""
    if sys.platform != "linux":
        text = _ps("command=", pid)
        return f" {text} " if text else ""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return f" {os.fsdecode(b' '.join(words)).strip()} " if any(words) else ""


def _ps(column: str, pid: int) -> str:
    command = ["ps", "-ww", "-o", column, "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def owner(pid: int) -> int | None:
    """The user id of a process; None if it has ended."""
    if sys.platform != "linux":
        text = _ps("uid=", pid)
        return int(text) if text else None
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None


def lives(pid: int) -> bool:
    """Whether a process is running; a zombie is not."""
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
