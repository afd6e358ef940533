"""Addresses as programs write them: none is lost, and none is invented."""

from __future__ import annotations

from tests.support.cases.building import Case, letter
from tests.support.cases.case import Expected

_ANN = "ann@example.org"
_TIM = "tim@example.org"


def _from(email: str | None, name: str | None) -> Expected:
    return {"from_email": email, "from_name": name}


def _to(*emails: str) -> Expected:
    return {"to_emails": list(emails)}


_FROM: dict[str, tuple[str, Expected]] = {
    "ordinary": ("Ann Bell <ann@example.org>", _from(_ANN, "Ann Bell")),
    "only-an-address": ("ann@example.org", _from(_ANN, None)),
    "quoted": ('"Bell, Ann" <ann@example.org>', _from(_ANN, "Bell, Ann")),
    "comment": ("ann@example.org (Ann Bell)", _from(_ANN, "Ann Bell")),
    "upper-case": ("Ann Bell <Ann@Example.ORG>", _from(_ANN, "Ann Bell")),
    "encoded": ("=?utf-8?Q?J=C3=B6rg?= Bell <ann@example.org>", _from(_ANN, "Jörg Bell")),
    "encoded-comma": ("=?utf-8?Q?Bell=2C_Ann?= <ann@example.org>", _from(_ANN, "Bell, Ann")),
    "raw-utf-8": ("Jörg Bell <ann@example.org>", _from(_ANN, "Jörg Bell")),
    "comma-in-a-bare-name": ("Ann Bell, M.A. <ann@example.org>", _from(_ANN, "Ann Bell, M.A.")),
    "two-commas-in-a-bare-name": ("Bell, Ann, Dr. <ann@example.org>", _from(_ANN, "Bell, Ann, Dr.")),
    "colon-in-a-bare-name": ("Support: Ann <ann@example.org>", _from(_ANN, "Support: Ann")),
    "mailto": ("Ann Bell <mailto:ann@example.org>", _from(_ANN, "Ann Bell")),
    "mailto-in-brackets": ("Ann Bell [mailto:ann@example.org]", _from(_ANN, "Ann Bell")),
    "double-brackets": ("Ann Bell <<ann@example.org>>", _from(_ANN, "Ann Bell")),
    "missing-end-bracket": ("Ann Bell <ann@example.org", _from(_ANN, "Ann Bell")),
    "blanks-in-brackets": ("Ann Bell < ann@example.org >", _from(_ANN, "Ann Bell")),
    "at-sign-in-the-name": ("Ann @ Bell <ann@example.org>", _from(_ANN, "Ann @ Bell")),
    "address-as-quoted-name": ('"ann@example.org" <ann@example.org>', _from(_ANN, "ann@example.org")),
    "folded": ("Ann\n Bell\n\t<ann@example.org>", _from(_ANN, "Ann Bell")),
    "no-address": ("Ann Bell", _from(None, "Ann Bell")),
    "two-authors": (
        "Ann Bell <ann@example.org>, Tim Baum <tim@example.org>",
        {**_from(_ANN, "Ann Bell"), "from_emails": [_ANN, _TIM]},
    ),
    "one-author": ("Ann Bell <ann@example.org>", {**_from(_ANN, "Ann Bell"), "from_emails": [_ANN]}),
}

_TO: dict[str, tuple[str, Expected]] = {
    "two": ("Ann Bell <ann@example.org>, tim@example.org", _to(_ANN, _TIM)),
    "semicolon": ("ann@example.org; tim@example.org", _to(_ANN, _TIM)),
    "semicolon-and-names": ("Ann Bell <ann@example.org>; Tim Baum <tim@example.org>", _to(_ANN, _TIM)),
    "trailing-comma": ("ann@example.org, tim@example.org,", _to(_ANN, _TIM)),
    "two-commas": ("ann@example.org,, tim@example.org", _to(_ANN, _TIM)),
    "group": ("Friends: ann@example.org, tim@example.org;", _to(_ANN, _TIM)),
    "empty-group": ("undisclosed-recipients:;", _to()),
    "mailto-in-brackets": ("Ann Bell [mailto:ann@example.org], tim@example.org", _to(_ANN, _TIM)),
    "single-quotes": ("'ann@example.org' <ann@example.org>", _to(_ANN)),
    "comments-behind-brackets": (
        "<ann@example.org> (Ann Bell), <tim@example.org> (Tim Baum)",
        {**_to(_ANN, _TIM), "to_names": ["Ann Bell", "Tim Baum"]},
    ),
    "broken-one-between": ("ann@example.org, <>, tim@example.org", _to(_ANN, _TIM)),
    "folded-list": ("Ann Bell <ann@example.org>,\n\tTim Baum\n <tim@example.org>", _to(_ANN, _TIM)),
    "comma-in-a-quoted-name": ('"Bell, Ann" <ann@example.org>, tim@example.org', _to(_ANN, _TIM)),
    "encoded-list-in-one-word": (
        "=?utf-8?Q?J=C3=B6rg=2C_Ann?= <ann@example.org>, =?utf-8?Q?Tim?= <tim@example.org>",
        {**_to(_ANN, _TIM), "to_names": ["Jörg, Ann", "Tim"]},
    ),
}

ADDRESSES = [
    *(Case(f"from-{name}", letter(From=value), value, right) for name, (value, right) in _FROM.items()),
    *(Case(f"to-{name}", letter(To=value), value, right) for name, (value, right) in _TO.items()),
]
