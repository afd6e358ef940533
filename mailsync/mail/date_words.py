"""The words of dates: names of months in the languages that programs write dates in; pure.

Programs that format dates by the locale of their user send such names, although RFC 5322 §3.3 knows only the
English ones. A name that means different months in different languages is left out, such as the Polish and
Croatian "listopad".
"""

from __future__ import annotations

from unicodedata import category, normalize

_NAMES = """
    jan january januar januari janvier janv janeiro jaen jaenner janner enero
        ene gennaio gen stycznia sty ocak oca января янв
    feb february februar februari fevrier fevr fev fevereiro febrero febbraio lutego lut subat sub
        февраля фев февр
    mar march marz maerz maer mrz maart mrt mars marzo marco marca marts mart марта мар март
    apr april avril avr abril abr aprile kwietnia kwi nisan nis апреля апр
    may mai mayo maggio mag maio mei maj maja mayis мая май
    jun june juni juin junio giugno giu junho czerwca cze haziran haz июня июн июнь
    jul july juli juillet juil julio luglio lug julho lipca lip temmuz tem июля июл июль
    aug august augustus augusti aout agosto ago sierpnia sie agustos agu августа авг
    sep sept september septembre septiembre setiembre settembre set setembro wrzesnia wrz eylul eyl
        сентября сен сент
    oct october oktober okt octobre octubre ottobre ott outubro out pazdziernika paz ekim eki октября окт
    nov november novembre noviembre novembro kasim kas ноября ноя нояб
    dec december dezember dez decembre diciembre dic dicembre dezembro desember des grudnia gru aralik
        декабря дек
"""

CONNECTIVES = frozenset(
    [
        "st",
        "nd",
        "rd",
        "th",
        "er",
        "o",
        "de",
        "del",
        "of",
        "at",
        "um",
        "t",
        "a",
        "as",
        "las",
        "alle",
        "kl",
        "ore",
    ]
)
"""Words that may follow a date's first number and mean nothing."""


def folded(text: str) -> str:
    """Return `text` in lower case, without accents and marks, with plain blanks and digits (Unicode's NFKD).

    >>> folded("5. M\u00e4r\u00a02024")
    '5. mar 2024'
    """
    if not text.isascii():
        text = "".join([char for char in normalize("NFKD", text) if category(char) not in ("Mn", "Cf")])
    return text.lower()


def _months() -> dict[str, int]:
    rows = folded(_NAMES).strip().replace("\n        ", " ").split("\n")
    return {name: number for number, row in enumerate(rows, start=1) for name in row.split()}


MONTHS = _months()
"""Folded name → number of the month."""
