"""How to continue after a request that failed at one of its messages; pure (SPEC §9.5)."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import NamedTuple

from mailsync.uidset import LARGEST_UID, UidSet


class Division(NamedTuple):
    """The messages that a failed request lacks: one ``suspect`` or none, and the others.

    ``next`` are the parts to ask for next, ``last`` those for which other requests should come first. A part
    of one message is requested alone.
    """

    suspect: UidSet = UidSet()
    next: Sequence[UidSet] = ()
    last: Sequence[UidSet] = ()


def divide(
    lacking: UidSet, answered: UidSet, *, batch_size: int, is_broken: bool, is_repeated: bool = False
) -> Division:
    """Divide the UIDs that are `lacking`, given those that the same request `answered`.

    Servers answer in ascending order, so the first message without an answer after the answered ones is
    suspected. Without any answer nothing shows which message it is. After a refusal, which costs a command,
    both halves are requested. With `is_broken` each request that fails costs a connection: the first message
    and then parts of about √n are requested, and the messages of a part that failed, one by one.

    `batch_size` is the size of the batch of which this was a part. `is_repeated` says that the connection
    broke before: a server that loses answers when it breaks makes the wrong message suspect, so the rest is
    divided all the same.
    """
    suspect = UidSet()
    if answered:
        after = lacking.between(answered.highest + 1, LARGEST_UID)
        suspect = (after or lacking).oldest(1)
        lacking = lacking.minus(suspect)
        if lacking and not is_repeated:
            return Division(suspect, [lacking])
    elif len(lacking) == 1:
        return Division(lacking)
    elif not is_broken:
        half = lacking.oldest(len(lacking) // 2)
        # a part that is larger brings more messages for one command
        return Division(last=[half, lacking.minus(half)])
    if len(lacking) <= small_part(batch_size):
        return Division(suspect, last=_parts(lacking, 1))
    first = lacking.oldest(0 if suspect else 1)
    rest = lacking.minus(first)
    return Division(suspect, [*_parts(first, 1), *_parts(rest, isqrt(len(rest)))])


def small_part(batch_size: int) -> int:
    """Return how many messages of a batch are requested one by one once they broke a connection."""
    return isqrt(batch_size) + 1


def _parts(uids: UidSet, size: int) -> list[UidSet]:
    parts = []
    while uids:
        parts.append(uids.oldest(size))
        uids = uids.minus(parts[-1])
    return parts
