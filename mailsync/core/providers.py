"""The IMAP servers of well-known mail providers, by address or host; and e-mail addresses (SPEC §5); pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from mailsync.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Provider:
    """A mail provider.

    ``domains`` are those of its own addresses, without those of companies whose mail it hosts. ``note`` is a
    hint for the person who adds an account, or empty. ``accepts_passwords`` is False if no kind of password
    can log in over the Internet.
    """

    name: str
    domains: tuple[str, ...]
    host: str
    port: int = 993
    security: str = "tls"
    note: str = ""
    accepts_passwords: bool = True


def _app_password(where: str) -> str:
    return f"Use an app password instead of the account's password; create one at {where}."


def _split(domains: str) -> tuple[str, ...]:
    return tuple(domains.split())


_MICROSOFT_NOTE = (
    "Microsoft no longer accepts passwords over IMAP, not even app passwords. "
    "Sign in by OAuth2: --oauth microsoft (over HTTP: oauth)."
)
_GMX_NOTE = (
    "First enable IMAP in the webmail's settings; with two-factor authentication, use an app password."
)
_ZOHO_NOTE = "First enable IMAP in Zoho's settings; with two-factor authentication, use an app password."
_YANDEX_NOTE = "First enable IMAP in the settings. " + _app_password("id.yandex.com/security/app-passwords")

PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "Rackspace",
        _split("emailsrvr.com"),
        "secure.emailsrvr.com",
        note="The user name is the whole address.",
    ),
    Provider(
        "Gmail",
        _split("gmail.com googlemail.com"),
        "imap.gmail.com",
        note=_app_password("myaccount.google.com/apppasswords (two-step verification must be on)")
        + " Or sign in by OAuth2: --oauth google (over HTTP: oauth).",
    ),
    Provider(
        "Outlook",
        _split(
            "outlook.com outlook.de outlook.fr outlook.es outlook.it outlook.jp outlook.at outlook.be "
            "outlook.ie outlook.in outlook.kr outlook.pt outlook.sa outlook.com.br outlook.com.au "
            "outlook.com.ar outlook.com.tr outlook.co.th outlook.dk outlook.cl hotmail.com hotmail.de "
            "hotmail.fr hotmail.es hotmail.it hotmail.co.uk hotmail.nl hotmail.be hotmail.se hotmail.no "
            "hotmail.dk hotmail.fi hotmail.gr hotmail.ca hotmail.co.jp hotmail.com.br hotmail.com.ar "
            "hotmail.com.tr hotmail.com.au hotmail.cl live.com live.de live.fr live.it live.nl live.be "
            "live.ca live.se live.no live.dk live.co.uk live.jp live.cn live.com.au live.com.mx "
            "live.com.pt msn.com passport.com windowslive.com office365.com onmicrosoft.com"
        ),
        "outlook.office365.com",
        note=_MICROSOFT_NOTE,
        accepts_passwords=False,
    ),
    Provider(
        "iCloud",
        _split("icloud.com me.com mac.com"),
        "imap.mail.me.com",
        note=_app_password("account.apple.com (App-Specific Passwords)"),
    ),
    Provider(
        "Yahoo Japan",
        _split("yahoo.co.jp ymail.ne.jp"),
        "imap.mail.yahoo.co.jp",
        note="First enable IMAP in the webmail's settings.",
    ),
    Provider(
        "Yahoo",
        _split(
            "yahoo.com ymail.com rocketmail.com yahoo.de yahoo.fr yahoo.es yahoo.it yahoo.ca yahoo.at "
            "yahoo.be yahoo.dk yahoo.fi yahoo.gr yahoo.ie yahoo.in yahoo.nl yahoo.no yahoo.pl yahoo.pt "
            "yahoo.ro yahoo.se yahoo.co.uk yahoo.co.in yahoo.co.id yahoo.co.nz yahoo.co.th yahoo.co.za "
            "yahoo.com.ar yahoo.com.au yahoo.com.br yahoo.com.hk yahoo.com.mx yahoo.com.my yahoo.com.ph "
            "yahoo.com.sg yahoo.com.tr yahoo.com.tw yahoo.com.vn myyahoo.com"
        ),
        "imap.mail.yahoo.com",
        note=_app_password("login.yahoo.com/account/security"),
    ),
    Provider(
        "AOL",
        _split("aol.com aol.de aol.fr aol.co.uk aim.com love.com games.com wow.com verizon.net"),
        "imap.aol.com",
        note=_app_password("login.aol.com/account/security"),
    ),
    Provider(
        "Fastmail",
        _split(
            "fastmail.com fastmail.fm fastmail.net fastmail.org fastmail.de fastmail.co.uk fastmail.us "
            "fastmail.in fastmail.jp fastmail.mx fastmail.nl fastmail.se fastmail.to fastmail.cn "
            "fastmail.uk fastmail.im fastmail.es messagingengine.com sent.com mailhaven.com"
        ),
        "imap.fastmail.com",
        note=_app_password("Settings, Privacy & Security, App passwords"),
    ),
    Provider("Zoho", _split("zoho.com zohomail.com"), "imap.zoho.com", note=_ZOHO_NOTE),
    Provider("Zoho Europe", _split("zoho.eu zohomail.eu"), "imap.zoho.eu", note=_ZOHO_NOTE),
    Provider("Zoho India", _split("zoho.in zohomail.in"), "imap.zoho.in", note=_ZOHO_NOTE),
    Provider(
        "GMX",
        _split("gmx.de gmx.net gmx.at gmx.ch gmx.li gmx.info gmx.org gmx.biz gmx.eu"),
        "imap.gmx.net",
        note=_GMX_NOTE,
    ),
    Provider(
        "GMX",
        _split("gmx.com gmx.us gmx.co.uk gmx.es gmx.fr gmx.it gmx.pt gmx.se gmx.ie gmx.tm"),
        "imap.gmx.com",
        note=_GMX_NOTE,
    ),
    Provider("WEB.DE", _split("web.de"), "imap.web.de", note=_GMX_NOTE),
    Provider(
        "mail.com",
        _split(
            "mail.com email.com usa.com post.com europe.com asia.com iname.com writeme.com myself.com "
            "dr.com engineer.com consultant.com accountant.com cheerful.com techie.com linuxmail.org "
            "london.com berlin.com munich.com activist.com artlover.com bikerider.com birdlover.com "
            "workmail.com contractor.net chef.net execs.com musician.org journalist.com programmer.net "
            "scientist.com physicist.net teachers.org lawyer.com graduate.org"
        ),
        "imap.mail.com",
        note="IMAP is part of the paid plan and must be switched on in the settings; with two-factor "
        "login it needs an app password.",
    ),
    Provider(
        "Yandex",
        _split("yandex.com yandex.ru ya.ru yandex.by yandex.kz yandex.ua yandex.com.tr narod.ru"),
        "imap.yandex.com",
        note=_YANDEX_NOTE,
    ),
    Provider("IONOS", _split("ionos.com 1and1.com"), "imap.ionos.com"),
    Provider("IONOS", _split("ionos.de 1und1.de online.de onlinehome.de"), "imap.ionos.de"),
    Provider("IONOS", _split("ionos.co.uk 1and1.co.uk"), "imap.ionos.co.uk"),
    Provider("IONOS", _split("ionos.fr 1and1.fr"), "imap.ionos.fr"),
    Provider("IONOS", _split("ionos.es 1and1.es"), "imap.ionos.es"),
    Provider("OVH", _split("ovh.net ovh.com ovh.fr"), "ssl0.ovh.net"),
    Provider("Migadu", _split("migadu.com"), "imap.migadu.com"),
    Provider(
        "mailbox.org",
        _split("mailbox.org"),
        "imap.mailbox.org",
        note="With two-factor login it needs an app password: Settings, Security.",
    ),
    Provider(
        "Posteo",
        _split("posteo.de posteo.net posteo.at posteo.ch posteo.eu posteo.org posteo.us posteo.me"),
        "posteo.de",
    ),
    Provider("freenet", _split("freenet.de"), "mx.freenet.de"),
    Provider(
        "T-Online",
        _split("t-online.de magenta.de"),
        "secureimap.t-online.de",
        note="Use the separate e-mail password that is set in Telekom's customer centre.",
    ),
    Provider("Orange", _split("orange.fr wanadoo.fr"), "imap.orange.fr"),
    Provider("Free", _split("free.fr"), "imap.free.fr"),
    Provider("Libero", _split("libero.it"), "imapmail.libero.it"),
    Provider(
        "Mail.ru",
        _split("mail.ru inbox.ru list.ru bk.ru internet.ru"),
        "imap.mail.ru",
        note=_app_password("account.mail.ru/user/2-step-auth/passwords"),
    ),
    Provider("Seznam", _split("seznam.cz email.cz post.cz spoluzaci.cz"), "imap.seznam.cz"),
    Provider(
        "QQ",
        _split("qq.com foxmail.com vip.qq.com"),
        "imap.qq.com",
        note="Use the authorisation code that the webmail shows when you enable IMAP.",
    ),
    Provider(
        "Comcast",
        _split("comcast.net xfinity.com"),
        "imap.comcast.net",
        note="First allow access by third-party programs in the webmail's security settings.",
    ),
    Provider("DreamHost", _split("dreamhost.com"), "imap.dreamhost.com"),
    Provider("Gandi", _split("gandi.net"), "mail.gandi.net"),
    Provider("Hostinger", _split("hostinger.com"), "imap.hostinger.com"),
    Provider(
        "Proton",
        _split("proton.me protonmail.com protonmail.ch pm.me"),
        "127.0.0.1",
        port=1143,
        security="starttls",
        note="Proton has no IMAP server on the Internet. Run Proton Mail Bridge on this machine "
        "and use the Bridge's password.",
        accepts_passwords=False,
    ),
)

_BY_DOMAIN = {domain: provider for provider in PROVIDERS for domain in provider.domains}
_BY_HOST = {provider.host: provider for provider in PROVIDERS}
# other names of the providers' servers
_BY_HOST |= {
    "imap.mail.ovh.net": _BY_HOST["ssl0.ovh.net"],
    "imap-mail.outlook.com": _BY_HOST["outlook.office365.com"],
    "imap.yandex.ru": _BY_HOST["imap.yandex.com"],
    "imap.1and1.com": _BY_HOST["imap.ionos.com"],
    "imap.1und1.de": _BY_HOST["imap.ionos.de"],
    "imappro.zoho.com": _BY_HOST["imap.zoho.com"],
    "imappro.zoho.eu": _BY_HOST["imap.zoho.eu"],
    "imappro.zoho.in": _BY_HOST["imap.zoho.in"],
}


_LONGEST_DOMAIN = 253
# many unrelated domains differ from a shorter one, such as me.com, by one letter
_SHORTEST_GUESSED = 7


def provider_for(email: str) -> Provider | None:
    """The provider of the address's domain or a domain above it; None if no provider is known."""
    domain = email.rpartition("@")[2].strip().lower().rstrip(".")[-_LONGEST_DOMAIN:]
    while domain:
        if provider := _BY_DOMAIN.get(domain):
            return provider
        domain = domain.partition(".")[2]
    return None


def likely_domain(domain: str) -> str | None:
    """The provider's domain that differs from `domain` by one slip of the keyboard; None if there is none.

    A slip is one letter too many, one missing, one wrong, or two swapped. A provider's first domain is
    preferred.

    >>> likely_domain("gmial.com"), likely_domain("gmail.con"), likely_domain("example.com")
    ('gmail.com', 'gmail.com', None)
    """
    if domain in _BY_DOMAIN:
        return None
    near = [known for known in _BY_DOMAIN if len(known) >= _SHORTEST_GUESSED and _one_slip(domain, known)]
    return min(near, key=lambda known: _BY_DOMAIN[known].domains.index(known), default=None)


def _one_slip(typed: str, meant: str) -> bool:
    if abs(len(typed) - len(meant)) > 1 or typed == meant:
        return False
    start = next((i for i, pair in enumerate(zip(typed, meant, strict=False)) if len(set(pair)) > 1), -1)
    if start < 0:
        return True
    typed, meant = typed[start:], meant[start:]
    swapped = typed[:2] == meant[:2][::-1] and typed[2:] == meant[2:]
    return swapped or typed[1:] == meant[1:] or typed[1:] == meant or typed == meant[1:]


def provider_at(host: str) -> Provider | None:
    """The provider that runs the server `host`, for addresses at the customer's own domain; or None."""
    return _BY_HOST.get(host.strip().lower().rstrip("."))


_LONGEST_INPUT = 1000
_LOCAL = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\"(),:;<>@\[\\\]]+")
_LABEL = re.compile(r"(?!-)[a-z0-9\-\x80-\U0010ffff]+(?<!-)")


def normalise_email(text: str) -> str:
    """Return the address in lower case and composed Unicode, the form in which accounts are stored.

    A domain may hold letters of any script (IDN), and ``xn--…`` stays as typed. A domain of one label is
    accepted, for servers in private networks. Raises :class:`~mailsync.errors.InvalidInput` if `text` is no
    address.
    """
    # Normalising and encoding take more than linear time. No address is longer, however it is composed.
    address = unicodedata.normalize("NFC", text.strip()[:_LONGEST_INPUT]).lower()
    local, at, domain = address.rpartition("@")
    if (
        not at
        or not address.isprintable()
        or not _LOCAL.fullmatch(local)
        or not _is_domain(domain)
        or _bytes(address) > 254
    ):
        raise InvalidInput(f"{address[:60]!r}: expected an e-mail address such as name@example.com")
    if _bytes(local) > 64 or local.startswith(".") or local.endswith(".") or ".." in local:
        raise InvalidInput(
            f"{address[:60]!r}: expected an e-mail address such as name@example.com, with at most 64 bytes"
            " before the @, no dot at either end, and no two dots in a row"
        )
    return address


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _is_domain(domain: str) -> bool:
    return all(
        len(label) <= 63 and _LABEL.fullmatch(label) and _label_length(label) <= 63
        for label in domain.split(".")
    )


def _label_length(label: str) -> int:
    """The length of the label as an A-label (RFC 5891)."""
    return len(label) if label.isascii() else len("xn--") + len(label.encode("punycode"))
