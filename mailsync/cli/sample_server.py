"""The demo's IMAP server: pymap in its own process, filled with the sample mailbox over a socket.

The client here knows only the commands that store mail, which mailsync itself never sends.
"""

from __future__ import annotations

import binascii
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, groupby
from pathlib import Path

from mailsync.cli.embedded.postgres import undisturbed
from mailsync.config.settings import is_secret
from mailsync.demo.mailbox import SampleMessage, new_message, sample_mailbox
from mailsync.errors import ConfigError, Transient

HOST = "127.0.0.1"
USER, PASSWORD = "demouser", "demopass"

_STARTS_WITHIN = 20.0
_SERVE = "from pymap.main import main; main()"


@dataclass(frozen=True)
class SampleServer:
    """A running server, and how many messages and folders were stored in it."""

    port: int
    messages: int
    folders: int


@contextmanager
def sample_server(directory: Path) -> Iterator[SampleServer]:
    """Start the server on a free loopback port, with its log in `directory`, and fill it; ended at the end.

    Raises ConfigError if pymap is not installed, and Transient if it does not answer.
    """
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
            # In its own session, so that Ctrl-C reaches only us, and we end the server in order.
            environment = {name: value for name, value in os.environ.items() if not is_secret(name)}
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with closing(_Client(_connect(process, port))) as client:
            messages, folders = client.fill(sample_mailbox())
        yield SampleServer(port, messages, folders)
    finally:
        if process is not None:
            process.kill()
            process.wait()


@contextmanager
def arriving_mail(
    server: SampleServer, seconds: float, on_message: Callable[[SampleMessage], None]
) -> Iterator[None]:
    """Store a new message in the server's INBOX every so many seconds, until the end of the block.

    `on_message` is called from the thread that stores them, after each message.
    """
    ended = threading.Event()

    def deliver() -> None:
        # A server that was stopped takes no more mail.
        with suppress(OSError, Transient):
            for number in count():
                if ended.wait(seconds):
                    return
                message = new_message(number, datetime.now(UTC))
                with closing(
                    _Client(socket.create_connection((HOST, server.port), _STARTS_WITHIN))
                ) as client:
                    client.append(message)
                on_message(message)

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _connect(process: subprocess.Popen[bytes], port: int) -> socket.socket:
    until = time.monotonic() + _STARTS_WITHIN
    while True:
        try:
            return socket.create_connection((HOST, port), timeout=_STARTS_WITHIN)
        except OSError as error:
            if process.poll() is not None:
                raise ConfigError(
                    "the sample IMAP server does not start; run: pip install 'mailsync[embedded]'"
                ) from error
            if time.monotonic() > until:
                raise Transient("the sample IMAP server does not answer") from error
            time.sleep(0.05)


class _Client:
    """Enough IMAP to create folders and store messages: APPEND (RFC 9051 §6.3.12), LITERAL+, MULTIAPPEND."""

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
        """Create the folders and store their messages; returns the numbers of messages and of folders."""
        messages = folders = 0
        for folder, group in groupby(mail, key=lambda message: message.folder):
            name = _wire_name(folder)
            if folder != "INBOX":
                self._run(b'CREATE "%s"' % name)
            items = [_append_item(message) for message in group]
            self._run(b'APPEND "%s"' % name + b"".join(items))
            messages, folders = messages + len(items), folders + 1
        return messages, folders

    def append(self, message: SampleMessage) -> None:
        """Store one message."""
        self._run(b'APPEND "%s"' % _wire_name(message.folder) + _append_item(message))

    def _run(self, command: bytes) -> None:
        self._sock.sendall(b"a " + command + b"\r\n")
        while not (line := self._file.readline()).startswith(b"a "):
            if not line:
                raise Transient("the sample IMAP server closed the connection")
        if not line.startswith(b"a OK"):
            raise Transient(f"the sample IMAP server says {line.decode(errors='replace').strip()}")


def _append_item(message: SampleMessage) -> bytes:
    """``(\\Seen) "02-May-2025 10:00:00 +0000" {12+}``, followed by the message."""
    date = f"{message.internal_date:%d-%b-%Y %H:%M:%S %z}".encode()
    head = b' (%s) "%s" {%d+}\r\n' % (" ".join(message.flags).encode(), date, len(message.raw))
    return head + message.raw


def _wire_name(path: str) -> bytes:
    """The path in modified UTF-7 (RFC 3501 §5.1.3): ``Projekte/&ANw-bersicht``."""
    parts = []
    for is_ascii, run in groupby(path, key=str.isascii):
        text = "".join(run)
        if is_ascii:
            parts.append(text.replace("&", "&-").encode())
        else:
            code = binascii.b2a_base64(text.encode("utf-16-be"), newline=False).rstrip(b"=")
            parts.append(b"&" + code.replace(b"/", b",") + b"-")
    return b"".join(parts)
