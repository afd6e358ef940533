"""Content-Transfer-Encoding: its names, and contents that are not what it says."""

from __future__ import annotations

import base64
import binascii

from tests.support.cases.building import (
    PDF,
    PDF_LINES,
    Case,
    Text,
    encoded,
    html,
    letter,
    multipart,
    plain,
    table,
)
from tests.support.cases.case import Expected

_CSV = b"Number;Sum\r\n" + b"".join(b"%d;%d.00\r\n" % (n, 7 * n) for n in range(12))
_LONG = "Grüße an alle, die heute auf den Berg gehen.\n" * 20


def _base64(text: str, width: int = 76) -> str:
    whole = base64.b64encode(text.encode()).decode()
    return "\n".join(whole[i : i + width] for i in range(0, len(whole), width))


def _uuencoded(data: bytes, name: str = "list.csv", *, backtick: bool = True) -> str:
    body = b"".join(
        binascii.b2a_uu(data[i : i + 45], backtick=backtick) for i in range(0, len(data), 45)
    ).decode()
    return f"begin 644 {name}\n{body}{'`' if backtick else ' '}\nend\n"


def _text(encoding: str, content: Text, charset: str = "utf-8") -> bytes:
    head = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n"
    return letter(head.encode() + encoded(content) + b"\n")


def _page(encoding: str, content: str) -> bytes:
    return letter(
        f"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n{content}\n"
    )


def _file(encoding: str, content: Text, name: str = "list.csv") -> bytes:
    head = (
        f'Content-Type: application/octet-stream; name="{name}"\n'
        f'Content-Disposition: attachment; filename="{name}"\nContent-Transfer-Encoding: {encoding}\n\n'
    )
    return letter(multipart(plain("The body"), head.encode() + encoded(content)))


_BASE64 = {
    "upper-case": "BASE64",
    "single-quotes": "'base64'",
    "semicolon": "base64;",
    "full-stop": "base64.",
    "comment": "base64 (as always)",
    "comment-first": "(as always) base64",
    "blanks": "  base64  ",
    "folded": "\n base64",
}
_QUOTED_PRINTABLE = {
    "upper-case": "QUOTED-PRINTABLE",
    "full-stop": "Quoted-Printable.",
    "slash": "quoted/printable",
    "one-word": "quotedprintable",
    "semicolon": "quoted-printable;",
    "comment": "quoted-printable (RFC 2045)",
}
_IDENTITY = {
    "7bit": "7bit",
    "seven-dash-bit": "7-bit",
    "8bit": "8BIT",
    "eight-dash-bit": "8-bit",
    "eight-blank-bit": "8 bit",
    "binary": "binary",
    "quoted-8bit": '"8bit"',
}
_UUENCODE = ("uuencode", "x-uuencode", "uue", "x-uue", "X-UUE", '"x-uuencode"')
_NAIVE: Expected = {"text": "naïve", "no_warning": True}

ENCODINGS = [
    *(
        Case(f"base64-{name}", _text(value, "bmHDr3Zl"), value, _NAIVE)
        for name, value in _BASE64.items()
    ),
    *(
        Case(f"quoted-printable-{name}", _text(value, "na=C3=AFve"), value, _NAIVE)
        for name, value in _QUOTED_PRINTABLE.items()
    ),
    *(Case(f"encoding-{name}", _text(value, "naïve"), value, _NAIVE) for name, value in _IDENTITY.items()),
    *(
        Case(
            f"file-in-{value}",
            _file(value, _uuencoded(_CSV)),
            "a name of uuencode",
            {"text": "The body", "files": [("list.csv", None)], "file": {"list.csv": _CSV}},
        )
        for value in _UUENCODE
    ),
    *table(
        {
            "uuencode-with-blanks": (
                _file("x-uuencode", _uuencoded(_CSV, backtick=False)),
                "blanks for backticks",
                {"files": [("list.csv", None)], "file": {"list.csv": _CSV}},
            ),
            "uuencode-whose-blanks-were-stripped": (
                _file("x-uuencode", "\n".join(
                    line.rstrip() for line in _uuencoded(_CSV, backtick=False).split("\n")
                )),
                "relays strip blanks at the end of lines",
                {"files": [("list.csv", None)], "file": {"list.csv": _CSV}},
            ),
            "uuencode-without-an-end": (
                _file("x-uuencode", _uuencoded(_CSV).replace("`\nend\n", "")),
                "the data are complete",
                {"files": [("list.csv", None)], "file": {"list.csv": _CSV}},
            ),
            "uuencoded-file-between-texts": (
                _text("7bit", "See the list.\n\n" + _uuencoded(_CSV) + "\nBest wishes\n", "us-ascii"),
                "a file, and the text before and behind it",
                {
                    "text_has": ["See the list.", "Best wishes"],
                    "text_hasnt": ["begin 644", "\nend"],
                    "files": [("list.csv", None)],
                    "file": {"list.csv": _CSV},
                },
            ),
            "two-uuencoded-files-in-a-text": (
                _text("7bit", "Two lists.\n\n" + _uuencoded(_CSV) + "\n" + _uuencoded(PDF, "the plan.pdf")),
                "two files",
                {
                    "text_has": "Two lists.",
                    "text_hasnt": "begin 644",
                    "files": [("list.csv", None), ("the plan.pdf", None)],
                    "file": {"list.csv": _CSV, "the plan.pdf": PDF},
                },
            ),
            "uuencoded-file-in-a-part": (
                letter(multipart(
                    "Content-Type: text/plain\n\nSee the list.\n\n" + _uuencoded(_CSV),
                    'Content-Type: image/png; name="a.png"\nContent-Transfer-Encoding: base64\n\niVBO',
                )),
                "inside of a multipart as well",
                {
                    "text_has": "See the list.",
                    "text_hasnt": "begin 644",
                    "has_files": [("list.csv", None), ("a.png", "image/png")],
                    "file": {"list.csv": _CSV},
                },
            ),
            "prose-that-begins-like-uuencode": (
                _text("7bit", "begin 644 pages of prose\nand then end\n"),
                "words, not a file",
                {"text": "begin 644 pages of prose\nand then end", "files": [], "no_warning": True},
            ),
            "begin-in-a-sentence": (
                _text("7bit", "We begin 644 days later.\nbegin 644\nend\n"),
                "words, not a file",
                {"text": "We begin 644 days later.\nbegin 644\nend", "files": []},
            ),
            "base64-with-blank-lines-between": (
                _text("base64", _base64(_LONG).replace("\n", "\n\n")),
                "blank lines do not matter",
                {"text": _LONG.rstrip()},
            ),
            "base64-with-blanks-at-line-ends": (
                _text("base64", _base64(_LONG).replace("\n", "  \n")),
                "white space does not matter",
                {"text": _LONG.rstrip()},
            ),
            "base64-in-one-line": (
                _text("base64", _base64(_LONG * 10, 100_000)),
                "one long line",
                {"text": (_LONG * 10).rstrip()},
            ),
            "base64-in-short-lines": (
                _text("base64", _base64(_LONG, 4)),
                "short lines",
                {"text": _LONG.rstrip(), "no_warning": True},
            ),
            "base64-in-lines-of-odd-length": (
                _text("base64", _base64(_LONG, 75)),
                "groups of four go over line ends",
                {"text": _LONG.rstrip(), "no_warning": True},
            ),
            "base64-without-padding": (
                _text("base64", base64.b64encode("naïve".encode() + b"!").decode().rstrip("=")),
                "padding is not needed",
                {"text": "naïve!"},
            ),
            "base64-concatenated": (
                _text("base64", _base64("one two\n") + "\n" + _base64("three")),
                "padding in the middle begins a new block",
                {"text": "one two\nthree"},
            ),
            "base64-url-safe": (
                _text("base64", base64.urlsafe_b64encode("???>>> ÿÿÿ".encode()).decode()),
                "the other alphabet",
                {"text": "???>>> ÿÿÿ"},
            ),
            "list-footer-behind-unpadded-base64": (
                _text("base64", _base64("Hello all!!!") + "\n\n-- \nHikers list\nhikers@lists.example"),
                "text without garbage",
                {"text_has": "Hello all!!!", "text_hasnt": "\ufffd"},
            ),
            "list-footer-behind-long-base64": (
                _text("base64", _base64(_LONG) + "\n" + "_" * 47 + "\nHikers list\nhttps://lists.example/"),
                "the text is whole, and no garbage behind it",
                {"text_has": _LONG.rstrip(), "text_hasnt": "\ufffd"},
            ),
            "footer-behind-base64-html": (
                _page("base64", _base64("<p>Grüße an alle</p>") + "\n\n-- \nScanned. No virus found!"),
                "the page is whole",
                {"html_has": "<p>Grüße an alle</p>"},
            ),
            "html-called-base64": (
                _page("base64", "<html><p>never encoded, naïve</p></html>"),
                "the page as it is",
                {"html_has": "<p>never encoded, naïve</p>"},
            ),
            "several-lines-called-base64": (
                _text("base64", "Dear all,\n\nthis was never encoded.\nSorry - Rosa\n"),
                "the text as it is",
                {"text": "Dear all,\n\nthis was never encoded.\nSorry - Rosa"},
            ),
            "8-bit-text-called-base64": (
                _text("base64", "Grüße: nie kodiert!"),
                "the text as it is",
                {"text": "Grüße: nie kodiert!"},
            ),
            "file-called-base64": (
                _file("base64", "Number;Sum\n1;7.00\n"),
                "the file as it is, with a warning",
                {"files": [("list.csv", None)], "warned_files": ["list.csv"]},
            ),
            "file-in-an-unknown-encoding": (
                _file("x-klingon", "Number;Sum"),
                "the file as it is, with a warning",
                {
                    "files": [("list.csv", None)],
                    "file": {"list.csv": b"Number;Sum"},
                    "warned_files": ["list.csv"],
                },
            ),
            "base64-file-in-quotes": (
                _file('"base64"', PDF_LINES, "plan.pdf"),
                "decoded",
                {"files": [("plan.pdf", None)], "file": {"plan.pdf": PDF}},
            ),
            "quoted-printable-file-with-comment": (
                _file("quoted-printable (x)", "a=3Db=\nc"),
                "decoded",
                {"files": [("list.csv", None)], "file": {"list.csv": b"a=bc"}},
            ),
            "footer-behind-a-base64-file": (
                _file("base64", PDF_LINES + "\n\n-- \nScanned by a program, no virus found!", "plan.pdf"),
                "the file without the footer",
                {"files": [("plan.pdf", None)], "file": {"plan.pdf": PDF}},
            ),
            "quoted-printable-in-lower-case": (
                _text("quoted-printable", "na=c3=afve"), "hexadecimal digits", _NAIVE
            ),
            "quoted-printable-that-ends-with-a-sign": (
                _text("quoted-printable", "na=C3=AFve="), "a soft break", {"text": "naïve"}
            ),
            "quoted-printable-soft-break-with-blanks": (
                _text("quoted-printable", "na=C3=AF=  \nve"), "blanks do not matter", {"text": "naïve"}
            ),
            "quoted-printable-that-is-none": (
                _text("quoted-printable", "1+1=zwei, x=y"), "what is no code stays", {"text": "1+1=zwei, x=y"}
            ),
            "quoted-printable-with-raw-8-bit": (
                _text("quoted-printable", "naïve =E2=82=AC"), "raw bytes stay", {"text": "naïve €"}
            ),
            "no-encoding-of-html-beside-text": (
                letter(multipart(plain("naïve"), html("<p>naïve</p>"), kind="alternative")),
                "nothing to undo",
                {"text": "naïve", "html": "<p>naïve</p>", "no_warning": True},
            ),
        }
    ),
]  # fmt: skip
