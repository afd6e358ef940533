"""No core dumps: the memory of these processes holds the key, the tokens and passwords in plain text."""

from __future__ import annotations

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def forbid() -> None:
    """Never let this process, and what it forks, be written to a core file or be read by its own user.

    On Linux the kernel refuses ptrace and ``/proc/PID/mem``, ``environ`` and ``fd`` to everybody but root
    as well; what the process executes is as any other. Elsewhere the limit of core files becomes 0, which
    programs inherit.
    """
    if not _undumpable():
        # a limit does not hold where the kernel pipes core dumps to a program, so it is the second choice
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _undumpable() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
