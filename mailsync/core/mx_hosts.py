"""The providers whose customers' domains have their mail, by the host of the domain's MX record; pure."""

from __future__ import annotations

from mailsync.core.providers import Provider, provider_at

# the end of the MX host's name, and the IMAP server of the provider's customers
# Microsoft's and Zoho's other clouds (.cn, .us, .com.au) have other servers, and no entry
_IMAP_HOST_BY_MX = {
    "google.com": "imap.gmail.com",
    "googlemail.com": "imap.gmail.com",
    "mail.protection.outlook.com": "outlook.office365.com",
    "olc.protection.outlook.com": "outlook.office365.com",
    "mail.eo.outlook.com": "outlook.office365.com",
    "mx.microsoft": "outlook.office365.com",
    "messagingengine.com": "imap.fastmail.com",
    "mail.icloud.com": "imap.mail.me.com",
    "zoho.com": "imappro.zoho.com",
    "zoho.eu": "imappro.zoho.eu",
    "zoho.in": "imappro.zoho.in",
    "mx.yandex.net": "imap.yandex.com",
    "mx.yandex.ru": "imap.yandex.com",
    "mailbox.org": "imap.mailbox.org",
    "migadu.com": "imap.migadu.com",
    "emailsrvr.com": "secure.emailsrvr.com",
    "ionos.com": "imap.ionos.com",
    "1and1.com": "imap.ionos.com",
    "ionos.de": "imap.ionos.de",
    "kundenserver.de": "imap.ionos.de",
    "ionos.co.uk": "imap.ionos.co.uk",
    "ionos.fr": "imap.ionos.fr",
    "ionos.es": "imap.ionos.es",
    "mail.ovh.net": "ssl0.ovh.net",
    "mail.gandi.net": "mail.gandi.net",
    "mx1.hostinger.com": "imap.hostinger.com",
    "mx2.hostinger.com": "imap.hostinger.com",
    "dreamhost.com": "imap.dreamhost.com",
    "emx.mail.ru": "imap.mail.ru",
    "protonmail.ch": "127.0.0.1",
}
_LONGEST_NAME = 253


def host_by_mx(mx_host: str) -> tuple[str, Provider] | None:
    """The IMAP server and the provider of a domain whose mail `mx_host` receives; None if it is not known.

    >>> host_by_mx("alt1.aspmx.l.google.com.")[0], host_by_mx("notgoogle.com")
    ('imap.gmail.com', None)
    """
    name = mx_host.lower().rstrip(".")[-_LONGEST_NAME:]
    while name:
        if host := _IMAP_HOST_BY_MX.get(name):
            provider = provider_at(host)
            return (host, provider) if provider else None
        name = name.partition(".")[2]
    return None
