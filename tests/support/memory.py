"""The memory that a process has taken."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path


def peak(pid: int) -> int:
    """The most memory that a process has had at once, in bytes; 0 if it is gone."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
        return int(found[1]) * 1024 if found else 0
    return 0
