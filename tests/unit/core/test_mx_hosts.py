"""The providers of custom domains, by MX."""

from __future__ import annotations

import pytest

from mailsync.core import mx_hosts
from mailsync.core.mx_hosts import host_by_mx
from mailsync.core.providers import provider_at


@pytest.mark.parametrize(
    ("mx", "host", "provider"),
    [
        ("aspmx.l.google.com", "imap.gmail.com", "Gmail"),
        ("ASPMX3.GoogleMail.com.", "imap.gmail.com", "Gmail"),
        ("smtp.google.com", "imap.gmail.com", "Gmail"),
        ("contoso-com.mail.protection.outlook.com", "outlook.office365.com", "Outlook"),
        ("contoso-com.o-v1.mx.microsoft", "outlook.office365.com", "Outlook"),
        ("in2-smtp.messagingengine.com", "imap.fastmail.com", "Fastmail"),
        ("mx02.mail.icloud.com", "imap.mail.me.com", "iCloud"),
        ("mx2.zoho.eu", "imappro.zoho.eu", "Zoho Europe"),
        ("mx.yandex.net", "imap.yandex.com", "Yandex"),
        ("mxext2.mailbox.org", "imap.mailbox.org", "mailbox.org"),
        ("aspmx2.migadu.com", "imap.migadu.com", "Migadu"),
        ("mx1.emailsrvr.com", "secure.emailsrvr.com", "Rackspace"),
        ("mx00.kundenserver.de", "imap.ionos.de", "IONOS"),
        ("mx01.ionos.co.uk", "imap.ionos.co.uk", "IONOS"),
        ("mx1.mail.ovh.net", "ssl0.ovh.net", "OVH"),
        ("mail.protonmail.ch", "127.0.0.1", "Proton"),
    ],
)
def test_the_provider_of_a_custom_domain(mx: str, host: str, provider: str) -> None:
    found = host_by_mx(mx)
    assert found is not None
    assert (found[0], found[1].name) == (host, provider)


@pytest.mark.parametrize(
    "mx",
    ["", ".", "com", "mx.example.com", "notgoogle.com", "google.com.evil.test",
     "contoso-cn.mail.protection.partner.outlook.cn", "outlook.com", "microsoft"],
)  # fmt: skip
def test_other_hosts_are_no_providers(mx: str) -> None:
    assert host_by_mx(mx) is None


def test_every_server_in_the_table_belongs_to_a_provider() -> None:
    hosts = mx_hosts._IMAP_HOST_BY_MX.values()
    assert all(provider_at(host) for host in hosts)
