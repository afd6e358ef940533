"""How the process deals with memory that it needs for a moment."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
_LARGE = 256 * 1024


def give_back_large_blocks() -> None:
    """Let blocks of 256 KiB and more go back to the system when they are freed.

    glibc would raise that limit after the first one, and from then on keep some megabytes for each thread
    that has ever handed a file on. Where there is another C library, nothing is done.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
