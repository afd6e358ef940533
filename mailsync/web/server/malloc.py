"""How the C library's allocator keeps or returns freed memory."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
_LARGE = 256 * 1024


def give_back_large_blocks() -> None:
    """Return freed blocks of 256 KiB and more to the system; does nothing without glibc.

    By default glibc raises this threshold after the first large block, and then keeps several megabytes for
    each thread that has ever sent a file.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
