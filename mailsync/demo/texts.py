"""The people, topics and texts of the sample mailbox: a small manufacturer and its customers.

All addresses are in example.com and example.org, which are reserved (RFC 2606).
"""

from __future__ import annotations

from typing import NamedTuple


class Person(NamedTuple):
    """A display name and an address."""

    name: str
    email: str


OWNER = Person("Mara Köhler", "mara.koehler@example.com")

COLLEAGUES = (
    Person("Anna Lindqvist", "anna.lindqvist@example.com"),
    Person("Jürgen Weiß", "juergen.weiss@example.com"),
    Person("Zoé Lefèvre", "zoe.lefevre@example.com"),
    Person("Tom Okafor", "tom.okafor@example.com"),
    Person("Priya Nair", "priya.nair@example.com"),
)

CUSTOMERS = (
    Person("田中 美咲", "m.tanaka@tokyo.example.org"),
    Person("Γιώργος Παπαδόπουλος", "g.papadopoulos@example.org"),
    Person("O'Brien, Siobhán", "siobhan@lab.example.org"),
    Person("Dr. Emil Horváth", "emil.horvath@example.org"),
    Person("Łucja Wiśniewska", "lucja@uczelnia.example.org"),
    Person("Einkauf Stadtwerke", "einkauf@stadtwerke.example.org"),
    Person("", "purchasing@example.org"),
)


class Topic(NamedTuple):
    """A conversation: its subject, the people besides the owner, and the texts of its messages in order."""

    subject: str
    others: tuple[Person, ...]
    says: tuple[str, ...]


def _topic(subject: str, others: str, *says: str) -> Topic:
    everyone = {person.email.partition("@")[0]: person for person in COLLEAGUES + CUSTOMERS}
    return Topic(subject, tuple(everyone[name] for name in others.split()), says)


TOPICS = (
    _topic(
        "Prüfprotokoll für die Lieferung im Mai",
        "juergen.weiss",
        "Hallo Mara,\n\n"
        "im Anhang das Prüfprotokoll. Zwei Geräte müssen noch einmal in die Kalibrierung.\n\nGrüße\nJürgen",
        "Danke dir! Reicht es, wenn die beiden am Donnerstag nachkommen?",
        "Donnerstag passt. Ich sage dem Versand Bescheid.",
    ),
    _topic(
        "Réunion de lancement à Lyon : l'ordre du jour",
        "zoe.lefevre anna.lindqvist",
        "Bonjour à toutes,\n\nvoici l'ordre du jour. Dites-moi s'il manque quelque chose.\n\nÀ bientôt,\nZoé",
        "Merci Zoé. J'ajouterais un point sur les délais de livraison.",
        "C'est noté, version corrigée en pièce jointe.",
        "Parfait, à mardi !",
    ),
    _topic(
        "見積書のお願い(温度計 40台)",
        "m.tanaka",
        "ケーラー様\n\nいつもお世話になっております。温度計40台のお見積りをお願いいたします。\n\n田中",
        "田中様\n\nご連絡ありがとうございます。お見積書を添付いたします。\n\nケーラー",
        "早速のご対応、ありがとうございます。来週ご返事いたします。",
    ),
    _topic(
        "Προσφορά για τους αισθητήρες υγρασίας",
        "g.papadopoulos",
        "Καλημέρα,\n\nθα μπορούσατε να μας στείλετε προσφορά για 12 αισθητήρες;\n\nΓιώργος",
        "Καλημέρα Γιώργο,\n\nη προσφορά είναι στο συνημμένο.\n\nΜάρα",
    ),
    _topic(
        "Cake in the kitchen 🎂🎉",
        "priya.nair tom.okafor anna.lindqvist",
        "Ten years of the Bremen office, so there is cake. First come, first served.\n\nPriya",
        "On my way 🏃",
        "There is one slice left and it has Mara's name on it.",
    ),
    _topic(
        "Firmware 2.4: release notes to review",
        "tom.okafor priya.nair",
        "Hi Mara,\n\n"
        "the draft is below. The part about the new logging interval needs your eyes most.\n\nTom",
        "Looks good. I would say 'every ten seconds' instead of 'frequently'.",
        "Changed. Priya, anything from support?",
        "Only the typo in section 3. Ship it.",
        "Shipped. Thanks, everybody.",
    ),
    _topic(
        "Purchase order 4711",
        "siobhan",
        "Dear Mara,\n\nplease find our order attached. Could you confirm the delivery date?\n\n"
        "Kind regards\nSiobhán",
        "Dear Siobhán,\n\nconfirmed for the 14th. The invoice follows with the goods.\n\nMara",
        "Wonderful, thank you.",
    ),
    _topic(
        "Kalibrierschein fehlt",
        "emil.horvath",
        "Sehr geehrte Frau Köhler,\n\n"
        "der Lieferung lag kein Kalibrierschein bei. Können Sie ihn nachreichen?\n\nE. Horváth",
        "Sehr geehrter Herr Dr. Horváth,\n\nentschuldigen Sie bitte, er ist hier angehängt.\n\nMara Köhler",
    ),
    _topic(
        "Zamówienie próbne: 3 czujniki",
        "lucja",
        "Dzień dobry,\n\nchcielibyśmy zamówić trzy czujniki na próbę.\n\nŁucja Wiśniewska",
        "Good morning Łucja,\n\nwith pleasure. They leave our house tomorrow.\n\nMara",
        "Dziękuję!",
    ),
    _topic(
        "Angebot 2025-118: Rückfrage zu Position 7 und zur Lieferzeit der Ersatzteile für die Außenstation",
        "einkauf",
        "Guten Tag,\n\n"
        "ist Position 7 einschließlich Montage gerechnet? Und wie lange dauern Ersatzteile?\n\nIhr Einkauf",
        "Guten Tag,\n\nja, mit Montage. Ersatzteile liefern wir in drei Werktagen.\n\nMara Köhler",
        "Vielen Dank, dann bestellen wir.",
    ),
    _topic(
        "Holiday plan for the summer",
        "anna.lindqvist juergen.weiss zoe.lefevre priya.nair tom.okafor",
        "Please fill in the sheet until Friday, so that nobody ends up alone with the phones.\n\nAnna",
        "Done. I take the last two weeks of July.",
    ),
    _topic(
        "Invoice 88-2031",
        "purchasing",
        "Please find attached invoice 88-2031.",
        "Received and booked, thank you.",
    ),
)

NEWSLETTERS = (
    (
        "Measure & Control Weekly",
        "weekly@news.example.org",
        "weekly.news.example.org",
        (
            "What a good calibration schedule looks like",
            "Five sensors for wet places",
            "Field report: −40 °C in Kiruna",
        ),
    ),
    (
        "Sensorik heute",
        "redaktion@sensorik.example.org",
        "heute.sensorik.example.org",
        (
            "Feuchte messen, aber richtig",
            "Drei Fragen an die Prüfstelle",
            "Neue Norm für Außenfühler",
        ),
    ),
    (
        "La lettre du laboratoire",
        "lettre@labo.example.org",
        "lettre.labo.example.org",
        (
            "L'étalonnage en cinq étapes",
            "Nouveautés de l'été",
            "À lire : le guide des capteurs",
        ),
    ),
)

JUNK = (
    ("=?utf-8?B?8J+Ogg==?= You have been chosen", "winner@prizes.example.org"),
    ("RE: your parcel is waiting", "parcel@delivery.example.org"),
    ("Cheap toner, today only!!!", "toner@office.example.org"),
)

ALERTS = (
    ("Backup finished without errors", "backup@example.com"),
    ("Disk usage on measure-03 is 81 %", "monitoring@example.com"),
    ("Build 1184 passed", "ci@example.com"),
)
