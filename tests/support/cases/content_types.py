"""Content-Type in the spellings that programs use."""

from __future__ import annotations

from tests.support.cases.building import Case, html, letter, multipart, plain, table

_KOI8 = "<p>Привет</p>".encode("koi8-r")

# each means HTML in KOI8-R, whose bytes no other guess reads as the right letters
_HTML = {
    "ordinary": "text/html; charset=koi8-r",
    "upper-case": "TEXT/HTML; CHARSET=KOI8-R",
    "no-semicolon": "text/html charset=koi8-r",
    "no-semicolon-but-a-tab": "text/html\tcharset=koi8-r",
    "no-semicolon-but-a-fold": "text/html\n charset=koi8-r",
    "comma": "text/html, charset=koi8-r",
    "colon": "text/html: charset=koi8-r",
    "two-semicolons": "text/html;; charset=koi8-r",
    "semicolon-at-the-end": "text/html; charset=koi8-r;",
    "blanks-around-the-semicolon": "text/html ; charset=koi8-r",
    "blanks-around-the-equals-sign": 'text/html; charset = "koi8-r"',
    "blanks-around-the-slash": "text / html; charset=koi8-r",
    "colon-for-the-equals-sign": "text/html; charset: koi8-r",
    "missing-end-quote": 'text/html; charset="koi8-r',
    "quotes-around-the-type": '"text/html"; charset=koi8-r',
    "quotes-around-everything": '"text/html; charset=koi8-r"',
    "single-quotes": "text/html; charset='koi8-r'",
    "comment-behind-the-type": "text/html (made by a program); charset=koi8-r",
    "comment-first": "(a page) text/html; charset=koi8-r",
    "nested-comments": "text/html; (a (nested) comment) charset=koi8-r (and more)",
    "rfc-2231-charset": "text/html; charset*=us-ascii'en'koi8-r",
    "rfc-2231-continuations": "text/html; charset*0=koi; charset*1=8-r",
    "repeated-charset": "text/html; charset=koi8-r; charset=big5",
    "another-parameter-first": "text/html; format=flowed; charset=koi8-r",
    "another-parameter-behind-no-semicolon": "text/html charset=koi8-r; format=flowed",
    "only-the-subtype": "html; charset=koi8-r",
    "slash-for-the-semicolon": "text/html/charset=koi8-r",
    "folded": "text/html;\n\tcharset=koi8-r",
}

# each means plain text
_PLAIN = {
    "only-the-type": "text; charset=koi8-r",
    "only-plain": "plain; charset=koi8-r",
    "no-subtype": "text/; charset=koi8-r",
    "flowed": "text/plain; charset=koi8-r; format=flowed; delsp=yes",
    "no-semicolon-plain": "text/plain charset=koi8-r",
}

# each names the boundary b0
_MULTIPART = {
    "no-semicolon": "multipart/alternative boundary=b0",
    "comma": 'multipart/alternative, boundary="b0"',
    "colon": "multipart/alternative: boundary=b0",
    "blanks-around-the-equals-sign": 'multipart/alternative; boundary = "b0"',
    "missing-end-quote": 'multipart/alternative; boundary="b0',
    "escaped-quotes": r"multipart/alternative; boundary=\"b0\"",
    "quotes-twice": 'multipart/alternative; boundary=""b0""',
    "typographic-quotes": "multipart/alternative; boundary=\u201cb0\u201d",
    "quoted-type": '"multipart/alternative"; boundary=b0',
    "everything-quoted": '"multipart/alternative; boundary=b0"',
    "upper-case": 'MULTIPART/ALTERNATIVE; BOUNDARY="b0"',
    "comments": "multipart/alternative (two of them); boundary=b0 (the boundary)",
    "only-the-type": "multipart; boundary=b0",
    "no-subtype": "multipart/; boundary=b0",
    "unknown-subtype": "multipart/x-something; boundary=b0",
    "rfc-2231": "multipart/alternative; boundary*=us-ascii''b0",
    "rfc-2231-continuations": "multipart/alternative; boundary*0=b; boundary*1=0",
    "rfc-2231-out-of-order": "multipart/alternative; boundary*1=0; boundary*0=b",
    "blanks-at-the-end": 'multipart/alternative; boundary="b0  "',
    "another-parameter-first": 'multipart/alternative; type="text/html"; boundary=b0',
    "behind-a-quoted-semicolon": 'multipart/alternative; start="a;boundary=x"; boundary=b0',
    "several-lines": 'multipart/alternative;\n\tdifferences="Content-Type";\n\tboundary=b0',
}

# boundaries that are odd, but allowed or common: the parameter, and the boundary
_BOUNDARIES = {
    "of-200-characters": ('"' + "=_" * 100 + '"', "=_" * 100),
    "with-a-blank-inside": ('"part of 3"', "part of 3"),
    "unquoted-with-signs": ("----=_Part_1.2=:?", "----=_Part_1.2=:?"),
    "that-ends-with-dashes": ('"b0--"', "b0--"),
    "in-apostrophes-that-belong-to-it": ("'b0'", "'b0'"),
    "with-parentheses": ('"b(0)"', "b(0)"),
    "with-an-escaped-sign": (r'"b\+0"', "b+0"),
}


def _cases() -> list[Case]:
    cases = [
        Case(
            f"html-type-{name}",
            letter(f"Content-Type: {value}\n\n".encode() + _KOI8),
            value,
            {"html_has": "<p>Привет</p>", "text_hasnt": "<p>", "files": []},
        )
        for name, value in _HTML.items()
    ]
    cases += [
        Case(
            f"plain-type-{name}",
            letter(f"Content-Type: {value}\n\n".encode() + _KOI8),
            value,
            {"text": "<p>Привет</p>", "html": None, "files": []},
        )
        for name, value in _PLAIN.items()
    ]
    cases += [
        Case(
            f"multipart-type-{name}",
            letter(multipart(plain(), html(), header=f"Content-Type: {value}")),
            value,
            {"text": "the plain words", "html": "<p>the html words</p>", "files": []},
        )
        for name, value in _MULTIPART.items()
    ]
    cases += [
        Case(
            f"boundary-{name}",
            letter(
                multipart(
                    plain(),
                    html(),
                    boundary=boundary,
                    header=f"Content-Type: multipart/alternative; boundary={value}",
                )
            ),
            value,
            {"text": "the plain words", "html": "<p>the html words</p>", "files": []},
        )
        for name, (value, boundary) in _BOUNDARIES.items()
    ]
    return cases


_INNER = multipart(plain(), html(), kind="alternative", boundary="b0 0")

CONTENT_TYPES = _cases() + table(
    {
        "boundary-that-begins-like-the-outer-one": (
            letter(multipart(_INNER, plain("a footer"), boundary="b0")),
            "only a whole line is a boundary",
            {"text": "the plain words\na footer", "html": "<p>the html words</p>", "files": []},
        ),
        "inner-boundary-in-rfc-2231": (
            letter(
                multipart(
                    multipart(
                        plain(),
                        html(),
                        boundary="i=1",
                        header="Content-Type: multipart/alternative;\n boundary*0*=utf-8''i%3D; boundary*1=1",
                    ),
                    plain("a footer"),
                )
            ),
            "RFC 2231 inside of a part, too",
            {"text": "the plain words\na footer", "html": "<p>the html words</p>", "files": []},
        ),
        "no-content-type": (
            letter("\nna\u00efve\n"),
            "plain text (RFC 2045 §5.2)",
            {"text": "na\u00efve", "html": None, "no_warning": True},
        ),
        "empty-content-type": (
            letter("Content-Type:\n\nna\u00efve\n"),
            "plain text (RFC 2045 §5.2)",
            {"text": "na\u00efve", "html": None},
        ),
        "unreadable-content-type": (
            letter("Content-Type: ???\n\nna\u00efve\n"),
            "plain text, as without the field",
            {"text": "na\u00efve", "html": None},
        ),
        "charset-without-a-value": (
            letter("Content-Type: text/html; charset=\n\n<p>na\u00efve</p>\n"),
            "HTML, and the charset is guessed",
            {"html": "<p>na\u00efve</p>"},
        ),
    }
)
