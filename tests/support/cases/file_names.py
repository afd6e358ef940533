"""Names of attached files in the forms that programs write."""

from __future__ import annotations

from urllib.parse import quote

from tests.support.cases.building import PDF, Case, Text, letter, multipart, pdf, plain, table, with_file
from tests.support.cases.case import Expected

_OCTETS = "Content-Type: application/octet-stream\nContent-Disposition: "
_LONG = "Protokoll der Sitzung des Ausschusses für Öffentlichkeit, Teil 7.pdf"

# the value of Content-Disposition, and the name
_DISPOSITIONS: dict[str, tuple[Text, str]] = {
    "quoted": ('attachment; filename="plan.pdf"', "plan.pdf"),
    "upper-case": ('ATTACHMENT; FILENAME="plan.pdf"', "plan.pdf"),
    "token": ("attachment; filename=plan.pdf", "plan.pdf"),
    "token-and-size": ("attachment; filename=plan.pdf; size=5", "plan.pdf"),
    "blanks-around-the-equals-sign": ('attachment; filename = "plan.pdf"', "plan.pdf"),
    "missing-end-quote": ('attachment; filename="plan.pdf', "plan.pdf"),
    "no-semicolon": ('attachment filename="plan.pdf"', "plan.pdf"),
    "comma": ('attachment, filename="plan.pdf"', "plan.pdf"),
    "quoted-disposition": ('"attachment"; filename="plan.pdf"', "plan.pdf"),
    "comment": ('attachment (a file); filename="plan.pdf" (the plan)', "plan.pdf"),
    "blanks-without-quotes": ("attachment; filename=plan for week 7.pdf", "plan for week 7.pdf"),
    "blanks-without-quotes-and-size": (
        "attachment; filename=plan for week 7.pdf; size=5", "plan for week 7.pdf"
    ),
    "semicolon-in-quotes": ('attachment; filename="plan; final.pdf"', "plan; final.pdf"),
    "equals-sign-in-quotes": ('attachment; filename="a=b; name=c.pdf"', "a=b; name=c.pdf"),
    "escaped-quote": (r'attachment; filename="the \"plan\".pdf"', 'the "plan".pdf'),
    "parentheses": ('attachment; filename="plan (1).pdf"', "plan (1).pdf"),
    "parentheses-without-quotes": ("attachment; filename=plan (1).pdf", "plan (1).pdf"),
    "repeated": ('attachment; filename="plan.pdf"; filename="other.pdf"', "plan.pdf"),
    "folded-in-quotes": ('attachment; filename="plan for\n week 7.pdf"', "plan for week 7.pdf"),
    "rfc-2231": ("attachment; filename*=utf-8''%C3%9Cber.pdf", "Über.pdf"),
    "rfc-2231-with-language": ("attachment; filename*=UTF-8'de'%C3%9Cber.pdf", "Über.pdf"),
    "rfc-2231-in-quotes": ("attachment; filename*=\"utf-8''%C3%9Cber.pdf\"", "Über.pdf"),
    "rfc-2231-and-plain": ("attachment; filename=\"Uber.pdf\"; filename*=utf-8''%C3%9Cber.pdf", "Über.pdf"),
    "rfc-2231-in-cp1252": ("attachment; filename*=windows-1252''5%20%80.pdf", "5 €.pdf"),
    "rfc-2231-in-shift-jis": ("attachment; filename*=shift_jis''%89%EF%8Bc.pdf", "会議.pdf"),
    "rfc-2231-in-gb18030": ("attachment; filename*=gb18030''%BB%E1%D2%E9.pdf", "会议.pdf"),
    "rfc-2231-without-a-charset": ("attachment; filename*=''%C3%9Cber.pdf", "Über.pdf"),
    "rfc-2231-continuations": ("attachment; filename*0*=utf-8''%C3%9C;\n filename*1=ber.pdf", "Über.pdf"),
    "rfc-2231-split-in-a-letter": (
        "attachment; filename*0*=utf-8''%C3;\n filename*1*=%9Cber.pdf", "Über.pdf"
    ),
    "rfc-2231-out-of-order": ("attachment; filename*1=ber.pdf;\n filename*0*=utf-8''%C3%9C", "Über.pdf"),
    "rfc-2231-plain-continuations": (
        'attachment; filename*0="plan for ";\n filename*1="week 7.pdf"', "plan for week 7.pdf"
    ),
    "rfc-2231-many-continuations": (
        "attachment; filename*0*=utf-8''" + "".join(
            f";\n filename*{n}*={quote(_LONG[start : start + 5])}"
            for n, start in enumerate(range(0, len(_LONG), 5), start=1)
        ),
        _LONG,
    ),
    "words-in-quotes": ('attachment; filename="=?utf-8?B?w5xiZXIucGRm?="', "Über.pdf"),
    "word-without-quotes": ("attachment; filename==?utf-8?Q?=C3=9Cber.pdf?=", "Über.pdf"),
    "words-folded": ('attachment; filename="=?utf-8?Q?=C3=9Cber_?=\n =?utf-8?Q?uns.pdf?="', "Über uns.pdf"),
    "words-folded-without-quotes": (
        "attachment; filename==?utf-8?Q?=C3=9Cber_?=\n =?utf-8?Q?uns.pdf?=", "Über uns.pdf"
    ),
    "word-split-over-continuations": (
        'attachment; filename*0="=?utf-8?B?w5xi";\n filename*1="ZXIucGRm?="', "Über.pdf"
    ),
    "word-in-iso-2022-jp": ('attachment; filename="=?ISO-2022-JP?B?GyRCMnE1RBsoQi5wZGY=?="', "会議.pdf"),
    "raw-utf-8": ('attachment; filename="Über.pdf"', "Über.pdf"),
    "raw-utf-8-without-quotes": ("attachment; filename=Über uns.pdf", "Über uns.pdf"),
    "raw-latin-1": (b'attachment; filename="\xdcber.pdf"', "Über.pdf"),
    "emoji": ("attachment; filename*=utf-8''%F0%9F%93%8E.pdf", "📎.pdf"),
}  # fmt: skip

# the whole header of the part, and the name
_HEADERS: dict[str, tuple[Text, str | None]] = {
    "only-name": ('Content-Type: application/pdf; name="plan.pdf"', "plan.pdf"),
    "only-name-without-a-semicolon": ('Content-Type: application/pdf name="plan.pdf"', "plan.pdf"),
    "name-in-words": ('Content-Type: application/pdf; name="=?utf-8?B?w5xiZXIucGRm?="', "Über.pdf"),
    "name-in-rfc-2231": ("Content-Type: application/pdf; name*=utf-8''%C3%9Cber.pdf", "Über.pdf"),
    "file-name-before-name": (
        'Content-Type: application/pdf; name="other.pdf"\n'
        'Content-Disposition: attachment; filename="plan.pdf"',
        "plan.pdf",
    ),
    "empty-file-name": (
        'Content-Type: application/pdf; name="plan.pdf"\nContent-Disposition: attachment; filename=""',
        "plan.pdf",
    ),
    "no-name-at-all": ("Content-Type: application/pdf\nContent-Disposition: attachment", None),
    "no-disposition": ("Content-Type: application/pdf", None),
    "only-a-disposition": ('Content-Disposition: attachment; filename="plan.pdf"', "plan.pdf"),
    "unreadable-type": (
        'Content-Type: ???\nContent-Disposition: attachment; filename="plan.pdf"', "plan.pdf"
    ),
    "type-without-a-subtype": (
        'Content-Type: application\nContent-Disposition: attachment; filename="plan.pdf"', "plan.pdf"
    ),
    "type-in-quotes": (
        'Content-Type: "application/pdf"\nContent-Disposition: attachment; filename="plan.pdf"', "plan.pdf"
    ),
}  # fmt: skip


def _expected(name: str | None) -> Expected:
    expected: Expected = {"text": "The body", "files": [(name, None)]}
    if name is not None:
        expected["file"] = {name: PDF}
    return expected


FILE_NAMES = [
    *(
        Case(
            f"file-name-{name}",
            with_file(_OCTETS.encode() + (value.encode() if isinstance(value, str) else value)),
            value if isinstance(value, str) else ascii(value),
            _expected(file),
        )
        for name, (value, file) in _DISPOSITIONS.items()
    ),
    *(
        Case(f"file-header-{name}", with_file(value), str(value), _expected(file))
        for name, (value, file) in _HEADERS.items()
    ),
    *table(
        {
            "file-name-inline-part": (
                with_file('Content-Type: application/pdf\nContent-Disposition: inline; filename="plan.pdf"'),
                "inline, but a file",
                {"text": "The body", "files": [("plan.pdf", "application/pdf")], "file": {"plan.pdf": PDF}},
            ),
            "file-name-with-a-path-of-windows": (
                with_file(_OCTETS + r'attachment; filename="C:\Docs\plan.pdf"'),
                "a name without its folders",
                {"text": "The body", "files": [("plan.pdf", None)]},
            ),
            "two-files-of-one-name": (
                letter(
                    multipart(
                        plain("The body"),
                        pdf(_OCTETS + 'attachment; filename="plan.pdf"'),
                        pdf(_OCTETS + 'attachment; filename="plan.pdf"'),
                    )
                ),
                "both are there",
                {"text": "The body", "files": [("plan.pdf", None), ("plan.pdf", None)]},
            ),
        }
    ),
]
