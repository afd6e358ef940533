"""Shares the worker's time fairly among first syncs."""

from __future__ import annotations


class FairShare:
    """Orders accounts by the time that their first syncs have had so far, in seconds.

    A new account starts level with the account that has had the least, so that it does not starve the others.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def order(self, account_ids: list[int]) -> list[int]:
        """Sort the accounts that wait, least time first, and forget all others."""
        known = self._seconds.keys() & account_ids
        least = min((self._seconds[account_id] for account_id in known), default=0.0)
        self._seconds = {account_id: self._seconds.get(account_id, least) for account_id in account_ids}
        return sorted(account_ids, key=lambda account_id: (self._seconds[account_id], account_id))

    def add(self, account_id: int, seconds: float) -> None:
        """Count the time of a turn."""
        self._seconds[account_id] += seconds

    def put_last(self, account_id: int) -> None:
        """Move an account behind all others."""
        self._seconds[account_id] = max(self._seconds.values()) + 1.0
