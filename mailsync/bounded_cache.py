"""A cache for what is made from a stranger's bytes: bounded by the memory that its entries take."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

_LARGEST_SHARE = 16


class BoundedCache(dict[K, V]):
    """A dict that is emptied before its entries take more than `limit` bytes.

    Read it as any dict, and add to it by :meth:`remember` alone. Threads may share it.
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
        """Keep `value`; `size` is what key and value take, in bytes. A very large one is not kept."""
        if size > self.limit // _LARGEST_SHARE:
            return
        if self.size + size > self.limit:
            self.clear()
        self.size += size
        self[key] = value
