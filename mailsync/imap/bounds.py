"""Limits of one answer: more than any mailbox needs, and far less than the memory of a process."""

from __future__ import annotations

import sys

from mailsync.model import Message

BIGGEST = 2**63 - 1
"""The largest number that is accepted: a bigint of Postgres."""
MOST_FOLDERS = 20_000
LONGEST_LIST = 8 * 1024 * 1024
"""Bytes of the names in one list of folders."""
LONGEST_SET = 8000
"""Bytes of a sequence set in one command; many servers stop at 8 KB of command."""
MOST_RANGES = 500_000
"""Ranges of UIDs in one answer; contiguous UIDs count as one range."""
LARGEST_BATCH = 32 * 1024 * 1024
"""Bytes of memory that the messages of one batch may take; a larger batch is fetched again in halves."""
LARGEST_SCAN = 4 * 1024 * 1024
"""Bytes of flags that are collected before they are yielded."""
BYTES_OF_A_MESSAGE = 64 * 1024
"""Bytes of an answer for each message, on average over a batch; a single message may take much more."""
BYTES_OF_A_STATE = 512
"""The same for an answer with flags alone."""

_LONGEST_PARSED = 1536 * 1024
"""Bytes of headers and structure that are parsed; the rest of a longer answer is cut."""
_ARRIVALS = 10_000
"""Messages that may arrive in a folder after the server has said how many it holds."""


def most_messages(exists: int) -> int:
    """Return how many messages an answer may name, for a folder that held `exists`; 0 means unknown."""
    return 2 * exists + _ARRIVALS if exists else sys.maxsize


def largest_batch(messages: int) -> int:
    """Return the bytes of memory for a batch of this many messages; FETCH_BATCH may ask for very many."""
    return max(LARGEST_BATCH, 32 * 1024 * messages)


def weight(message: Message, answered: int) -> int:
    """Estimate the bytes of memory that a message takes; `answered` is the size of its answer in bytes."""
    h = message.headers
    pieces = len(h.to_emails) + len(h.cc_emails) + len(h.bcc_emails) + len(h.reply_to_emails)
    pieces += len(h.from_emails) + len(h.reference_ids) + len(message.flags or ()) + len(message.labels or ())
    # a str takes 50 bytes and its characters; an attachment takes several of them and its JSON
    texts = 2 * min(answered, _LONGEST_PARSED) + len(message.mime_structure or "")
    return 2048 + texts + 150 * pieces + 600 * len(message.attachments)
