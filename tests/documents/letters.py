"""The mailbox of the pages about the HTTP API: a few messages from 2025, the same in every run."""

from __future__ import annotations

import base64
import textwrap
from typing import NamedTuple

ADDRESS = "mara@example.com"
PASSWORD, NEW_PASSWORD = "correct-horse-battery", "correct-horse-battery-staple"

_MARA = "Mara Köhler <mara@example.com>"
_ADA, _BEN = "Ada Berg <ada@customer.example>", "Ben Ito <ben@supplier.example>"
_PDF = b"%PDF-1.4\n1 0 obj <</Type /Catalog>> endobj\ntrailer <</Root 1 0 R>>\n%%EOF\n"


class Letter(NamedTuple):
    """One message, its folder and flags, and when the server received it."""

    folder: str
    received: str
    flags: str
    raw: bytes


def _letter(
    folder: str, day: str, flags: str, number: int, sender: str, to: str, subject: str, rest: str
) -> Letter:
    """`day` is such as ``12-May-2025 09:30:00``; `rest` are further headers and the body."""
    date, time = day.split()
    head = f"""\
        Message-ID: <{number}@example.com>
        Date: {date.replace("-", " ")} {time} +0000
        From: {sender}
        To: {to}
        Subject: {subject}
        MIME-Version: 1.0
        """
    text = textwrap.dedent(head) + textwrap.dedent(rest)
    return Letter(folder, f"{day} +0000", flags, text.replace("\n", "\r\n").encode())


_PLAIN = "Content-Type: text/plain; charset=utf-8\n"

QUOTE = f"""\
Content-Type: multipart/mixed; boundary="outer"

--outer
Content-Type: multipart/alternative; boundary="inner"

--inner
Content-Type: text/plain; charset=utf-8

Dear Mara,

here is our order for 40 sensors.

Ada
--inner
Content-Type: text/html; charset=utf-8

<p>Dear Mara,</p><p>here is our order for <b>40 sensors</b>.</p><p>Ada</p>
--inner--
--outer
Content-Type: application/pdf; name="Order 4711.pdf"
Content-Disposition: attachment; filename="Order 4711.pdf"
Content-Transfer-Encoding: base64

{base64.b64encode(_PDF).decode()}
--outer--
"""

_LIST = "List-Id: <weekly.letters.example>\nPrecedence: bulk\n"

LETTERS = (
    _letter("INBOX", "05-May-2025 08:00:00", r"\Seen", 1, "news@letters.example", _MARA, "Week 19",
            f"{_LIST}{_PLAIN}\nThe news of the week.\n"),
    _letter("INBOX", "06-May-2025 09:15:00", r"\Seen \Answered", 2, _ADA, _MARA, "Quote for 40 sensors",
            f"{_PLAIN}\nWhat do 40 sensors cost?\n"),
    _letter("Sent", "06-May-2025 11:40:00", r"\Seen", 3, _MARA, _ADA, "Re: Quote for 40 sensors",
            f"In-Reply-To: <2@example.com>\nReferences: <2@example.com>\n{_PLAIN}\n3,600 EUR.\n"),
    _letter("INBOX", "07-May-2025 14:05:00", r"\Seen \Flagged", 4, _BEN, _MARA, "Prüfprotokoll für Charge 12",
            f"{_PLAIN}\nAlles in Ordnung.\n"),
    _letter("INBOX", "08-May-2025 07:30:00", "", 5, _ADA, _MARA, "Order 4711",
            f"In-Reply-To: <3@example.com>\nReferences: <2@example.com> <3@example.com>\n{QUOTE}"),
    _letter("Projects", "08-May-2025 10:20:00", r"\Seen", 6, _BEN, _MARA, "Delivery date",
            f"Cc: {_ADA}\n{_PLAIN}\nOn Monday.\n"),
    _letter("INBOX", "09-May-2025 16:45:00", "", 7, _BEN, _MARA, "Delivery note",
            f"{_PLAIN}\nIt is on its way.\n"),
    _letter("Junk", "10-May-2025 03:00:00", "", 8, "win@prize.example", _MARA, "You have won",
            f"{_PLAIN}\nClick here.\n"),
)  # fmt: skip

LATER = (
    _letter("INBOX", "12-May-2025 08:10:00", "", 9, _ADA, _MARA, "Where is our order?",
            f"{_PLAIN}\nIs it on its way?\n"),
    _letter("INBOX", "12-May-2025 09:00:00", "", 10, _BEN, _MARA, "Invoice 88",
            f"{_PLAIN}\nPlease find it below.\n"),
)  # fmt: skip
"""Messages that arrive while the pages run."""
