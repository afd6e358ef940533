"""Generated MIME messages, well-made and mildly odd, with what is in them; the same for the same seed."""

from __future__ import annotations

import base64
import quopri
import random
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

_TEXTS = {
    "us-ascii": "The quick fox = jumps.\nFrom here\n.dot\n\nEnd ",
    "utf-8": "Grüße – 会議\n=3D stays\n",
    "iso-8859-1": "Grüße, naïve\nß ",
    "windows-1252": "5 € – “quoted”",
    "koi8-r": "Привет, мир\n",
    "shift_jis": "会議は十時\n",
    "gb18030": "会议",
    "iso-2022-jp": "会議は十時\nend",
}
_NAMES = ("plan.pdf", "plan for week 7.pdf", "Über uns.pdf", "会議.pdf", "a;b=c.pdf", "the (1) plan.pdf")
_TYPES = ("application/pdf", "application/octet-stream", "image/png", "text/csv", "audio/x-wav")


class File(NamedTuple):
    """An attached file."""

    name: str | None
    type: str
    content: bytes


@dataclass
class Generated:
    """A message, and what was put into it. ``oddities`` names what is not well-made."""

    raw: bytes = b""
    texts: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    oddities: set[str] = field(default_factory=set)


def generated(seed: int) -> Generated:
    """Return the message of a seed."""
    return _Generator(random.Random(seed)).message()


class _Generator:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._made = Generated()
        self._boundaries = 0

    def message(self) -> Generated:
        fields = ["From: a@example.org", "Subject: generated", "MIME-Version: 1.0"]
        content = self._rng.choice(
            (self._text, self._alternative, self._related, self._mixed, self._mixed, self._signed)
        )(0)
        raw = "\r\n".join(fields).encode() + b"\r\n" + content
        if self._odd("bare line feeds", 0.1):
            raw = raw.replace(b"\r\n", b"\n")
        self._made.raw = raw
        return self._made

    def _odd(self, name: str, chance: float) -> bool:
        if self._rng.random() >= chance:
            return False
        self._made.oddities.add(name)
        return True

    # -- leaves ------------------------------------------------------------------------------------

    def _text(self, _depth: int = 0) -> bytes:
        text, content = self._written("plain")
        self._made.texts.append(text)
        return content

    def _page(self, _depth: int = 0) -> bytes:
        text, content = self._written("html")
        self._made.pages.append(text)
        return content

    def _written(self, subtype: str) -> tuple[str, bytes]:
        charset = self._rng.choice(list(_TEXTS))
        text = f"{_TEXTS[charset]}{self._rng.randrange(1000)}"
        if subtype == "html":
            text = f"<p>{text}</p>"
        data = text.replace("\n", "\r\n").encode(charset)
        if charset == "windows-1252" and self._odd("windows-1252 called iso-8859-1", 0.3):
            charset = "iso-8859-1"
        encoding, encoded = self._encoded(data, is_text=True)
        lines = [f"Content-Type: {self._text_type(subtype, charset)}"]
        if encoding:
            lines.append(f"Content-Transfer-Encoding: {encoding}")
        if self._rng.random() < 0.1:
            lines.append("Content-Disposition: inline")
        self._rng.shuffle(lines)
        self._broken_header(lines)
        return text, "\r\n".join(lines).encode() + b"\r\n\r\n" + encoded

    def _text_type(self, subtype: str, charset: str) -> str:
        if charset == "utf-8" and self._odd("no charset", 0.2):
            return f"text/{subtype}"
        kind = f"text/{subtype}"
        if self._rng.random() < 0.1:
            kind, charset = kind.upper(), charset.upper()
        if self._odd("comment in a type", 0.03):
            kind += " (made by a program)"
        separator = self._rng.choice(("; ", ";", ";\r\n ", ";\r\n\t", " ; "))
        if self._odd("no semicolon", 0.03):
            separator = " "
        mark = self._rng.choice(('"', ""))
        value = f"charset={mark}{charset}{mark}"
        if self._odd("charset in RFC 2231", 0.03):
            value = f"charset*=us-ascii''{charset}"
        return f"{kind}{separator}{value}"

    def _broken_header(self, lines: list[str]) -> None:
        if self._odd("line without a colon", 0.02):
            lines.insert(1, "wrapped by hand")
        if self._odd("blank continuation line", 0.02):
            lines.insert(1, " \t")

    def _file(self, _depth: int = 0) -> bytes:
        kind = self._rng.choice(_TYPES)
        name = self._rng.choice(_NAMES)
        data = self._rng.randbytes(self._rng.randrange(1, 400))
        if kind.startswith("text/"):
            data = b"\r\n".join([b"a;b"] * self._rng.randrange(1, 5))
        encoding, encoded = self._encoded(data, is_text=kind.startswith("text/"))
        disposition = self._rng.choice(("attachment", "attachment", "inline", None))
        lines = [f"Content-Type: {kind}"]
        if encoding:
            lines.append(f"Content-Transfer-Encoding: {encoding}")
        if disposition is None:
            lines[0] += "; " + self._named("name", name)
        else:
            lines.append(f"Content-Disposition: {disposition}; " + self._named("filename", name))
        if self._rng.random() < 0.3:
            lines.append(f"Content-ID: <{self._rng.randrange(1000)}@example.org>")
        self._broken_header(lines)
        self._made.files.append(File(name, kind, data))
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + encoded

    def _named(self, parameter: str, name: str) -> str:
        if self._odd("raw utf-8 in a parameter", 0.05):
            return f'{parameter}="{name}"'
        if ";" not in name and name.isascii() and self._odd("name without quotes", 0.1):
            return f"{parameter}={name}"
        if not name.isascii() and self._rng.random() < 0.4:
            return f'{parameter}="=?utf-8?B?{base64.b64encode(name.encode()).decode()}?="'
        if not name.isascii() or self._rng.random() < 0.2:
            whole = quote(name, safe="")
            cut = whole.rfind("%", 0, len(whole) // 2) if "%" in whole[: len(whole) // 2] else len(whole) // 2
            if self._rng.random() < 0.4:
                return f"{parameter}*0*=utf-8''{whole[:cut]};\r\n {parameter}*1*={whole[cut:]}"
            return f"{parameter}*=utf-8''{whole}"
        return f'{parameter}="{name}"'

    def _encoded(self, data: bytes, *, is_text: bool) -> tuple[str | None, bytes]:
        encodings = ["base64", "quoted-printable"] if is_text else ["base64"]
        if is_text:
            encodings.append("7bit" if data.isascii() else "8bit")
        encoding = self._rng.choice(encodings)
        if encoding == "base64":
            encoded = base64.encodebytes(data).replace(b"\n", b"\r\n")
            # a short line might as well be words
            is_long = len(encoded) > 40
            if is_long and self._odd("base64 without padding", 0.05):
                encoded = encoded.rstrip(b"=\r\n")
            if is_long and not is_text and self._odd("footer behind a file", 0.05):
                encoded += b"\r\n\r\n-- \r\nScanned, no virus found!\r\n"
        elif encoding == "quoted-printable":
            encoded = quopri.encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        else:
            encoded = data
        name = encoding.upper() if self._rng.random() < 0.1 else encoding
        if self._odd("encoding in quotes", 0.03):
            name = f'"{name}"'
        return (None if encoding == "7bit" and self._rng.random() < 0.5 else name), encoded.rstrip(b"\r\n")

    # -- multiparts --------------------------------------------------------------------------------

    def _alternative(self, depth: int) -> bytes:
        second = self._page if depth > 2 or self._rng.random() < 0.7 else self._related
        return self._multipart("alternative", [self._text(), second(depth + 1)])

    def _related(self, depth: int) -> bytes:
        files = [self._file() for _ in range(self._rng.randrange(1, 3))]
        # the page was generated last, but stands first
        return self._multipart("related", [self._page(), *files])

    def _mixed(self, depth: int) -> bytes:
        body = (self._text, self._alternative, self._page, self._related)
        first = self._rng.choice(body if depth < 3 else body[:1])(depth + 1)
        files = [self._file() for _ in range(self._rng.randrange(4))]
        parts = [first, *files]
        if self._odd("several texts", 0.2):
            parts.append(self._text())
        return self._multipart("mixed", parts)

    def _signed(self, depth: int) -> bytes:
        self._made.oddities.add("signature")
        signature = b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n-----BEGIN-----"
        return self._multipart("signed", [self._alternative(depth + 1), signature])

    def _multipart(self, subtype: str, parts: list[bytes]) -> bytes:
        self._boundaries += 1
        boundary = self._rng.choice(("=_part_{}", "----=_Next.{}", "b {} b", "{}")).format(self._boundaries)
        mark = b"--" + boundary.encode()
        head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode()
        before = b"This is a message in several parts.\r\n" if self._odd("preamble", 0.2) else b""
        trailing = b" \t" if self._odd("blanks behind a boundary", 0.1) else b""
        body = b"".join(mark + trailing + b"\r\n" + part + b"\r\n" for part in parts)
        if self._odd("no last boundary", 0.05):
            return head + before + body.removesuffix(b"\r\n")
        if self._odd("boundary in RFC 2231", 0.03):
            value = f"us-ascii''{quote(boundary)}"
            head = f"Content-Type: multipart/{subtype};\r\n boundary*={value}\r\n\r\n".encode()
        behind = b"\r\nIgnored.\r\n" if self._odd("epilogue", 0.2) else b"\r\n"
        return head + before + body + mark + b"--" + behind
