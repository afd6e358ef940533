"""The demo's IMAP server: pymap in a process of its own, filled over a plain socket with the sample mailbox.

What is spoken here is the handful of commands that put mail in; mailsync itself never does that.
"""

from __future__ import annotations

import binascii
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from mailsync.cli.embedded.postgres import undisturbed
from mailsync.config import SECRETS
from mailsync.demo.mailbox import SampleMessage, sample_mailbox
from mailsync.errors import ConfigError, Transient

HOST = "127.0.0.1"
USER, PASSWORD = "demouser", "demopass"

_STARTS_WITHIN = 20.0
_SERVE = "from pymap.main import main; main()"


@dataclass(frozen=True)
class SampleServer:
    """A running server; ``messages`` and ``folders`` count what was put in."""

    port: int
    messages: int
    folders: int


@contextmanager
def sample_server(directory: Path) -> Iterator[SampleServer]:
    """Start the server on a free loopback port, fill it, end it at the end; its log is in `directory`."""
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        _SERVE,
        "--host",
        HOST,
        "--port",
        str(port),
        "--no-service",
        "admin",
        "dict",
    ]
    process = None
    try:
        (directory / "imap.log").touch(mode=0o600)
        with (directory / "imap.log").open("wb") as log, undisturbed():
            # a session of its own: Ctrl-C is for us, who then end it in order
            environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        client = _Client(_connect(process, port))
        try:
            messages, folders = client.fill(sample_mailbox())
        finally:
            client.close()
        yield SampleServer(port, messages, folders)
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _connect(process: subprocess.Popen[bytes], port: int) -> socket.socket:
    until = time.monotonic() + _STARTS_WITHIN
    while True:
        try:
            return socket.create_connection((HOST, port), timeout=_STARTS_WITHIN)
        except OSError as error:
            if process.poll() is not None:
                raise ConfigError(
                    "the sample IMAP server does not start: pip install 'mailsync[embedded]'"
                ) from error
            if time.monotonic() > until:
                raise Transient("the sample IMAP server does not answer") from error
            time.sleep(0.05)


class _Client:
    """Just enough IMAP to create folders and APPEND (RFC 9051 §6.3.12), with LITERAL+ and MULTIAPPEND."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._file.readline()
        self._run(f"LOGIN {USER} {PASSWORD}".encode())

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._sock.close()

    def fill(self, mail: Iterable[SampleMessage]) -> tuple[int, int]:
        """Create the folders and append their messages; returns how many of each."""
        messages = folders = 0
        for folder, group in groupby(mail, key=lambda message: message.folder):
            name = _wire_name(folder)
            if folder != "INBOX":
                self._run(b'CREATE "%s"' % name)
            found = [_append_item(message) for message in group]
            self._run(b'APPEND "%s"' % name + b"".join(found))
            messages, folders = messages + len(found), folders + 1
        return messages, folders

    def _run(self, command: bytes) -> None:
        self._sock.sendall(b"a " + command + b"\r\n")
        while not (line := self._file.readline()).startswith(b"a "):
            if not line:
                raise Transient("the sample IMAP server closed the connection")
        if not line.startswith(b"a OK"):
            raise Transient(f"the sample IMAP server says {line.decode(errors='replace').strip()}")


def _append_item(message: SampleMessage) -> bytes:
    """``(\\Seen) "02-May-2025 10:00:00 +0000" {12+}`` and the message."""
    date = f"{message.internal_date:%d-%b-%Y %H:%M:%S %z}".encode()
    head = b' (%s) "%s" {%d+}\r\n' % (" ".join(message.flags).encode(), date, len(message.raw))
    return head + message.raw


def _wire_name(path: str) -> bytes:
    """The name in modified UTF-7 (RFC 3501 §5.1.3): ``Projekte/&ANw-bersicht``."""
    out = []
    for is_ascii, run in groupby(path, key=str.isascii):
        text = "".join(run)
        if is_ascii:
            out.append(text.replace("&", "&-").encode())
        else:
            code = binascii.b2a_base64(text.encode("utf-16-be"), newline=False).rstrip(b"=")
            out.append(b"&" + code.replace(b"/", b",") + b"-")
    return b"".join(out)
