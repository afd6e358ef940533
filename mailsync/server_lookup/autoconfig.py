"""Read Mozilla's autoconfig file, ``config-v1.1.xml``: the IMAP servers that it names; no I/O.

A stranger writes the file, so no document type is accepted, and with it no entity but those of XML itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

from mailsync.errors import ProtocolError

LARGEST = 64 * 1024
"""The largest file that is read, in bytes."""

DEEPEST = 16
"""How deeply elements may be nested; the format needs five levels."""

MOST_SERVERS = 20
"""How many IMAP servers of a file are considered."""

_SECURITY = {"SSL": "tls", "STARTTLS": "starttls"}
# a provider that names only other methods offers no login that mailsync has
_USABLE_AUTHENTICATION = frozenset({"password-cleartext", "plain", "OAuth2"})
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
# a last label of digits only would be an address, in one of its many notations
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*(?=[A-Za-z]){_LABEL}", re.ASCII)
_PLACEHOLDER = re.compile(r"%[A-Z]{1,40}%")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_LONGEST_NAME = 253
_LONGEST_TEXT = 500
_SERVER_PATH = ("clientConfig", "emailProvider", "incomingServer")


@dataclass(frozen=True, slots=True)
class ConfiguredServer:
    """An ``<incomingServer type="imap">`` with the address filled in; ``problem`` says why it is not usable.

    ``security`` is ``tls`` or ``starttls``. ``username`` is None if the file names none.
    """

    host: str
    port: int
    security: str
    username: str | None
    problem: str | None = None


def read_config(raw: bytes, email: str) -> list[ConfiguredServer]:
    """Return the IMAP servers of the file in its order, with the parts of `email` in place of placeholders.

    Raises ProtocolError if `raw` is no autoconfig file, has a document type, or is too large or too deep.
    """
    if len(raw) > LARGEST:
        raise ProtocolError(f"the file is larger than {LARGEST // 1024} KiB")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse_document_type
    parser.StartElementHandler = reader.begin
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.add_text
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise ProtocolError(f"the file is no XML: {expat.ErrorString(error.code)}") from error
    except (ValueError, LookupError) as error:
        # an encoding that Python has under its name, but expat cannot use
        raise ProtocolError("the file is no XML: unknown encoding") from error
    if not reader.is_config:
        raise ProtocolError("the file is no autoconfig file")
    return [_configured(server, email) for server in reader.servers]


def is_host_name(text: str) -> bool:
    """Whether `text` is a host name in ASCII, and no address in any notation.

    >>> is_host_name("imap.example.com"), is_host_name("127.0.0.1"), is_host_name("0x7f.1")
    (True, False, False)
    """
    return len(text) <= _LONGEST_NAME and _HOST_NAME.fullmatch(text) is not None


class _Reader:
    """The handlers of one document; ``servers`` has the texts of each server, by element."""

    def __init__(self) -> None:
        self.servers: list[Mapping[str, list[str]]] = []
        self.is_config = False
        self._path: list[str] = []
        self._server: dict[str, list[str]] | None = None
        self._text: list[str] = []

    def refuse_document_type(self, name: str, *_: Any) -> None:
        is_page = name.lower() == "html"
        raise ProtocolError(
            "it answers a web page" if is_page else "the file has a document type, which is not accepted"
        )

    def begin(self, name: str, attributes: Mapping[str, str]) -> None:
        self._path.append(name)
        self._text = []
        if len(self._path) > DEEPEST:
            raise ProtocolError(f"the file is nested more than {DEEPEST} levels deep")
        self.is_config = self.is_config or self._path == ["clientConfig"]
        if tuple(self._path) == _SERVER_PATH and attributes.get("type", "").lower() == "imap":
            self._server = {}

    def end(self, name: str) -> None:
        if self._server is not None and len(self._path) == len(_SERVER_PATH) + 1:
            text = "".join(self._text)[:_LONGEST_TEXT].strip()
            self._server.setdefault(name, []).append(text)
        elif self._server is not None and len(self._path) == len(_SERVER_PATH):
            if len(self.servers) < MOST_SERVERS:
                self.servers.append(self._server)
            self._server = None
        self._path.pop()
        self._text = []

    def add_text(self, text: str) -> None:
        if self._server is not None:
            self._text.append(text)


def _configured(server: Mapping[str, list[str]], email: str) -> ConfiguredServer:
    host = _filled(_first(server, "hostname"), email).lower().removesuffix(".")
    port = int(text) if _PORT.fullmatch(text := _first(server, "port")) else 0
    security = _SECURITY.get(_first(server, "socketType").upper(), "")
    username = _filled(_first(server, "username"), email)
    methods = {method for method in server.get("authentication", []) if method}
    problem = None
    if not is_host_name(host):
        host, problem = "", "it names a host that is no host name"
    elif not 1 <= port <= 65535:
        problem = f"it names no port of {host}"
    elif not security:
        problem = f"it offers {host} without TLS"
    elif methods and not methods & _USABLE_AUTHENTICATION:
        problem = f"{host} accepts no password"
    elif not username.isprintable() or _PLACEHOLDER.search(username):
        problem = f"it names a user of {host} that cannot be derived from the address"
    return ConfiguredServer(host, port, security, username or None, problem)


def _first(server: Mapping[str, list[str]], name: str) -> str:
    return next(iter(server.get(name, [])), "")


def _filled(text: str, email: str) -> str:
    local, _, domain = email.rpartition("@")
    parts = {"%EMAILADDRESS%": email, "%EMAILLOCALPART%": local, "%EMAILDOMAIN%": domain}
    return _PLACEHOLDER.sub(lambda match: parts.get(match[0], match[0]), text)
