"""Messages in bulk, for tests and benchmarks; pure."""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime, timedelta

_FIRST_NAMES = (
    "Ada",
    "Björn",
    "Chloé",
    "Dmitri",
    "Elif",
    "Françoise",
    "Goran",
    "Hana",
    "Iñaki",
    "Jörg",
    "Kaoru",
)
_LAST_NAMES = (
    "Adeyemi",
    "Berg",
    "Çelik",
    "Dvořák",
    "Eriksson",
    "Fischer",
    "Großmann",
    "Høgh",
    "Ito",
    "Jansen",
)
_WORDS = (
    "delivery",
    "Angebot",
    "sensor",
    "Rechnung",
    "meeting",
    "Prüfung",
    "results",
    "réunion",
    "order",
    "plan",
)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_BULK_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def varied_message(n: int, rng: random.Random) -> bytes:
    """Make message number `n` quickly, with about 3.8 KB of header and addresses that hardly repeat.

    Of its header about 900 bytes are fields that mailsync asks for. The same `n` and generator state give
    the same bytes.
    """
    bits = rng.getrandbits(64)
    moment = _BULK_BEGIN + timedelta(minutes=7 * (n % 100_000), seconds=bits & 31)
    day = f"{_DAYS[moment.weekday()]}, {moment.day} {_MONTHS[moment.month - 1]}"
    date = f"{day} {moment:%Y %H:%M:%S} +0{bits & 3}00"
    domain = f"mx{bits >> 4 & 255}.example.{'org' if bits & 8 else 'com'}"
    thread = [
        f"<{n - back}.{(bits >> back) & 0xFFFFFFFF:x}.mail@post.{domain}>"
        for back in range((bits >> 12) & 7, 0, -1)
    ]
    words = [_WORDS[(bits >> shift) % 10] for shift in (16, 20, 24, 28, 32)]
    subject = f"{'Re: ' if thread else ''}{' '.join(words)} {n}"
    lines = [f"Return-Path: <{n}@{domain}>", *_trace(domain, date, bits)]
    lines.append(f"From: {_mailbox(n, bits >> 8)}")
    others = [_mailbox(n * 7 + place, bits >> (place + 9)) for place in range(2 + (bits >> 32 & 7))]
    lines.append("To: " + ",\r\n ".join(others[:-1]))
    if bits & 64:
        lines.append(f"Cc: {others[-1]}")
    lines += [
        f"Subject: {_encoded(subject)}",
        f"Date: {date}",
        f"Message-ID: <{n}.{bits:x}.mail@post.{domain}>",
    ]
    if thread:
        lines += [f"In-Reply-To: {thread[-1]}", "References: " + "\r\n ".join(thread)]
    if bits & 15 == 0:
        lines += [f"List-Id: List {n % 20} <list{n % 20}.example.org>", "Precedence: list"]
    lines += ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "", f"Message {n}.", ""]
    return "\r\n".join(lines).encode()


def _mailbox(n: int, bits: int) -> str:
    first, last = _FIRST_NAMES[bits % 11], _LAST_NAMES[(bits >> 7) % 10]
    name = f"{last}, {first}" if bits & 1 else f"{first} {last}"
    shown = f'"{name}"' if name.isascii() else _encoded(name)
    return f"{shown} <User.{n}.{bits & 0xFFFF:x}@host{bits % 97}.example.com>"


def _encoded(text: str) -> str:
    if text.isascii():
        return text
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="


def _trace(domain: str, date: str, bits: int) -> list[str]:
    """The fields that relays add, which make up most of a real header."""
    noise = f"{bits:016x}"
    lines = [
        f"Received: from relay{hop}.{domain} (relay{hop}.{domain} [192.0.2.{hop + 1}])\r\n"
        f"\tby in{hop}.example.com (Postfix) with ESMTPS id {noise[hop:]}\r\n"
        f"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n"
        f"\t key-exchange X25519 server-signature RSA-PSS (2048 bits))\r\n"
        f"\tfor <mara.koehler@example.com>; {date}"
        for hop in range(5)
    ]
    signature = "\r\n\t ".join((noise * 4, noise[::-1] * 4, noise * 4, noise[8:] * 6, noise * 4))
    lines += [
        f"Authentication-Results: in.example.com; dkim=pass header.d={domain}; spf=pass\r\n"
        f"\tsmtp.mailfrom={domain}; dmarc=pass (policy=reject) header.from={domain}",
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s=s2048;\r\n"
        f"\th=from:to:subject:date:message-id:mime-version; bh={noise * 2};\r\n\tb={signature}",
        f"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=example.com; s=arc;\r\n\tb={signature}",
        f"X-Spam-Status: No, score=-{bits % 7}.1 required=5.0 tests=[BAYES_00=-1.9,\r\n"
        "\tDKIM_SIGNED=0.1, DKIM_VALID=-0.1, SPF_PASS=-0.001] autolearn=ham",
        f"X-Mailer: Example Mailer {bits % 9}.2",
    ]
    return lines
