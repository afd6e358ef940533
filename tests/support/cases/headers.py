"""Headers: where a header ends, and lines in it that are no fields."""

from __future__ import annotations

from tests.support.cases.building import PDF, html, letter, lines, multipart, pdf, plain, table

_BOTH = multipart(plain(), html(), kind="alternative")
_READ = {"text": "the plain words", "html_has": "the html words", "files": []}
_SENT = "2024-03-05T08:15:00Z"
_FILE = 'Content-Type: application/pdf\nContent-Disposition: attachment; filename="plan.pdf"'

HEADERS = table(
    {
        "blank-continuation-of-a-tab": (
            letter(_BOTH, Subject="Survey waits\n \t "),
            "obs-FWS: the header continues",
            {**_READ, "subject": "Survey waits", "sent_at": _SENT},
        ),
        "two-blank-continuations": (
            letter(_BOTH, Subject="Survey waits\n \n\t"),
            "obs-FWS, twice",
            {**_READ, "subject": "Survey waits", "sent_at": _SENT},
        ),
        "blank-continuation-inside-a-field": (
            letter(To="tim@example.org,\n \n ann@example.org"),
            "the field continues behind it",
            {"to_emails": ["tim@example.org", "ann@example.org"], "sent_at": _SENT, "text": "The body"},
        ),
        "blank-continuation-inside-a-subject": (
            letter(Subject="Survey\n \n waits"),
            "only line breaks go (RFC 5322 §2.2.3)",
            {"subject": "Survey  waits", "sent_at": _SENT, "text": "The body"},
        ),
        "unindented-wrap": (
            letter(_BOTH, Subject="Survey waits for all\nwho have not answered"),
            "the line costs itself",
            {**_READ, "sent_at": _SENT, "from_email": "rosa@sender.example"},
        ),
        "line-of-8-bit-garbage": (
            letter(_BOTH, Subject=b"Survey waits\n\xff\xfe\x80 broken"),
            "the line costs itself",
            {**_READ, "sent_at": _SENT},
        ),
        "field-name-with-a-blank": (
            letter(_BOTH, Subject="Survey waits\nSome words: here"),
            "no field, and the header continues",
            {**_READ, "subject": "Survey waits", "sent_at": _SENT},
        ),
        "empty-field-name": (
            letter(_BOTH, Subject="Survey waits\n: nameless"),
            "no field, and the header continues",
            {**_READ, "subject": "Survey waits", "sent_at": _SENT},
        ),
        "escaped-mbox-line": (
            letter(_BOTH, Subject="Survey waits\n>From relay@sender.example Tue Mar  5 09:14:58 2024"),
            "no field, and the header continues",
            {**_READ, "subject": "Survey waits", "sent_at": _SENT},
        ),
        "mbox-line-first": (
            b"From rosa@sender.example Tue Mar  5 09:14:58 2024\r\n" + letter(_BOTH, Subject="Survey waits"),
            "an envelope line of mbox",
            {**_READ, "subject": "Survey waits", "from_email": "rosa@sender.example"},
        ),
        "first-line-is-indented": (
            b" continued from nowhere\r\n" + letter(_BOTH, Subject="Survey waits"),
            "the line costs itself",
            {**_READ, "subject": "Survey waits", "from_email": "rosa@sender.example"},
        ),
        "blanks-before-the-colon": (
            letter("Content-Type : text/html; charset=utf-8\n\n<b>5 €</b>", Subject=None, Date=None)
            .replace(b"MIME-Version", b"Subject \t: Survey waits\r\nMIME-Version"),
            "obs-optional: blanks before the colon",
            {"subject": "Survey waits", "html_has": "<b>5 €</b>"},
        ),
        "no-blank-behind-the-colon": (
            letter().replace(b": ", b":"),
            "the blank is optional",
            {"subject": "Case", "from_email": "rosa@sender.example", "sent_at": _SENT, "text": "The body"},
        ),
        "only-line-feeds": (
            letter(_BOTH).replace(b"\r\n", b"\n"),
            "servers and files have bare line feeds",
            {**_READ, "sent_at": _SENT},
        ),
        "separator-of-blanks": (
            letter("   \nHello there\n"),
            "no empty line at all; nothing is lost",
            {"text_has": "Hello there", "subject": "Case", "sent_at": _SENT},
        ),
        "no-empty-line-before-the-text": (
            letter("Hello there\nand good bye\n"),
            "no empty line at all; nothing is lost",
            {"text_has": ["Hello there", "and good bye"], "subject": "Case", "sent_at": _SENT},
        ),
        "own-boundary-ends-the-header": (
            letter(_BOTH.replace(b"\n\n", b"\n", 1)),
            "no empty line before the first boundary",
            _READ,
        ),
        "part-without-an-empty-line": (
            letter(multipart(plain("one"), "Content-Type: text/plain\ntwo and more")),
            "the part's text is not lost",
            {"text_has": ["one", "two and more"], "files": []},
        ),
        "part-that-is-only-text": (
            letter(multipart("Hello there", html())),
            "a part without any header",
            {"text": "Hello there", "html_has": "the html words"},
        ),
        "line-without-a-colon-in-a-part": (
            letter(multipart("Content-Type: text/html; charset=utf-8\nwrapped by hand\n"
                             "Content-Transfer-Encoding: quoted-printable\n\n<p>na=C3=AFve</p>")),
            "the line costs itself",
            {"html_has": "<p>naïve</p>", "files": []},
        ),
        "first-line-of-a-part-is-indented": (
            letter(multipart(plain("The body"), pdf(" stray\n" + _FILE))),
            "the line costs itself",
            {"text": "The body", "files": [("plan.pdf", "application/pdf")], "file": {"plan.pdf": PDF}},
        ),
        "blank-line-in-the-header-of-a-file": (
            letter(multipart(plain("The body"), pdf(_FILE.replace("\n", "\n \t\n")))),
            "obs-FWS: the part's header continues",
            {"text": "The body", "files": [("plan.pdf", "application/pdf")], "file": {"plan.pdf": PDF}},
        ),
        "mbox-line-in-the-header-of-a-file": (
            letter(multipart(plain("The body"), pdf("From x Sun Apr  5 10:00:00 2024\n" + _FILE))),
            "the line costs itself",
            {"text": "The body", "files": [("plan.pdf", "application/pdf")], "file": {"plan.pdf": PDF}},
        ),
        "giant-unknown-field": (
            letter("X-Filler: " + "x" * 300_000 + "\n" + _BOTH.decode()),
            "a line of 300 KB costs nothing else",
            {**_READ, "subject": "Case", "sent_at": _SENT},
        ),
        "giant-to": (
            letter(_BOTH, To=",\n ".join(f"person.number.{n}@long-name.example.org" for n in range(32_000))),
            "1.3 MB of one field, and Subject and Date behind it",
            {**_READ, "subject": "Case", "sent_at": _SENT, "from_email": "rosa@sender.example"},
        ),
        "giant-references": (
            letter(Subject=None)
            .replace(b"MIME-Version", lines("References: " + "\n ".join(
                f"<{n}.a-rather-long-id@sender.example>" for n in range(30_000)
            ) + "\nSubject: Behind it\nMIME-Version")),
            "1.3 MB of one field, and Subject behind it",
            {"subject": "Behind it", "sent_at": _SENT, "text": "The body"},
        ),
        "thousands-of-fields": (
            letter("".join(f"X-Trace-{n}: {n}\n" for n in range(5_000)) + _BOTH.decode()),
            "5,000 fields before Content-Type",
            {**_READ, "sent_at": _SENT},
        ),
        "giant-field-in-a-part": (
            letter(multipart(plain("The body"), pdf("X-Filler: " + "x" * 200_000 + "\n" + _FILE))),
            "the fields behind it count",
            {"text": "The body", "files": [("plan.pdf", "application/pdf")], "file": {"plan.pdf": PDF}},
        ),
        "repeated-subject": (
            letter(Subject="First\nSubject: Second"),
            "the first one counts",
            {"subject": "First"},
        ),
        "repeated-to": (
            letter(To="tim@example.org\nTo: ann@example.org"),
            "two lists are one list",
            {"to_emails": ["tim@example.org", "ann@example.org"]},
        ),
        "repeated-to-in-an-odd-header": (
            letter(To="Roth, Ida\nTo: Tim Baum <tim@example.org>\nSubject : yes", Subject=None),
            "a name without an address does not join the next field",
            {"to_emails": ["tim@example.org"], "to_names": ["Tim Baum"]},
        ),
        "colon-line-behind-the-header": (
            letter("\nNote: this is the body\n\nand more\n"),
            "the header ends at the empty line, and nowhere else",
            {"text_has": ["Note: this is the body", "and more"]},
        ),
    }
)  # fmt: skip
