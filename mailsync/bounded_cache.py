"""A cache of values that are parsed from a stranger's bytes, bounded by the memory that its entries take."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

_LARGEST_SHARE = 16


class BoundedCache(dict[K, V]):
    """A dict that is emptied before its entries take more than `limit` bytes.

    Read it like any dict, but add entries only by :meth:`remember`. Threads may share it.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.size = 0

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self.size = 0

    def remember(self, key: K, value: V, size: int) -> None:
        """Keep `value`, unless it is very large; `size` is the memory of key and value in bytes."""
        if size > self.limit // _LARGEST_SHARE:
            return
        if self.size + size > self.limit:
            self.clear()
        self.size += size
        self[key] = value
