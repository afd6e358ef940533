"""What ``preflight`` says about TLS on a connection to a remote Postgres."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.support.certificates import Authority
from tests.support.programs import Mailsync
from tests.support.proxy import Proxy, postgres_target
from tests.support.run_directory import PATIENCE

# an address of this machine that is not loopback
ELSEWHERE = "0.0.0.0"


class TlsProxy:
    """A TLS server in front of Postgres, such as a pooler; a context manager."""

    def __init__(self, target: tuple[str, int] | str, context: ssl.SSLContext) -> None:
        self._target = target
        self._context = context
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> TlsProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=[self._listener.accept()[0]], daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with ExitStack() as stack, suppress(OSError):
            # SSLRequest
            plain.recv(8, socket.MSG_WAITALL)
            plain.sendall(b"S")
            client = stack.enter_context(self._context.wrap_socket(plain, server_side=True))
            unix = isinstance(self._target, str)
            server = stack.enter_context(socket.socket(socket.AF_UNIX if unix else socket.AF_INET))
            server.connect(self._target)
            self._open += [client, server]
            back = threading.Thread(target=_pump, args=[server, client], daemon=True)
            back.start()
            _pump(client, server)
            back.join(PATIENCE)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            sink.sendall(piece)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def encrypted(mailsync: Mailsync, authority: Authority) -> Iterator[str]:
    """A function that returns the URL of the test's database through TLS for an sslmode."""
    target, url = postgres_target(str(mailsync.environment["DATABASE_URL"]))
    with TlsProxy(target, authority.good().context()) as proxy:
        yield f"{url.format(host='localhost', port=proxy.port)}?hostaddr={ELSEWHERE}&gssencmode=disable"


def lines(mailsync: Mailsync, url: str) -> list[str]:
    done = mailsync("preflight", env={"DATABASE_URL": url})
    assert done.returncode == 0, done
    found = done.stdout.splitlines()
    assert found[1] == "✓ Database connected"
    assert all(line.startswith("✓ ") for line in found[3:])
    return found


def test_a_connection_that_is_not_encrypted_is_noted_and_no_failure(mailsync: Mailsync) -> None:
    target, url = postgres_target(str(mailsync.environment["DATABASE_URL"]))
    proxy = Proxy(target)
    try:
        found = lines(mailsync, url.format(host=ELSEWHERE, port=proxy.port))
        assert found[2] == (
            f"– The connection to {ELSEWHERE} is not encrypted, so others on the network can read the mail;"
            " set sslmode=verify-full in DATABASE_URL"
        )
        # a local connection is not mentioned
        assert "encrypted" not in str(lines(mailsync, url.format(host="127.0.0.1", port=proxy.port)))
    finally:
        proxy.stop()


def test_an_encrypted_connection_is_reported_with_what_it_does_not_verify(
    mailsync: Mailsync, encrypted: str, authority: Authority
) -> None:
    assert "sslmode=prefer would also accept an unencrypted one" in lines(mailsync, encrypted)[2]
    assert lines(mailsync, f"{encrypted}&sslmode=require")[2] == (
        "✓ Database connection encrypted; sslmode=require does not verify the server"
    )
    verified = f"{encrypted}&sslmode=verify-full&sslrootcert={authority.ca_file}"
    assert lines(mailsync, verified)[2] == "✓ Database connection encrypted, server verified"
