"""A cache of parsed values, bounded by the memory of its entries, because strangers choose their size."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

_LARGEST_SHARE = 16


class BoundedCache(dict[K, V]):
    """A dict that is emptied before its entries take more than `limit` bytes.

    Read it like any dict; add entries only with :meth:`remember`. Threads may share it.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.size = 0

    def clear(self) -> None:
        """Remove all entries."""
        super().clear()
        self.size = 0

    def remember(self, key: K, value: V, size: int) -> None:
        """Add `value` unless it takes a large part of the limit; `size` is key and value in bytes."""
        if size > self.limit // _LARGEST_SHARE:
            return
        if self.size + size > self.limit:
            self.clear()
        self.size += size
        self[key] = value
