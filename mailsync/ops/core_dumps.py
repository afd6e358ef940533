"""Forbids core dumps, because the memory of our processes holds the key, tokens and passwords."""

from __future__ import annotations

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def forbid() -> None:
    """Keep the memory of this process and its forks out of core files and hidden from other processes.

    On Linux the process becomes undumpable: only root may then use ptrace, ``/proc/PID/mem``, ``environ`` and
    ``fd`` on it (``prctl(2)``). Programs that it executes do not inherit this. Elsewhere the limit for core
    files is set to 0, which programs do inherit.
    """
    if not prctl(_PR_SET_DUMPABLE, 0):
        # the second choice: a kernel that pipes core dumps to a program ignores the limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def prctl(option: int, value: int) -> bool:
    """Set an attribute of this process (prctl(2)); returns whether it is set, which only Linux can do."""
    if sys.platform != "linux":
        return False
    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
