"""Answers to NAMESPACE."""

from __future__ import annotations

import pytest

from mailsync.imap.parsing.namespace_response import MOST_NAMESPACES, parse_namespaces
from mailsync.model import Namespace, Namespaces

DOT = b"."


@pytest.mark.parametrize(
    ("response", "namespaces"),
    [
        (
            [b'* NAMESPACE (("" "/")) (("~" "/")) NIL'],
            Namespaces((Namespace(b"", b"/"),), (Namespace(b"~", b"/"),)),
        ),
        (
            [b'* namespace (("INBOX." ".")("#mh/" "/")) nil (("" "."))'],
            Namespaces((Namespace(b"INBOX.", DOT), Namespace(b"#mh/", b"/")), (), (Namespace(b"", DOT),)),
        ),
        ([b"* NAMESPACE ((", b"INBOX.", b' ".")) NIL NIL'], Namespaces((Namespace(b"INBOX.", DOT),))),
        (
            [b'* NAMESPACE (("" "/" "X-PARAM" ("a" "b"))) NIL NIL'],
            Namespaces((Namespace(b"", b"/"),)),
        ),
        ([b'* NAMESPACE (("a\\"b\\\\" "\\\\")) NIL NIL'], Namespaces((Namespace(b'a"b\\', b"\\"),))),
        ([b'* NAMESPACE (("" NIL)) NIL NIL'], Namespaces((Namespace(b"", None),))),
        ([b"* NAMESPACE ((INBOX. .)) NIL NIL"], Namespaces((Namespace(b"INBOX.", DOT),))),
        ([b"* NAMESPACE NIL NIL NIL"], Namespaces()),
        ([b"* NAMESPACE () () ()"], Namespaces()),
        ([b'* NAMESPACE (("" "/"))NIL(("s" "/")) more'],
         Namespaces((Namespace(b"", b"/"),), (), (Namespace(b"s", b"/"),))),
        ([b'* NAMESPACE (("" "/")) NIL'], None),
        ([b'* NAMESPACE (("" "/"'], None),
        ([b'* NAMESPACE "" NIL NIL'], None),
        ([b"* NAMESPACE"], None),
        ([b"* LIST () NIL a"], None),
    ],
)  # fmt: skip
def test_three_lists_of_prefixes_are_read(response: list[bytes], namespaces: Namespaces | None) -> None:
    assert parse_namespaces(response) == namespaces


def test_very_many_namespaces_are_cut() -> None:
    many = b'("a" "/")' * (10 * MOST_NAMESPACES)
    parsed = parse_namespaces([b"* NAMESPACE (" + many + b") NIL NIL"])
    assert parsed is not None and len(parsed.personal) == MOST_NAMESPACES
