"""What mail programs send: the structures, names and encodings of each of them."""

from __future__ import annotations

import base64

from tests.support.cases.building import (
    PDF,
    PDF_LINES,
    Text,
    encoded,
    html,
    letter,
    multipart,
    pdf,
    plain,
    table,
    with_file,
)

_INNER = letter("Content-Type: text/plain\n\nInner words\n").decode()


def _base64(text: str, charset: str) -> str:
    return base64.b64encode(text.encode(charset)).decode()


def _word(text: str, charset: str) -> str:
    return f"=?{charset}?B?{_base64(text, charset)}?="


def _part(header: Text, content: Text = "x") -> bytes:
    return encoded(header) + b"\n\n" + encoded(content)


def _in_base64(kind: str, text: str, charset: str) -> str:
    return (
        f'Content-Type: text/{kind};\n\tcharset="{charset}"\nContent-Transfer-Encoding: base64\n\n'
        + _base64(text, charset)
    )


PROGRAMS = table(
    {
        "exchange-journal": (
            letter(multipart(plain("Sender: ann@x.example"), _part("Content-Type: message/rfc822", _INNER))),
            "an envelope as text, and the message itself",
            {"text": "Sender: ann@x.example", "files": [(None, "message/rfc822")], "no_warning": True},
        ),
        "outlook-rich-text": (
            letter(multipart(plain("Hi"), pdf('Content-Type: application/ms-tnef; name="winmail.dat"'))),
            "winmail.dat is a file",
            {"text": "Hi", "files": [("winmail.dat", "application/ms-tnef")]},
        ),
        "outlook-invitation": (
            letter(multipart(
                multipart(
                    plain("Please come"),
                    html("<p>Please come</p>"),
                    _part('Content-Type: text/calendar; method=REQUEST; name="meeting.ics"', "BEGIN"),
                    kind="alternative",
                    boundary="b1",
                ),
                _part('Content-Type: application/ics; name="invite.ics"', "BEGIN"),
            )),
            "the calendar twice, once as an alternative",
            {
                "text": "Please come",
                "html": "<p>Please come</p>",
                "files": [("meeting.ics", "text/calendar"), ("invite.ics", "application/ics")],
            },
        ),
        "smime-signed": (
            letter(multipart(
                plain("Signed words"),
                pdf('Content-Type: application/pkcs7-signature; name="smime.p7s"'),
                kind='signed; protocol="application/pkcs7-signature"; micalg=sha-256',
            )),
            "a signature is no file",
            {"text": "Signed words", "files": [], "no_warning": True},
        ),
        "smime-encrypted": (
            letter(
                "Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\n"
                "Content-Disposition: attachment; filename=smime.p7m\nContent-Transfer-Encoding: base64\n\n"
                + PDF_LINES
            ),
            "nothing but a file",
            {"text": None, "html": None, "files": [("smime.p7m", "application/pkcs7-mime")]},
        ),
        "pgp-encrypted": (
            letter(multipart(
                _part("Content-Type: application/pgp-encrypted", "Version: 1"),
                _part('Content-Type: application/octet-stream; name="encrypted.asc"\n'
                      'Content-Disposition: inline; filename="encrypted.asc"', "-----BEGIN PGP MESSAGE-----"),
                kind='encrypted; protocol="application/pgp-encrypted"',
            )),
            "nothing to show",
            {"text": None, "has_files": [("encrypted.asc", "application/octet-stream")]},
        ),
        "bounce-with-a-returned-header": (
            letter(multipart(
                plain("No such user"),
                _part("Content-Type: message/delivery-status", "Reporting-MTA: dns; mx.example"),
                _part("Content-Type: text/rfc822-headers", "Subject: x\nFrom: y@x.example"),
                kind="report; report-type=delivery-status",
            )),
            "a report and a returned header are no files",
            {"text": "No such user", "files": []},
        ),
        "mailman-digest": (
            letter(multipart(
                plain("Send hikers submissions to hikers@x.example"),
                multipart("\nSubject: one\n\nFirst", "\nSubject: two\n\n2", kind="digest", boundary="b1"),
                _part("Content-Type: text/plain\nContent-Description: Digest Footer", "hikers mailing list"),
            )),
            "messages between texts",
            {
                "text_has": ["Send hikers submissions", "hikers mailing list"],
                "files": [(None, "message/rfc822"), (None, "message/rfc822")],
            },
        ),
        "apple-double": (
            letter(multipart(
                plain("See the plan"),
                multipart(
                    pdf('Content-Type: application/applefile; name="plan.pdf"'),
                    pdf('Content-Type: application/pdf; name="plan.pdf"'),
                    kind="appledouble",
                    boundary="b1",
                ),
            )),
            "two forks of one file",
            {"text": "See the plan", "has_files": [("plan.pdf", "application/pdf")]},
        ),
        "apple-mail-file-inside-of-html": (
            letter(multipart(
                plain("See\n\nbelow"),
                multipart(
                    html("<p>See</p>"),
                    pdf('Content-Type: application/pdf; name="a.pdf"\nContent-Disposition: inline'),
                    html("<p>below</p>"),
                    boundary="b1",
                ),
                kind="alternative",
            )),
            "both pieces of HTML are one alternative",
            {
                "text": "See\n\nbelow",
                "html": "<p>See</p>\n<p>below</p>",
                "files": [("a.pdf", "application/pdf")],
            },
        ),
        "alternatives-in-alternatives": (
            letter(multipart(
                multipart(plain("words"), html("<p>inner</p>"), kind="alternative", boundary="b1"),
                html("<p>outer</p>"),
                kind="alternative",
            )),
            "the last alternative is the best",
            {"text": "words", "html": "<p>outer</p>", "files": []},
        ),
        "qq-mail": (
            letter(
                multipart(
                    multipart(
                        _in_base64("plain", "您好，请查收", "gb18030"),
                        _in_base64("html", "<div>您好</div>", "gb18030"),
                        kind="alternative",
                        boundary="b1",
                    ),
                    pdf(
                        'Content-Type: application/octet-stream;\n\tcharset="gb18030";\n\tname="'
                        + _word("计划书.pdf", "gb18030") + '"'
                    ),
                ),
                From=f'"{_word("小明", "gb18030")}" <123@qq.example>',
            ),
            "everything in GB18030",
            {
                "from_name": "小明",
                "text": "您好，请查收",
                "html": "<div>您好</div>",
                "files": [("计划书.pdf", "application/octet-stream")],
                "no_warning": True,
            },
        ),
        "qq-mail-short-answer-without-padding": (
            letter(_in_base64("html", "<p>会议50</p>", "gb18030").rstrip("=")),
            "eighteen characters that give words only in GB18030",
            {"html": "<p>会议50</p>", "no_warning": True},
        ),
        "short-answer-in-koi8": (
            letter(_in_base64("plain", "Да", "koi8-r").rstrip("=")),
            "three characters that give a word only in KOI8-R",
            {"text": "Да", "no_warning": True},
        ),
        "short-answer-in-utf-16": (
            letter(_in_base64("plain", "今天下午开会", "utf-16-le")),
            "bytes that would be control characters in other charsets",
            {"text": "今天下午开会", "no_warning": True},
        ),
        "japanese-name-in-escapes": (
            with_file(b'Content-Type: application/pdf; name="\x1b$B8+@Q=q\x1b(B.pdf"'),
            "raw ISO-2022-JP in quotes",
            {"files": [("見積書.pdf", "application/pdf")], "file": {"見積書.pdf": PDF}},
        ),
        "japanese-escapes-in-pieces": (
            with_file(
                "Content-Type: application/pdf\nContent-Disposition: attachment;\n"
                " filename*0*=iso-2022-jp''%1B%24B8%2B%40Q%3Dq;\n filename*1*=%1B%28B.pdf"
            ),
            "the escape back to ASCII is in another piece",
            {"files": [("見積書.pdf", "application/pdf")]},
        ),
        "i-mode": (
            letter(
                b"Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B$*Hh$lMM\x1b(B",
                Subject="=?ISO-2022-JP?B?GyRCJCpIaCRsTU0bKEI=?=",
            ),
            "telephones",
            {"subject": "お疲れ様", "text": "お疲れ様", "no_warning": True},
        ),
        "lotus-notes-name": (
            with_file('Content-Type: application/pdf; name="Maßnahmen 1.pdf"'.encode("latin-1")),
            "raw Latin-1 in quotes",
            {"files": [("Maßnahmen 1.pdf", "application/pdf")]},
        ),
        "seznam-name": (
            with_file("Content-Type: application/pdf; name==?utf-8?B?xb5sdcWla8O9LnBkZg==?="),
            "an encoded word without quotes",
            {"files": [("žluťký.pdf", "application/pdf")]},
        ),
        "php-mailer-with-two-types": (
            letter("Content-type: text/html; charset=utf-8\nContent-Type: text/plain\n\n<p>Hallo</p>\n"),
            "the first one counts",
            {"html": "<p>Hallo</p>"},
        ),
        "php-quotes-of-html": (
            letter("Content-Type: text/html; charset=&quot;UTF-8&quot;\n\n<p>Grüße</p>\n"),
            "escaped for HTML",
            {"html": "<p>Grüße</p>"},
        ),
        "scanner-note-behind-base64": (
            letter(_in_base64("plain", "Hallo Welt, alles klar?", "utf-8")
                   + "\n\n--\nDiese E-Mail wurde auf Viren geprüft.\n"),
            "the note is text",
            {"text_has": ["Hallo Welt, alles klar?", "geprüft"], "text_hasnt": "\ufffd"},
        ),
        "two-encoded-texts-one-behind-the-other": (
            letter(_in_base64("plain", "Hallo Welt!", "utf-8") + "\n" + _base64("\n-- \nListe\n", "utf-8")),
            "a list encoded its footer, too",
            {"text": "Hallo Welt!\n-- \nListe"},
        ),
    }
)  # fmt: skip
