"""The functions that parse answers to FETCH."""

from __future__ import annotations

from mailsync.imap.commands import requested_bytes
from mailsync.imap.parsing.bodystructure import parse_structure
from mailsync.imap.parsing.bodystructure_template import parse_skeleton
from mailsync.imap.parsing.fetch_response import is_fetch, parse_fetch
from mailsync.imap.parsing.flags import parse_flags, parse_labels
from mailsync.imap.parsing.message import Detail, build_message, build_state, quick_state
from tests.unit.growing.entries import Reads, as_line, as_response, as_text, reads


def _message(raw: bytes) -> None:
    fields = parse_fetch([raw])
    build_message(1, fields, Detail.FULL)
    build_state(1, fields)


_FETCH = b"* 1 FETCH ("

FETCH_ANSWERS: list[Reads] = [
    reads(
        "flags",
        parse_flags,
        (b"", b"a "),
        (b"", b'"'),
        (b"", b'\\"'),
        (b"", b'"\\'),
        (b'"', b'\\"'),
        (b"", b"\\"),
        (b"", b'a"'),
        (b"", b"(a"),
        (b"", b'"a" '),
        (b'"', b"\\a"),
    ),
    reads(
        "labels",
        parse_labels,
        (b"", b"a "),
        (b"", b'\\"'),
        (b'"', b"&A"),
        (b"", b'"&AA-" '),
        (b'"', b"\\a", b'"'),
    ),
    reads("is FETCH", as_line(is_fetch), (b"* ", b"1"), (b"* 1 FETCH", b" ")),
    reads(
        "FETCH",
        as_response(parse_fetch),
        (_FETCH, b"a 1 "),
        (_FETCH, b"a ("),
        (_FETCH, b"a (( "),
        (_FETCH, b"FLAGS (("),
        (_FETCH, b"FLAGS ("),
        (_FETCH, b" FLAGS (("),
        (_FETCH, b" BODYSTRUCTURE ("),
        (_FETCH, b'INTERNALDATE "a\\"'),
        (_FETCH, b' INTERNALDATE "\\"'),
        (_FETCH, b"a ((b)) "),
        (_FETCH, b"a ((b)) ", b"a (( )) BODY["),
        (_FETCH, b'a ((")")) ', b"a (()) BODY["),
        (_FETCH, b"BODY["),
        (_FETCH, b"BODY[] "),
        (_FETCH, b"a"),
        (_FETCH, b" "),
        (_FETCH, b"a."),
        (_FETCH, b"[ "),
        (_FETCH, b' X "'),
        (_FETCH, b" UID 1"),
        (_FETCH, b" UID 1{"),
        (_FETCH, b") UID 1"),
        (_FETCH, b") UID 1 ? "),
        (_FETCH, b"a {\0b\0 "),
        (_FETCH, b"a \0b\0 "),
        (_FETCH, b"FLAGS (\0a\0 "),
        (_FETCH, b" FLAGS ((\0a\0"),
        (_FETCH, b"(\0"),
        (_FETCH + b"BODYSTRUCTURE ", b"("),
        (_FETCH + b"BODYSTRUCTURE ", b'"\\'),
        (_FETCH, b'a "b\\"c" '),
        (_FETCH + b"BODYSTRUCTURE ", b"(", b" RFC822.SIZE 3)"),
        (_FETCH, b'X-GM-LABELS ("\\\\" '),
        (_FETCH, b"THREADID N"),
        (_FETCH, b"MODSEQ ( "),
        (_FETCH, b"a <1> "),
        (_FETCH, b"BODY[]<1"),
    ),
    reads(
        "message",
        _message,
        (_FETCH + b'UID 1 INTERNALDATE "', b" ", b'")'),
        (_FETCH + b'UID 1 INTERNALDATE "', b"1", b'")'),
        (_FETCH + b"FLAGS (", b"a ", b")"),
        (_FETCH + b"MODSEQ (", b" ", b")"),
        (_FETCH + b"MODSEQ (", b"1 ", b")"),
        (_FETCH + b"X-GM-LABELS (", b'"a" ', b")"),
        (_FETCH + b"X-GM-LABELS (", b'"\\"" ', b")"),
        (_FETCH + b"BODYSTRUCTURE (", b'"a" ', b")"),
        (_FETCH + b"RFC822.SIZE ", b"1", b")"),
        (_FETCH + b'EMAILID "', b"a", b'")'),
        (_FETCH + b'BODY[HEADER] "', b"a", b'")'),
    ),
    reads(
        "flags of a message",
        quick_state,
        (b"* 1 FETCH (UID 1 FLAGS (", b"a ", b"))"),
        (b"* ", b"1"),
        (b"* 1 FETCH (UID 1 FLAGS (", b"a "),
        (b"* 1 FETCH (UID 1 FLAGS () MODSEQ (", b"1"),
    ),
    reads(
        "part",
        lambda raw: requested_bytes(raw, b"", 0, 1),
        (b"", b"BODY["),
        (b"BODY[", b"a"),
        (b"", b"BODY[]"),
        (b"", b"BODY[]<1"),
    ),
    reads(
        "structure",
        as_response(lambda parts: parse_structure(list(parts))),
        (b"", b"("),
        (b"", b")"),
        (b"", b"()"),
        (b"", b'"'),
        (b"", b'"a" '),
        (b"", b'"\\'),
        (b"", b"0"),
        (b"(", b'("text" "plain" NIL NIL NIL "7bit" 1 1)', b' "mixed")'),
        (b"(", b"NIL ", b")"),
        (b'("a" "b" (', b'"filename*0" "x" ', b") NIL NIL NIL 1)"),
        (b"", b'("message" "rfc822" NIL '),
        (b'("a" "b" ("name" "', b"=?u?q?a?= ", b'") NIL NIL NIL 1)'),
        (b"", b"a"),
        (b"", b"\\"),
        (b"", b"\0"),
        (b'("a" "b" ("name" "', b"'", b'") NIL NIL NIL 1)'),
        (b'("a" "b" ("name" "', b"%", b'") NIL NIL NIL 1)'),
    ),
    reads(
        "structure with escapes",
        as_line(parse_structure),
        (b'("a" "b" ("name" "', b"\\a", b'") NIL NIL NIL 1)'),
    ),
    reads("skeleton", as_text(parse_skeleton), (b"", b"("), (b"(", b'"" ', b")"), (b"", b"()"), (b"", b"0 ")),
]
