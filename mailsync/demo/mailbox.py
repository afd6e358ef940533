"""The sample mailbox of ``mailsync demo``; pure.

The same seed gives the same messages, byte for byte.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import NamedTuple

from mailsync.demo.odd_messages import odd_messages
from mailsync.demo.texts import ALERTS, COLLEAGUES, CUSTOMERS, JUNK, NEWSLETTERS, OWNER, TOPICS, Person, Topic

__all__ = ["SampleMessage", "new_message", "sample_mailbox"]

_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
_PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
_CSV = "date;sensor;°C\n2025-05-02;A-17;21.4\n2025-05-03;A-17;21.9\n".encode()
_ZONES = tuple(timezone(timedelta(minutes=minutes)) for minutes in (60, 120, 0, 540, 180, -300, 330))

_FIRST_DAY = datetime(2025, 1, 7, 8, 0, tzinfo=UTC)
_ROUNDS = 8


class SampleMessage(NamedTuple):
    """One message of the sample mailbox.

    ``folder`` is a decoded path with ``/`` between its parts; ``raw`` has CRLF line ends; ``flags`` are
    spelled as in IMAP.
    """

    folder: str
    raw: bytes
    flags: tuple[str, ...]
    internal_date: datetime


def sample_mailbox(seed: int = 20) -> Iterator[SampleMessage]:
    """Yield some hundred messages from half a year of a small company, folder by folder, oldest first.

    Folders: INBOX, Sent, Drafts, Archive/2025, Projekte/Übersicht, Newsletter, Junk.
    """
    maker = _Maker(random.Random(seed))
    messages = [*maker.conversations(), *maker.newsletters(), *maker.alerts(), *maker.junk(), *maker.drafts()]
    messages += [SampleMessage(*odd) for odd in odd_messages(_FIRST_DAY + timedelta(days=100))]
    order = {name: place for place, name in enumerate(("INBOX", "Sent", "Drafts", "Archive/2025"))}
    messages.sort(key=lambda message: (order.get(message.folder, 9), message.folder, message.internal_date))
    yield from messages


def new_message(number: int, when: datetime) -> SampleMessage:
    """The unread message with this number, counted from 0, that arrives in INBOX at this time."""
    topic = TOPICS[number % len(TOPICS)]
    maker = _Maker(random.Random(number))
    message = maker.message(topic.subject, topic.others[0], (OWNER,), when)
    maker.fill(message, topic.says[0], html=False)
    return SampleMessage("INBOX", _raw(message), (), when)


class _Maker:
    """Makes messages, and numbers them for their Message-IDs."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.count = 0

    def conversations(self) -> Iterator[SampleMessage]:
        for turn in range(_ROUNDS):
            for topic in TOPICS:
                yield from self._conversation(topic, _FIRST_DAY + timedelta(days=20 * turn))

    def _conversation(self, topic: Topic, begin: datetime) -> Iterator[SampleMessage]:
        """The owner's messages go to Sent, those of the others to one other folder."""
        when = begin + timedelta(minutes=self.rng.randrange(18 * 24 * 60))
        folder = self._folder(when, topic)
        ids: list[str] = []
        for place, text in enumerate(topic.says):
            by_owner = place % 2 == 1
            sender = OWNER if by_owner else topic.others[place // 2 % len(topic.others)]
            others = (
                topic.others if by_owner else tuple(person for person in topic.others if person != sender)
            )
            to = others if by_owner else (OWNER,)
            message = self.message(topic.subject if not ids else f"Re: {topic.subject}", sender, to, when)
            if not by_owner and others:
                message["Cc"] = _addresses(others)
            if ids:
                message["In-Reply-To"] = ids[-1]
                message["References"] = " ".join(ids)
            ids.append(str(message["Message-ID"]))
            self.fill(message, text, html=self.rng.random() < 0.4)
            if place == 0 or "hang" in text or "attach" in text or "jointe" in text or "添付" in text:
                self._attach(message)
            flags = ["\\Seen"] if by_owner or self.rng.random() < 0.7 else []
            if not by_owner and place + 1 < len(topic.says) and flags:
                flags.append("\\Answered")
            if self.rng.random() < 0.1:
                flags.append("\\Flagged")
            if by_owner and self.rng.random() < 0.1:
                flags.append("$Forwarded")
            yield SampleMessage("Sent" if by_owner else folder, _raw(message), tuple(flags), when)
            when += timedelta(minutes=self.rng.randrange(7, 2_000))

    def _folder(self, when: datetime, topic: Topic) -> str:
        if topic.others[0] in COLLEAGUES and self.rng.random() < 0.4:
            return "Projekte/Übersicht"
        return "Archive/2025" if when < _FIRST_DAY + timedelta(days=60) else "INBOX"

    def newsletters(self) -> Iterator[SampleMessage]:
        for week in range(12):
            for name, email, list_id, subjects in NEWSLETTERS:
                when = _FIRST_DAY + timedelta(days=7 * week, hours=self.rng.randrange(10))
                subject = subjects[week % len(subjects)]
                message = self.message(subject, Person(name, email), (OWNER,), when)
                message["List-Id"] = f"{name.split()[0]} <{list_id}>"
                message["List-Unsubscribe"] = f"<https://news.example.org/leave/{self.count}>"
                message["Precedence"] = "bulk"
                self.fill(
                    message, f"{subject}\n\nRead on at https://news.example.org/{self.count}", html=True
                )
                flags = ("\\Seen",) if self.rng.random() < 0.5 else ()
                yield SampleMessage("Newsletter", _raw(message), flags, when)

    def alerts(self) -> Iterator[SampleMessage]:
        for number in range(24):
            subject, email = ALERTS[number % len(ALERTS)]
            when = _FIRST_DAY + timedelta(days=6 * number, minutes=self.rng.randrange(600))
            message = self.message(subject, Person("", email), (OWNER,), when)
            message["Auto-Submitted"] = "auto-generated"
            message["X-Auto-Response-Suppress"] = "All"
            self.fill(message, f"{subject}.\n\nNo answer is needed.", html=False)
            yield SampleMessage("INBOX", _raw(message), ("\\Seen",), when)

    def junk(self) -> Iterator[SampleMessage]:
        for number in range(15):
            subject, email = JUNK[number % len(JUNK)]
            when = _FIRST_DAY + timedelta(days=10 * number, minutes=self.rng.randrange(600))
            message = self.message(subject, Person("Customer Service", email), (), when)
            message["To"] = "undisclosed-recipients:;"
            self.fill(message, "Click here, quickly.", html=True)
            yield SampleMessage("Junk", _raw(message), (), when)

    def drafts(self) -> Iterator[SampleMessage]:
        for number in range(6):
            when = _FIRST_DAY + timedelta(days=150, hours=number)
            message = self.message(
                f"Entwurf {number + 1}: Messeauftritt", OWNER, CUSTOMERS[number : number + 1], when
            )
            self.fill(message, "Liebe Kundinnen und Kunden,\n\n(hier fehlt noch etwas)\n", html=False)
            yield SampleMessage("Drafts", _raw(message), ("\\Draft", "\\Seen"), when)

    def message(self, subject: str, sender: Person, to: Iterable[Person], when: datetime) -> EmailMessage:
        self.count += 1
        message = EmailMessage(policy=SMTP)
        message["From"] = _addresses([sender])
        if to := tuple(to):
            message["To"] = _addresses(to)
        message["Subject"] = subject
        message["Date"] = format_datetime(when.astimezone(self.rng.choice(_ZONES)))
        domain = sender.email.partition("@")[2]
        message["Message-ID"] = f"<{when:%Y%m%d%H%M}.{self.count}.{self.rng.getrandbits(40):x}@{domain}>"
        return message

    def fill(self, message: EmailMessage, text: str, *, html: bool) -> None:
        message.set_content(text + "\n", cte="quoted-printable")
        if html:
            body = escape(text).replace("\n\n", "</p><p>").replace("\n", "<br>")
            message.add_alternative(f"<html><body><p>{body}</p></body></html>\n", subtype="html")

    def _attach(self, message: EmailMessage) -> None:
        kind = self.rng.randrange(4)
        if kind == 0:
            message.add_attachment(_PDF, maintype="application", subtype="pdf", filename="Übersicht 2025.pdf")
        elif kind == 1:
            message.add_attachment(_PNG, maintype="image", subtype="png", filename="sensor.png")
        elif kind == 2:
            message.add_attachment(_CSV, maintype="text", subtype="csv", filename="Messwerte (Mai).csv")


def _addresses(people: Iterable[Person]) -> tuple[Address, ...]:
    return tuple(Address(display_name=person.name, addr_spec=person.email) for person in people)


def _raw(message: EmailMessage) -> bytes:
    # By default the email package makes boundaries from the global random generator.
    for number, part in enumerate(message.walk()):
        if part.is_multipart():
            part.set_boundary(f"=_part_{number}_{str(message['Message-ID'])[1:13]}")
    return message.as_bytes()
