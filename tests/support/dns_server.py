"""A name server on loopback, over UDP and TCP: honest until a test makes it fail, lie or be silent."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from tests.support import run_directory

_LONGEST_CHAIN = 20
_TTL = 60


class Question(NamedTuple):
    """What a client asked: a name without the last dot, a type such as ``MX``, and ``udp`` or ``tcp``."""

    name: str
    kind: str
    protocol: str


class DnsServer:
    """Answers for all names; a name without any record does not exist (NXDOMAIN).

    ``failing`` are names that are answered with SERVFAIL, ``silent`` those that get no answer, ``truncated``
    those whose answer over UDP says to ask over TCP. For ``forged`` names, wrong answers come before the
    right one: with another id, about another name, and bytes that are no message. ``address`` is for
    DNS_SERVERS.
    """

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.silent: set[str] = set()
        self.truncated: set[str] = set()
        self.forged: set[str] = set()
        self.asked: list[Question] = []
        self._records: dict[tuple[str, str], list[str]] = {}
        self._names: set[str] = set()
        port = run_directory.free_port()
        self.address = f"127.0.0.1:{port}"
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", port))
        self._tcp = socket.create_server(("127.0.0.1", port))
        self._threads = [
            threading.Thread(target=serve, daemon=True) for serve in (self._serve_udp, self._serve_tcp)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, name: str, kind: str, *values: str) -> None:
        """Add records: ``add("example.test", "MX", "10 mx.example.test.")``."""
        self._records.setdefault((name, kind), []).extend(values)
        self._names.add(name)

    def stop(self) -> None:
        """Close its sockets; the port is free afterwards."""
        # an empty datagram ends the thread, which a close alone would not wake
        self._udp.sendto(b"", self._udp.getsockname())
        with contextlib.suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        self._tcp.close()
        for thread in self._threads:
            thread.join()
        self._udp.close()

    def _serve_udp(self) -> None:
        while True:
            raw, client = self._udp.recvfrom(65535)
            if not raw:
                return
            for answer in self._answers(raw, "udp"):
                self._udp.sendto(answer, client)

    def _serve_tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._tcp.accept()
                threading.Thread(target=self._serve_client, args=(sock,), daemon=True).start()

    def _serve_client(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, struct.error), sock, sock.makefile("rb") as stream:
            while length := stream.read(2):
                raw = stream.read(struct.unpack("!H", length)[0])
                for answer in self._answers(raw, "tcp"):
                    sock.sendall(struct.pack("!H", len(answer)) + answer)

    def _answers(self, raw: bytes, protocol: str) -> list[bytes]:
        query = dns.message.from_wire(raw)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(Question(name, kind, protocol))
        if name in self.silent:
            return []
        answer = self._answer(query, name, kind)
        if protocol == "udp" and name in self.truncated:
            answer.flags |= dns.flags.TC
            answer.answer.clear()
        return [*(self._forgeries(query, kind) if name in self.forged else ()), answer.to_wire()]

    def _answer(self, query: dns.message.Message, name: str, kind: str) -> dns.message.Message:
        answer = dns.message.make_response(query, recursion_available=True)
        if name in self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self._names:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        for _ in range(_LONGEST_CHAIN):
            if values := self._records.get((name, kind)):
                answer.answer.append(_rrset(name, kind, values))
                break
            if not (alias := self._records.get((name, "CNAME"))):
                break
            answer.answer.append(_rrset(name, "CNAME", alias))
            name = alias[0].rstrip(".")
        return answer

    def _forgeries(self, query: dns.message.Message, kind: str) -> list[bytes]:
        values = {"MX": "1 aspmx.l.google.com.", "SRV": "0 0 993 imap.evil.test.", "A": "10.0.0.1"}
        if kind not in values:
            return [b"no message"]
        forged = []
        for name, change in ((query.question[0].name.to_text(), 1), ("elsewhere.test.", 0)):
            other = dns.message.make_query(name, kind, id=(query.id + change) % 65536)
            answer = dns.message.make_response(other, recursion_available=True)
            answer.answer.append(_rrset(name, kind, [values[kind]]))
            forged.append(answer.to_wire())
        return [b"no message", *forged]


def _rrset(name: str, kind: str, values: list[str]) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(name.rstrip(".") + ".", _TTL, "IN", kind, values)
