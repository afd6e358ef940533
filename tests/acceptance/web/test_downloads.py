"""Attachments and raw messages over HTTP: byte for byte, with little memory, and harmless."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import random
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.bodies.test_attachments import ENCODED, with_attachment
from tests.support import mail, run_directory
from tests.support.api import API_TOKEN, AUTHORIZED, Api, assert_problem
from tests.support.memory import peak
from tests.support.run_directory import wait_until
from tests.support.served_mailboxes import Letterbox, Serve, get, letterbox, processes_of, serve

__all__ = ["letterbox", "serve"]

LARGE = 64_000_000
ALLOWED = 30_000_000


def part(kind: str, disposition: str, content: bytes = b"<svg onload='alert(1)'/>") -> bytes:
    """A message whose part 2 has this type and disposition."""
    return mail.message(1, attachment=content).replace(
        b'application/octet-stream; name="file.bin"\r\nContent-Disposition: attachment; filename="file.bin"',
        f"{kind}\r\nContent-Disposition: {disposition}".encode(),
    )


def test_transfer_encodings_are_decoded_and_raw_messages_are_unchanged(
    letterbox: Letterbox, serve: Serve
) -> None:
    api = serve()
    for name, (encoded, plain) in ENCODED.items():
        raw = with_attachment(name, encoded)
        message_id = letterbox.add(raw)
        attachment = get(api, message_id, "attachments/2")
        assert attachment.status == 200, attachment
        # the line break before the boundary does not belong to the part
        assert attachment.body.removesuffix(b"\r\n") == plain.removesuffix(b"\r\n"), name
        whole = get(api, message_id, "raw")
        assert whole.body == raw
        for answer, media, filename in (
            (attachment, "application/octet-stream", "file.bin"),
            (whole, "message/rfc822", f"{message_id}.eml"),
        ):
            assert answer.headers.get_all("Content-Type") == [media]
            assert answer.headers["Content-Length"] == str(len(answer.body))
            assert answer.headers["Content-Disposition"] == (
                f"attachment; filename=\"{filename}\"; filename*=UTF-8''{filename}"
            )
            assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Accept-Ranges"] == "none"


def test_content_that_is_not_encoded_as_it_says_comes_as_it_is_with_a_warning(
    letterbox: Letterbox, serve: Serve
) -> None:
    api = serve()
    for encoding, content, plain, warning in (
        ("base64", b"name;sum\r\nAnn;1", b"name;sum\r\nAnn;1", "transfer_encoding"),
        ("x-rot13", b"abc", b"abc", "transfer_encoding"),
        ('"Base64";', b"YWJj", b"abc", None),
        ("x-uuencode", b"begin 644 a\r\n#0V%T\r\n`\r\nend", b"Cat", None),
    ):
        message_id = letterbox.add(with_attachment(encoding, content))
        answer = get(api, message_id, "attachments/2")
        assert (answer.status, answer.body) == (200, plain), encoding
        assert answer.headers["X-Content-Warning"] == warning
        assert get(api, message_id, "raw").headers["X-Content-Warning"] is None
        head = get(api, message_id, "attachments/2", method="HEAD")
        assert (head.status, head.headers["X-Content-Warning"]) == (200, None)


def test_types_that_a_browser_executes_are_sent_as_octet_stream(letterbox: Letterbox, serve: Serve) -> None:
    api = serve()
    for kind, sent in {
        "text/html; charset=utf-8": "application/octet-stream",
        "image/svg+xml": "application/octet-stream",
        "application/xhtml+xml": "application/octet-stream",
        "text/javascript": "application/octet-stream",
        "x-odd/type": "application/octet-stream",
        "Image/PNG": "image/png",
        "text/plain; charset=utf-7": "text/plain",
    }.items():
        answer = get(api, letterbox.add(part(kind, "attachment; filename=a.b")), "attachments/2")
        assert (answer.status, answer.headers["Content-Type"]) == (200, sent), kind
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_hostile_names_are_harmless(letterbox: Letterbox, serve: Serve) -> None:
    api = serve()
    for given, named in {
        "a\r\nSet-Cookie: x=1\r\n\r\n<script>.txt": "a Set-Cookie_ x=1 _script_.txt",
        '../../etc/pass"wd': "_.._etc_pass_wd",
        "invoice\u202efdp.exe": "invoicefdp.exe",
        "Über\u0000sicht.pdf": None,
        "x" * 10_000 + ".pdf": None,
    }.items():
        message_id = letterbox.add(part("image/png", f"attachment; filename*=utf-8''{quote(given, safe='')}"))
        answer = get(api, message_id, "attachments/2")
        assert answer.status == 200
        assert "Set-Cookie" not in answer.headers
        (header,) = answer.headers.get_all("Content-Disposition", [])
        assert re.fullmatch(
            r"""attachment; filename="[^"\\/\x00-\x1f]+"; filename\*=UTF-8''[\w.~%-]+""", header
        )
        assert len(header) < 1000
        if named:
            assert header.endswith(f"UTF-8''{quote(named, safe='')}")
    nameless = letterbox.add(
        part("image/png", "inline").replace(b"Content-Disp", b"Content-ID: <a@b>\r\nContent-Disp")
    )
    header = get(api, nameless, "attachments/2").headers["Content-Disposition"]
    assert header.startswith(f'attachment; filename="{nameless}-2.png"')


def test_head_returns_the_headers_without_contacting_the_server(letterbox: Letterbox, serve: Serve) -> None:
    api, message_id = serve(), letterbox.add(part("image/png", "attachment; filename=a.png"))
    letterbox.mirror.conn.execute("update accounts set throttle_tokens = 0, throttle_at = 'infinity'")
    for path, media in (
        ("raw", "message/rfc822"),
        ("attachments/2", "image/png"),
        ("body", "application/json"),
    ):
        answer = get(api, message_id, path, "HEAD")
        assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, media, b"")
        assert answer.headers["Content-Length"] is None
    assert get(api, message_id, "attachments/3", "HEAD").status == 404
    assert get(api, message_id + 1, "raw", "HEAD").status == 404


def test_range_requests_are_ignored(letterbox: Letterbox, serve: Serve) -> None:
    raw = part("image/png", "attachment; filename=a.png")
    answer = get(serve(), letterbox.add(raw), "raw", Range="bytes=10-20")
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (200, raw, None)


# -- large files and slow readers ----------------------------------------------------------------------


def digest(api: Api, path: str) -> tuple[int, str]:
    """Length and digest of the answer, read piece by piece."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=run_directory.PATIENCE)
    connection.request("GET", path, headers=AUTHORIZED)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    size, sha256 = 0, hashlib.sha256()
    while data := response.read(256 * 1024):
        size += len(data)
        sha256.update(data)
    connection.close()
    return size, sha256.hexdigest()


@pytest.mark.long
def test_64_megabytes_are_streamed_with_little_memory(letterbox: Letterbox, serve: Serve) -> None:
    data = random.Random(64).randbytes(1_000_000) * (LARGE // 1_000_000)
    lines = (b"Zeile \xff \t" + b"x" * 68 + b"\r\n") * (LARGE // 80)
    small = letterbox.add(with_attachment(*_base64(b"abc")))
    wanted = {}
    for encoding, encoded, plain in (*_base64(data), data), ("8bit", lines, lines):
        raw = with_attachment(encoding, encoded)
        message_id = letterbox.add(raw)
        wanted[f"/v1/messages/{message_id}/attachments/2"] = plain
        wanted[f"/v1/messages/{message_id}/raw"] = raw
    api = serve()
    with ThreadPoolExecutor(8) as clients:
        # load all code before the peak is measured
        answers = clients.map(lambda n: get(api, small, ("body", "raw", "attachments/2")[n % 3]), range(24))
        assert {answer.status for answer in answers} <= {200, 503}
    before = {process: peak(process.pid) for process in processes_of(api)}
    for path, plain in wanted.items():
        size, hexdigest = digest(api, path)
        assert (size, hexdigest) == (len(plain), hashlib.sha256(plain).hexdigest()), path
    growth = [peak(process.pid) - was for process, was in before.items()]
    print(growth)
    assert max(growth) < ALLOWED, growth


def _base64(data: bytes) -> tuple[str, bytes]:
    return "base64", base64.encodebytes(data).replace(b"\n", b"\r\n")


class SlowClient:
    """Asks for a file, reads its head and first bytes, and then reads slowly."""

    def __init__(self, api: Api, path: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self._socket.settimeout(run_directory.PATIENCE)
        self._socket.connect(("127.0.0.1", api.port))
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_TOKEN}\r\n\r\n"
        self._socket.sendall(request.encode())
        self._file = self._socket.makefile("rb")
        self._taken = b""
        self.status = int(self._file.readline().split()[1])
        while self._file.readline().strip():
            pass

    def sip(self) -> None:
        """Read a little of the file, if there is one; otherwise the API would disconnect this client."""
        if self.status == 200:
            self._taken += self._file.read(1024)

    def rest(self) -> bytes:
        """Read on, to the end of the file, which is to close the connection; returns all of it."""
        self._socket.shutdown(socket.SHUT_WR)
        return self._taken + self._file.read()

    def go_away(self) -> None:
        self._file.close()
        self._socket.close()


def spools(api: Api, directory: Path) -> int:
    """How many temporary files the API has open, except gunicorn's own in each process."""
    count = -len(processes_of(api))
    for process in processes_of(api):
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                count += str(link.readlink()).startswith(str(directory))
            except FileNotFoundError:
                continue
    return count


@contextlib.contextmanager
def sipping(clients: list[SlowClient]) -> Iterator[None]:
    """Let all clients in the list read a little again and again, including those added meanwhile."""
    done = threading.Event()

    def sip() -> None:
        while not done.wait(0.5):
            for client in list(clients):
                client.sip()

    with ThreadPoolExecutor(1) as pool:
        sips = pool.submit(sip)
        try:
            yield
        finally:
            done.set()
            sips.result()


@pytest.fixture
def spool_directory(tmp_path: Path) -> Iterator[Path]:
    """The directory of the API's temporary files; none may remain in the end."""
    directory = tmp_path / "spools"
    directory.mkdir()
    yield directory
    assert not list(directory.iterdir())


@pytest.mark.long
def test_slow_readers_delay_nobody_and_disconnected_ones_leave_no_files(
    letterbox: Letterbox, serve: Serve, spool_directory: Path
) -> None:
    # larger than all socket buffers on the way
    encoding, encoded = _base64(random.Random(1).randbytes(16_000_000))
    raw = with_attachment(encoding, encoded)
    message_id = letterbox.add(raw)
    path = f"/v1/messages/{message_id}/raw"
    api = serve(MAILSYNC_TEST_VISIBLE="1", TMPDIR=str(spool_directory), BODY_LOCK_WAIT="60s")
    slow = SlowClient(api, path)
    assert slow.status == 200
    assert letterbox.mirror.value("select count(*) from account_locks") == 0
    letterbox.mirror.hot()
    assert spools(api, spool_directory) == 1

    clients = [slow]
    with sipping(clients):
        for _ in range(24):
            clients.append(SlowClient(api, path))
        statuses = [client.status for client in clients[1:]]
        assert set(statuses) == {200, 503}
        # both processes send their maximum number of files, this one included
        assert statuses.count(200) <= 15
        assert api.get("/health/live").status == 200
        assert get(api, message_id).status == 200
        assert spools(api, spool_directory) == 1 + statuses.count(200)
    with sipping([slow]):
        for client in clients[1:]:
            client.go_away()
        wait_until(lambda: spools(api, spool_directory) == 1, "the files to be closed")
        assert digest(api, path) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert slow.rest() == raw
    slow.go_away()
    wait_until(lambda: spools(api, spool_directory) == 0, "the last file to be closed")
    assert_problem(get(api, message_id, "attachments/9"), 404, "not_found")
    assert not [record for record in api.process.records() if record.get("level") == "ERROR"]


@pytest.mark.long
def test_a_client_that_reads_nothing_for_half_a_minute_is_disconnected(
    letterbox: Letterbox, serve: Serve, spool_directory: Path
) -> None:
    raw = with_attachment(*_base64(random.Random(2).randbytes(16_000_000)))
    path = f"/v1/messages/{letterbox.add(raw)}/raw"
    api = serve(MAILSYNC_TEST_VISIBLE="1", TMPDIR=str(spool_directory))
    slow = SlowClient(api, path)
    assert spools(api, spool_directory) == 1
    wait_until(lambda: spools(api, spool_directory) == 0, "the file to be closed")
    assert len(slow.rest()) < len(raw)
    slow.go_away()
    api.process.wait_for("Closed a download")
    assert not [record for record in api.process.records() if record.get("level") == "ERROR"]
