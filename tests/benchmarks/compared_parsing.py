"""Parsing, timed; :mod:`tests.benchmarks.parsing` runs this file in two checkouts.

It imports only what both have. The messages come in a file, so that both read the same bytes.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mailsync.imap.parsing.bodystructure import parse_structure
from mailsync.mail import mime
from mailsync.mail.headers import parse_headers

REPEATS = 3


def main(path: Path) -> None:
    """Print CPU seconds of each case as JSON, the best of a few repeats."""
    corpus = json.loads(path.read_text("ascii"))
    messages = {case: [text.encode("latin-1") for text in texts] for case, texts in corpus.items()}
    print(json.dumps({case: _best(case, raws) for case, raws in messages.items()}))


def _best(case: str, raws: list[bytes]) -> float:
    readers: dict[str, Callable[[bytes], object]] = {"headers": parse_headers, "structures": _read_structure}
    read = readers.get(case, _read_body)
    return min(_seconds(read, raws) for _ in range(REPEATS))


def _read_structure(raw: bytes) -> object:
    return parse_structure([raw])


def _read_body(raw: bytes) -> object:
    return mime.parse(io.BytesIO(raw))


def _seconds(read: Callable[[bytes], object], raws: list[bytes]) -> float:
    gc.collect()
    gc.freeze()
    began = time.process_time()
    for raw in raws:
        read(raw)
    return time.process_time() - began


if __name__ == "__main__":
    main(Path(sys.argv[1]))
