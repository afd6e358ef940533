"""Whether the connection to Postgres is encrypted, and its server verified."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from mailsync.store.db import Connection


class Transport(NamedTuple):
    """How a connection reaches its server: libpq's parameters and their effect.

    ``host`` is a name, an address or a socket's directory; ``address`` is empty for a socket.
    """

    host: str
    address: str
    sslmode: str
    has_root_certificate: bool
    is_encrypted: bool

    @property
    def is_local(self) -> bool:
        """Whether the connection stays on this machine: a socket, or a loopback address."""
        if not self.address:
            return self.host[:1] in ("", "/", "@")
        return ipaddress.ip_address(self.address.partition("%")[0]).is_loopback

    @property
    def warning(self) -> str | None:
        """The risk of this connection and the setting that avoids it; None if there is no risk."""
        if self.is_local:
            return None
        if not self.is_encrypted:
            return (
                f"The connection to {self.host} is not encrypted, so others on the network can read the mail;"
                " set sslmode=verify-full in DATABASE_URL"
            )
        if self.sslmode in ("allow", "prefer"):
            return (
                f"The connection to {self.host} is encrypted, but sslmode={self.sslmode} would also accept an"
                " unencrypted one; set sslmode=verify-full in DATABASE_URL, or at least sslmode=require"
            )
        return None

    @property
    def proof(self) -> str | None:
        """How a remote connection is protected; None if it is local or has a :attr:`warning`."""
        if self.is_local or self.warning:
            return None
        if self.sslmode == "verify-full":
            return "Database connection encrypted, server verified"
        if self.sslmode == "verify-ca" or self.has_root_certificate:
            return "Database connection encrypted; sslmode=verify-full would verify the server's name too"
        return f"Database connection encrypted; sslmode={self.sslmode} does not verify the server"


def transport_of(conn: Connection) -> Transport:
    """How this connection reaches its server."""
    parameters = conn.info.get_parameters()
    is_gss = parameters.get("gssencmode") == "require"
    return Transport(
        host=conn.info.host,
        address=conn.info.hostaddr,
        sslmode="require" if is_gss else parameters.get("sslmode", "prefer"),
        has_root_certificate=bool(parameters.get("sslrootcert")),
        is_encrypted=is_gss or bool(conn.pgconn.ssl_in_use),
    )
