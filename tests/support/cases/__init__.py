"""Messages from the field with the values that a person reads in them.

``reported.json`` and ``reported/*.eml`` are messages as they were reported. The modules hold more cases of
the same kinds, one module a kind, and one for what each program sends. Each stands for a kind of fault:
repair the kind, not the case.
"""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

from tests.support.cases.addresses import ADDRESSES
from tests.support.cases.body_or_file import BODY_OR_FILE
from tests.support.cases.case import Case, Expected
from tests.support.cases.charsets import CHARSETS
from tests.support.cases.content_types import CONTENT_TYPES
from tests.support.cases.dates import DATES
from tests.support.cases.encodings import ENCODINGS
from tests.support.cases.file_names import FILE_NAMES
from tests.support.cases.headers import HEADERS
from tests.support.cases.programs import PROGRAMS

_HERE = Path(__file__).parent


def _reported() -> list[Case]:
    entries = json.loads((_HERE / "reported.json").read_text("utf-8"))
    return [_case(**entry) for entry in entries]


def _case(file: str, what: str, right: str, expect: dict[str, Any]) -> Case:
    right_values: Expected = {**expect}  # type: ignore[typeddict-item]
    for key in ("files", "has_files"):
        if key in expect:
            right_values[key] = [tuple(listed) for listed in expect[key]]  # type: ignore[literal-required]
    if "file" in expect:
        right_values["file"] = {
            name: b64decode(content["base64"]) for name, content in expect["file"].items()
        }
    raw = (_HERE / "reported" / file).read_bytes()
    return Case(file.removesuffix(".eml").replace("_", "-"), raw, f"{what}: {right}", right_values)


CASES: list[Case] = [
    *_reported(),
    *HEADERS,
    *CONTENT_TYPES,
    *FILE_NAMES,
    *ENCODINGS,
    *BODY_OR_FILE,
    *CHARSETS,
    *DATES,
    *ADDRESSES,
    *PROGRAMS,
]
"""All cases, by distinct names."""
