"""A session and the server's end of it, with TLS and without."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.certificates import Authority
from tests.support.session_peer import Peer, TlsPeer, session_over


@pytest.fixture
def peer() -> Iterator[Peer]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"* OK hello\r\n")
        yield Peer(theirs, session_over(ours))


@pytest.fixture
def tls(authority: Authority) -> Iterator[TlsPeer]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = TlsPeer(ours, theirs, authority)
        with peer.client:
            yield peer
