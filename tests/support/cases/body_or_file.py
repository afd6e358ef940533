"""Which parts are the body, and which are files."""

from __future__ import annotations

from tests.support.cases.building import PDF, PDF_LINES, html, letter, multipart, plain, table
from tests.support.cases.case import Expected

_CALENDAR = "Content-Type: text/calendar; charset=utf-8; method=REQUEST\n\nBEGIN:VCALENDAR\nEND:VCALENDAR"
_LOGO = (
    'Content-Type: image/png; name="logo.png"\nContent-Disposition: inline; filename="logo.png"\n'
    "Content-ID: <logo@sender.example>\nContent-Transfer-Encoding: base64\n\niVBORw0K"
)
_LOGO_FILE = ("logo.png", "image/png")
_PLAN = (
    'Content-Type: application/pdf; name="plan.pdf"\nContent-Disposition: attachment; filename="plan.pdf"\n'
    f"Content-Transfer-Encoding: base64\n\n{PDF_LINES}"
)
_PLAN_FILE = ("plan.pdf", "application/pdf")
_BOTH = multipart(plain(), html(), kind="alternative", boundary="b1")
_READ: Expected = {"text": "the plain words", "html": "<p>the html words</p>"}
_INNER = letter("Content-Type: text/plain\n\nthe forwarded words\n", Subject="Inner")

BODY_OR_FILE = table(
    {
        "file-beside-an-alternative": (
            letter(multipart(_BOTH, _PLAN)),
            "the ordinary form",
            {**_READ, "files": [_PLAN_FILE], "file": {"plan.pdf": PDF}, "no_warning": True},
        ),
        "related-image": (
            letter(multipart(
                plain(), multipart(html(), _LOGO, kind="related", boundary="b1"), kind="alternative"
            )),
            "the image is a file, shown by the HTML",
            {**_READ, "files": [_LOGO_FILE], "no_warning": True},
        ),
        "named-html-in-related-in-alternative": (
            letter(multipart(
                plain(),
                multipart(
                    "Content-Type: text/html; charset=utf-8; name=page.html\n\n<p>the html words</p>",
                    _LOGO, kind="related", boundary="b1",
                ),
                kind="alternative",
            )),
            "a name means nothing inside an alternative, however deep",
            {**_READ, "has_files": [_LOGO_FILE]},
        ),
        "file-names-by-disposition-in-alternative": (
            letter(multipart(
                "Content-Type: text/plain; charset=utf-8\nContent-Disposition: inline; filename=a.txt\n\n"
                "the plain words",
                "Content-Type: text/html; charset=utf-8\nContent-Disposition: inline; filename=a.html\n\n"
                "<p>the html words</p>",
                kind="alternative",
            )),
            "nor does a file name that is inline",
            _READ,
        ),
        "only-text-with-a-name": (
            letter("Content-Type: text/plain; charset=utf-8; name=message.txt\n\nthe plain words\n"),
            "the only text is the body",
            {"text": "the plain words"},
        ),
        "only-html-with-a-name": (
            letter("Content-Type: text/html; charset=utf-8; name=page.html\n\n<p>the html words</p>\n"),
            "the only text is the body",
            {"html": "<p>the html words</p>"},
        ),
        "only-text-attached": (
            letter(
                "Content-Type: text/plain; charset=utf-8\n"
                "Content-Disposition: attachment; filename=notes.txt\n\n"
                "the notes\n"
            ),
            "shown, for want of another text, and a file",
            {"text": "the notes", "files": [("notes.txt", "text/plain")]},
        ),
        "attached-text-beside-a-text": (
            letter(multipart(plain(), "Content-Disposition: attachment; filename=notes.txt\n\nthe notes")),
            "a file",
            {"text": "the plain words", "files": [("notes.txt", "text/plain")]},
        ),
        "attached-html-beside-a-text": (
            letter(multipart(
                plain(),
                "Content-Type: text/html\nContent-Disposition: attachment; filename=page.html\n\n<p>x</p>",
            )),
            "a file",
            {"text": "the plain words", "html": None, "files": [("page.html", "text/html")]},
        ),
        "patch-inline": (
            letter(multipart(
                plain(),
                "Content-Type: text/x-patch\nContent-Disposition: inline; filename=fix.patch\n\n--- a\n+++ b",
            )),
            "a file, though inline",
            {"text": "the plain words", "files": [("fix.patch", "text/x-patch")]},
        ),
        "texts-around-an-image": (
            letter(multipart(plain("before"), _LOGO, plain("behind"))),
            "Apple Mail: both texts are the body",
            {"text": "before\nbehind", "files": [_LOGO_FILE]},
        ),
        "list-footer-beside-html": (
            letter(multipart(html(), plain("a footer"))),
            "both are shown",
            {"text": "a footer", "html": "<p>the html words</p>", "files": []},
        ),
        "list-footer-beside-an-alternative": (
            letter(multipart(_BOTH, plain("a footer"))),
            "the footer belongs to the text",
            {"text": "the plain words\na footer", "html": "<p>the html words</p>", "files": []},
        ),
        "calendar-with-a-name-in-alternative": (
            letter(multipart(
                plain(), html(), _CALENDAR.replace("method", 'name="invite.ics"; method'), kind="alternative"
            )),
            "an invitation can be had",
            {**_READ, "files": [("invite.ics", "text/calendar")]},
        ),
        "calendar-in-alternative-and-attached": (
            letter(multipart(
                multipart(plain(), html(), _CALENDAR, kind="alternative", boundary="b1"),
                'Content-Type: application/ics; name="invite.ics"\n'
                'Content-Disposition: attachment; filename="invite.ics"\n\nBEGIN:VCALENDAR\nEND:VCALENDAR',
            )),
            "Google's form: both can be had",
            {**_READ, "files": [(None, "text/calendar"), ("invite.ics", "application/ics")]},
        ),
        "calendar-beside-a-text": (
            letter(multipart(plain(), _CALENDAR)),
            "an invitation can be had",
            {"text": "the plain words", "files": [(None, "text/calendar")]},
        ),
        "amp-page": (
            letter(multipart(
                plain(), "Content-Type: text/x-amp-html; charset=utf-8\n\n<html amp4email>x</html>", html(),
                kind="alternative",
            )),
            "a twin for programs that know AMP: neither body nor file",
            {**_READ, "text_hasnt": "amp4email", "files": []},
        ),
        "watch-page": (
            letter(multipart(
                plain(), "Content-Type: text/watch-html; charset=utf-8\n\n<b>x</b>", html(),
                kind="alternative",
            )),
            "a twin for watches: neither body nor file",
            {**_READ, "files": []},
        ),
        "signed": (
            letter(multipart(
                plain(), "Content-Type: application/pgp-signature; name=signature.asc\n\n-----BEGIN PGP-----",
                kind="signed",
            )),
            "a signature is no file",
            {"text": "the plain words", "files": [], "no_warning": True},
        ),
        "signed-by-s-mime": (
            letter(multipart(
                _BOTH,
                "Content-Type: application/pkcs7-signature; name=smime.p7s\n"
                "Content-Disposition: attachment; filename=smime.p7s\n"
                "Content-Transfer-Encoding: base64\n\nMIAG",
                kind="signed",
            )),
            "a signature is no file",
            {**_READ, "files": []},
        ),
        "bounce": (
            letter(multipart(
                plain("could not be delivered"),
                "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\nStatus: 5.1.1",
                b"Content-Type: message/rfc822\n\n" + _INNER,
                kind="report; report-type=delivery-status",
            )),
            "the report is no file; the message that came back is one",
            {"text": "could not be delivered", "files": [(None, "message/rfc822")]},
        ),
        "forwarded-message": (
            letter(multipart(plain(), b"Content-Type: message/rfc822\n\n" + _INNER)),
            "its text is not this message's text",
            {"text": "the plain words", "files": [(None, "message/rfc822")], "text_hasnt": "forwarded"},
        ),
        "winmail-dat": (
            letter(multipart(
                plain(),
                'Content-Type: application/ms-tnef; name="winmail.dat"\n'
                'Content-Disposition: attachment; filename="winmail.dat"\n'
                "Content-Transfer-Encoding: base64\n\neJ8+IgA=",
            )),
            "TNEF is a file",
            {"text": "the plain words", "files": [("winmail.dat", "application/ms-tnef")]},
        ),
        "table-attached": (
            letter(multipart(plain(), "Content-Type: text/csv; name=list.csv\n\na;b\n1;2")),
            "a text that is neither plain nor HTML is a file",
            {"text": "the plain words", "files": [("list.csv", "text/csv")]},
        ),
        "visiting-card": (
            letter(multipart(
                plain(), "Content-Type: text/x-vcard; name=rosa.vcf\n\nBEGIN:VCARD\nEND:VCARD"
            )),
            "a text that is neither plain nor HTML is a file",
            {"text": "the plain words", "files": [("rosa.vcf", "text/x-vcard")]},
        ),
        "file-inside-alternative": (
            letter(multipart(plain(), html(), _PLAN, kind="alternative")),
            "a file is a file anywhere",
            {**_READ, "files": [_PLAN_FILE]},
        ),
        "file-beside-related-beside-alternative": (
            letter(multipart(
                multipart(
                    plain(),
                    multipart(html(), _LOGO, kind="related", boundary="b2"),
                    kind="alternative", boundary="b1",
                ),
                _PLAN,
            )),
            "three levels",
            {**_READ, "files": [_LOGO_FILE, _PLAN_FILE], "no_warning": True},
        ),
        "message-that-is-a-file": (
            letter(_PLAN),
            "no text at all",
            {"text": None, "html": None, "files": [_PLAN_FILE], "file": {"plan.pdf": PDF}},
        ),
        "encrypted-by-s-mime": (
            letter(
                "Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\n"
                "Content-Disposition: attachment; filename=smime.p7m\n"
                "Content-Transfer-Encoding: base64\n\nMIAG\n"
            ),
            "what cannot be read here can be had",
            {"text": None, "files": [("smime.p7m", "application/pkcs7-mime")]},
        ),
        "nameless-octets": (
            letter(multipart(plain(), "Content-Type: application/octet-stream\n\nabc")),
            "a file without a name",
            {"text": "the plain words", "files": [(None, "application/octet-stream")]},
        ),
        "empty-text-beside-html": (
            letter(multipart(plain(""), html(), kind="alternative")),
            "an empty alternative",
            {"html": "<p>the html words</p>", "files": []},
        ),
        "two-texts-in-alternative": (
            letter(multipart(plain("the first"), plain("the better"), kind="alternative")),
            "the last alternative is the best one (RFC 2046 §5.1.4)",
            {"text": "the better", "files": []},
        ),
    }
)  # fmt: skip
