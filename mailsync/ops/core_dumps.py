"""No core dumps: the memory of these processes holds the key, the tokens and passwords in plain text."""

from __future__ import annotations

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def forbid() -> None:
    """Keep the memory of this process and its forks out of core files, and from its user's other processes.

    On Linux the kernel then refuses ptrace and ``/proc/PID/mem``, ``environ`` and ``fd`` to everybody but
    root; programs that the process executes do not inherit this. Elsewhere the limit of core files becomes 0,
    which programs do inherit.
    """
    if not _undumpable():
        # the second choice: a kernel that pipes core dumps to a program ignores the limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _undumpable() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
