"""Limits of one answer: more than any mailbox needs, and far less than the memory of a process."""

from __future__ import annotations

from mailsync.model import Message

MOST_FOLDERS = 20_000
LONGEST_LIST = 8 * 1024 * 1024
"""Bytes of the names in one list of folders."""
MOST_RANGES = 500_000
"""Ranges of UIDs in one answer; contiguous UIDs are one range, whatever their number."""
LARGEST_BATCH = 32 * 1024 * 1024
"""Bytes of memory that the messages of one batch may take; a batch with more is asked for by halves."""
LARGEST_SCAN = 4 * 1024 * 1024
"""Bytes of flags that are kept before they are handed on."""
BYTES_OF_A_MESSAGE = 64 * 1024
"""Bytes of an answer for each message, on average over a batch; a single one may take much more."""
BYTES_OF_A_STATE = 512
"""As BYTES_OF_A_MESSAGE, in an answer with flags alone."""

_LONGEST_LOOKED_AT = 1536 * 1024
"""Bytes of headers and structure that are parsed; the rest of a longer answer is cut."""


def largest_batch(messages: int) -> int:
    """The bytes of memory for a batch of so many messages; FETCH_BATCH may ask for very many."""
    return max(LARGEST_BATCH, 32 * 1024 * messages)


def weight(message: Message, answered: int) -> int:
    """Estimate the bytes of memory that a message takes, from `answered`, the bytes of its answer."""
    h = message.headers
    pieces = len(h.to_emails) + len(h.cc_emails) + len(h.bcc_emails) + len(h.reply_to_emails)
    pieces += len(h.reference_ids) + len(message.flags or ()) + len(message.labels or ())
    # a text takes 50 bytes beside its characters; an attachment has a row's JSON and several texts
    texts = 2 * min(answered, _LONGEST_LOOKED_AT) + len(message.mime_structure or "")
    return 2048 + texts + 150 * pieces + 600 * len(message.attachments)
