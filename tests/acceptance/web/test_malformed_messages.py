"""Bodies of malformed messages: each is answered, with warnings."""

from __future__ import annotations

from tests.support import mail
from tests.support.boxes import Box
from tests.support.served_mailboxes import Letterbox, Serve, box, get, letterbox, serve

__all__ = ["box", "letterbox", "serve"]


def typed(kind: str, body: bytes, encoding: str | None = None) -> bytes:
    return mail.message(1, body=body, headers={"Content-Type": kind, "Content-Transfer-Encoding": encoding})


def nested(depth: int) -> bytes:
    opened = b"".join(
        b'--b%d\r\nContent-Type: multipart/mixed; boundary="b%d"\r\n\r\n' % (n, n + 1) for n in range(depth)
    )
    inner = b"--b%d\r\nContent-Type: text/plain\r\n\r\ndeep down\r\n" % depth
    closed = b"".join(b"--b%d--\r\n" % n for n in range(depth, -1, -1))
    return typed('multipart/mixed; boundary="b0"', opened + inner + closed)


def many(count: int) -> bytes:
    part = b'--b\r\nContent-Type: image/png; name="p.png"\r\n\r\nx\r\n'
    return typed('multipart/mixed; boundary="b"', b"--b\r\n\r\ntext\r\n" + part * count + b"--b--\r\n")


# the message, its text, its HTML, the warnings
BROKEN: dict[str, tuple[bytes, str | None, str | None, list[str]]] = {
    "only a picture": (typed("image/png", b"iVBO", "base64"), None, None, ["no_text"]),
    "nothing at all": (b"\r\n", "", None, []),
    "no header": (b"\r\nonly text\r\n", "only text\n", None, []),
    "a wrong charset": (typed("text/plain; charset=utf-8", b"caf\xe9\r\n"), "café\n", None, ["charset"]),
    "an unknown charset": (typed("text/plain; charset=x-klingon", b"Qa\r\n"), "Qa\n", None, ["charset"]),
    "an unknown encoding": (typed("text/plain", b"abc\r\n", "rot13"), "abc\n", None, ["transfer_encoding"]),
    "broken base64": (typed("text/plain", b"aGVs!bG8", "base64"), "hello", None, ["transfer_encoding"]),
    "a footer behind base64": (
        typed("text/plain", b"aGVsbG8=\r\n\r\n-- \r\nThe list\r\n", "base64"),
        "hello\n\n-- \nThe list\n", None, ["transfer_encoding"],
    ),
    "words that are called base64": (
        typed("text/plain", b"Never encoded.\r\n", "base64"), "Never encoded.\n", None, ["transfer_encoding"]
    ),
    "no boundary": (typed("multipart/mixed", b"text\r\n"), "text\n", None, ["missing_boundary"]),
    "no end": (
        typed("multipart/mixed; boundary=b", b"--b\r\n\r\ntext\r\n"), "text\n", None, ["unterminated"]
    ),
    "html that is none": (typed("text/html", b"<b><script>\xff\r\n"), None, "<b><script>ÿ\n", []),
    "surrogates": (typed("text/plain; charset=utf-7", b"+2AA-x\r\n"), "\ufffdx\n", None, []),
    "too deep": (nested(3000), None, None, ["no_text", "too_deep"]),
    "10,000 parts": (many(10_000), "text", None, ["too_many_parts"]),
}  # fmt: skip


def test_every_malformed_message_is_answered(letterbox: Letterbox, serve: Serve) -> None:
    api = serve()
    for name, (raw, text, html, warnings) in BROKEN.items():
        answer = get(api, letterbox.add(raw))
        assert answer.status == 200, (name, answer)
        body = answer.json()
        content = (body["body_text"], body["body_html"], body["warnings"])
        assert content == (text, html, warnings), name
        assert body["raw_bytes"] == len(raw)
    # the listed attachments of the last message can be downloaded
    part = body["attachments"][-1]["part"]
    assert int(part) == len(body["attachments"]) + 1 > 900
    last = get(api, body["message_id"], f"attachments/{part}")
    assert (last.status, last.body) == (200, b"x")


def test_messages_that_only_a_broken_server_sends_are_answered_too(box: Box, serve: Serve) -> None:
    api = serve()
    body = get(api, box.add(typed("text/plain", b"a\0b\r\n"))).json()
    assert (body["body_text"], body["warnings"]) == ("a\ufffdb\n", [])
    odd = b'--a\r\nContent-Type: x/\xff;name="\0\xed\xa0\x80"\r\n\r\n\0'
    body = get(api, box.add(typed("multipart/mixed; boundary=a", odd))).json()
    assert (body["body_text"], body["warnings"]) == (None, ["no_text", "unterminated"])
    (attachment,) = body["attachments"]
    assert attachment["part"] == "1"
    answer = get(api, body["message_id"], "attachments/1")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")
