"""The functions that read what name servers and web servers say about a domain's mail server."""

from __future__ import annotations

from mailsync.server_lookup.autoconfig import is_host_name, read_config
from mailsync.server_lookup.dns import to_ascii
from tests.unit.growing.entries import Reads, as_text, as_utf8, reads

_BEGIN = b'<clientConfig><emailProvider><incomingServer type="imap">'
_END = b"</incomingServer></emailProvider></clientConfig>"


def _config(raw: bytes) -> None:
    read_config(raw, "a@example.com")


WEB_SERVERS: list[Reads] = [
    reads(
        "autoconfig file",
        _config,
        (_BEGIN + b"<hostname>", b"a", b"</hostname>" + _END),
        (_BEGIN + b"<hostname>", b"a.", b"</hostname>" + _END),
        (_BEGIN + b"<hostname>", b"%EMAILADDRESS%", b"</hostname>" + _END),
        (_BEGIN + b"<hostname>a</hostname><username>", b"%A", b"</username>" + _END),
        (_BEGIN + b"<hostname>a</hostname><port>", b"1", b"</port>" + _END),
        (_BEGIN, b"<hostname>a</hostname>", _END),
        (_BEGIN, b"<a/>", _END),
        (_BEGIN + b"<hostname>", b"&amp;", b"</hostname>" + _END),
        (_BEGIN, b"<a>", b""),
        (
            b"<clientConfig><emailProvider>",
            b'<incomingServer type="imap"/>',
            b"</emailProvider></clientConfig>",
        ),
        (b"<clientConfig ", b'a="" ', b"/>"),
        (b'<clientConfig a="', b"a", b'"/>'),
        (b"<clientConfig>", b"<!---->", b"</clientConfig>"),
        (b"<clientConfig><!--", b"-a", b"--></clientConfig>"),
        (b"<clientConfig><![CDATA[", b"]", b"]]></clientConfig>"),
        (b"<clientConfig>", b"<?a?>", b"</clientConfig>"),
        (b"<!DOCTYPE a [", b'<!ENTITY a "b">', b"]><a/>"),
        (b"", b" ", b"<clientConfig/>"),
    ),
    reads("host name", as_text(is_host_name), (b"", b"a"), (b"", b"a."), (b"", b"-"), (b"a", b"-.")),
    reads("domain in DNS", as_utf8(to_ascii), (b"", b"a."), (b"", b"a"), (b"", "é".encode()), (b"", b"\\0")),
]
