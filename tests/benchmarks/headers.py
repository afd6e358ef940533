"""Header parsing: ours beside the standard library's, on the same blocks."""

from __future__ import annotations

import time
from collections.abc import Callable

from mailsync.mail.headers import parse_headers
from tests.support.header_blocks import varied_blocks
from tests.unit.mail.test_headers_stdlib import by_stdlib

BLOCKS = 6_000


def run() -> None:
    """Print messages per second of CPU time, and the ratio; each parser reads different blocks."""
    blocks = varied_blocks(BLOCKS, seed=2)
    ours, theirs = _rate(parse_headers, blocks[::2]), _rate(by_stdlib, blocks[1::2])
    print(f"\nHeaders: mailsync {ours:,.0f}/s, standard library {theirs:,.0f}/s, ratio {ours / theirs:.1f}")


def _rate(read: Callable[[bytes], object], blocks: list[bytes]) -> float:
    began = time.process_time()
    for block in blocks:
        read(block)
    return len(blocks) / (time.process_time() - began)
