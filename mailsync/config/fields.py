"""Read the value of one setting, or say what is accepted.

Each function here returns a :class:`Rule`; :mod:`mailsync.config.settings` has one for each variable.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import core_schema

from mailsync.config.database_url import read as read_database_url
from mailsync.config.name_server import name_server
from mailsync.config.oauth import is_endpoint_url

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
MINUTE, HOUR, DAY = 60, 3600, 86400

_TIME_UNITS = {"s": 1, "min": MINUTE, "h": HOUR, "d": DAY}
_SIZE_UNITS = {"KiB": KIB, "MiB": MIB, "GiB": GIB}
_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([A-Za-z]*)", re.ASCII)
_SWITCH = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
_URL = "postgresql://user:password@host:5432/database"
_UNCLEAR = (
    f"the value (a secret, not shown) is not accepted; give {_URL}, "
    "where characters such as @ / # % in the password are percent-encoded: %40 %2F %23 %25"
)
_POOLER = (
    "a pooler in transaction mode drops the session that holds the locks; "
    f"give a direct or session-pooled connection, e.g. {_URL}"
)


@dataclass(frozen=True)
class Rule:
    """How one kind of value is read.

    ``parse`` takes a text of the environment, or a value of the constructor, and returns the value or raises
    ValueError. ``accepts`` ends the message "… is not accepted; give". A ValueError with a text replaces that
    message, and must not quote the value. The value of a ``secret`` is never shown.
    """

    parse: Callable[[Any], Any]
    accepts: str
    secret: bool = False

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Allow ``Annotated[float, duration(1, HOUR)]`` as a field of a pydantic model."""
        return core_schema.no_info_plain_validator_function(self.parse)


def duration(low: int, high: int) -> Rule:
    """Seconds as float, from ``low`` to ``high``; reads ``90``, ``0.5``, ``90s``, ``15min``, ``6h``."""
    span = f"from {_in_units(low, _TIME_UNITS)} to {_in_units(high, _TIME_UNITS)}"
    samples = {"5": 5, "5s": 5, "90": 90, "90s": 90, "15min": 15 * MINUTE, "6h": 6 * HOUR, "7d": 7 * DAY}
    fitting = [sample for sample, seconds in samples.items() if low <= seconds <= high][-3:]
    return Rule(
        lambda value: float(_amount(value, _TIME_UNITS, low, high)),
        f"a duration {span}, e.g. {', '.join(fitting)}",
    )


def size(low: int, high: int) -> Rule:
    """Bytes as int, from ``low`` to ``high``; reads plain bytes, ``64KiB``, ``16MiB``, ``1GiB``."""
    span = f"from {_in_units(low, _SIZE_UNITS)} to {_in_units(high, _SIZE_UNITS)}"
    return Rule(
        lambda value: int(_amount(value, _SIZE_UNITS, low, high)),
        f"a size {span}, in bytes or e.g. 64KiB, 16MiB, 1GiB",
    )


def whole(low: int, high: int, *, none: str | None = None) -> Rule:
    """A whole number from ``low`` to ``high``; the word ``none``, if given, stands for None."""

    def parse(value: Any) -> int | None:
        if none and (value is None or value == none):
            return None
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError
        return value

    return Rule(parse, f"a whole number from {low} to {high}" + (f", or {none}" if none else ""))


def choice(*words: str) -> Rule:
    """One of ``words`` in any case, returned in the case of ``words``; None stays None."""
    known = {word.lower(): word for word in words}

    def parse(value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str) or value.lower() not in known:
            raise ValueError
        return known[value.lower()]

    return Rule(parse, f"{', '.join(words[:-1])} or {words[-1]}")


def switch() -> Rule:
    """True or false, in any of the usual words."""

    def parse(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if not isinstance(value, str) or value.lower() not in _SWITCH:
            raise ValueError
        return _SWITCH[value.lower()]

    return Rule(parse, "true, false, yes, no, on, off, 1 or 0")


def text(pattern: str, accepts: str) -> Rule:
    """A text that the regular expression matches as a whole."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError
        return value

    return Rule(parse, accepts)


def pem_file() -> Rule:
    """The path of a file of certificates in PEM form, which is read to check it."""

    def parse(value: Any) -> Path | None:
        if value is None:
            return None
        try:
            path = Path(value).expanduser()
            pem = path.read_bytes()
        except (OSError, TypeError, RuntimeError):
            raise ValueError from None
        if b"-----BEGIN " not in pem:
            raise ValueError
        return path

    return Rule(parse, "the path of a readable file of CA certificates in PEM form")


def url() -> Rule:
    """An absolute address over HTTPS or HTTP, without user name and fragment."""

    def parse(value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str) or not is_endpoint_url(value):
            raise ValueError
        return value

    return Rule(parse, "an address such as https://mail.example.com/oauth/callback")


def urls() -> Rule:
    """The beginnings of addresses, separated by commas.

    Each has a path, at least ``/``: ``https://app.example.com`` is also the beginning of an address at
    ``app.example.com.attacker.example``.
    """

    def parse(value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str) or not all(map(is_endpoint_url, split(value))):
            raise ValueError
        if not all(urlsplit(word).path for word in split(value)):
            raise ValueError
        return value

    return Rule(
        parse,
        "the beginnings of addresses, with a / after the host, e.g. https://app.example.com/;"
        " several separated by commas",
    )


def dns_servers() -> Rule:
    """IP addresses of name servers, each with an optional port, separated by commas."""

    def parse(value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError
        for word in split(value):
            name_server(word)
        return value

    return Rule(parse, "addresses of name servers, separated by commas, e.g. 9.9.9.9,[2620:fe::fe]:53")


def database_url() -> Rule:
    """A Postgres URL; refuses poolers that are known to fail. Nothing is connected to."""

    def parse(value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str) or not re.fullmatch(r"postgres(ql)?://[^\s\x00-\x1f\x7f]*", value):
            raise ValueError
        try:
            url = read_database_url(value)
        except ValueError:
            raise ValueError(_UNCLEAR) from None
        if "6543" in url.ports:
            raise ValueError(f"port 6543 is refused: {_POOLER}")
        is_pgbouncer = any("pgbouncer" in host.lower() for host in url.hosts)
        if is_pgbouncer or url.query.get("pgbouncer", "false") != "false":
            raise ValueError(f"PgBouncer is refused: {_POOLER}")
        return value

    return Rule(parse, _URL, secret=True)


def encryption_keys() -> Rule:
    """Keys for :func:`read_key`, separated by commas."""
    return Rule(
        _secrets(read_key),
        "32 random bytes in base64 or hex, as mailsync generate-key prints; several separated by commas",
        secret=True,
    )


def tokens() -> Rule:
    """Bearer tokens of at least 16 characters that an HTTP header can carry, separated by commas.

    A name may precede each of them: ``crm=…``.
    """

    def check(word: str) -> None:
        if not re.fullmatch(r"[!-~]{16,}", named(word)[1]):
            raise ValueError

    return Rule(
        _secrets(check),
        "at least 16 characters of plain ASCII without spaces; several separated by commas,"
        " each with an optional name: crm=…,search=…",
        secret=True,
    )


def named(word: str) -> tuple[str | None, str]:
    """The name and the token of ``name=token``; None for the name if ``=`` is only padding of base64."""
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9_-]{0,31})=([^=].*)", word)
    return (match[1], match[2]) if match else (None, word)


def read_key(word: str) -> bytes:
    """The 32 bytes of one encryption key: 64 hex digits, or base64 in either alphabet; raises ValueError."""
    if re.fullmatch(r"[0-9A-Fa-f]{64}", word):
        return bytes.fromhex(word)
    if not re.fullmatch(r"[A-Za-z0-9+/_-]{43}=?", word):
        raise ValueError
    return base64.urlsafe_b64decode(word[:43].replace("+", "-").replace("/", "_") + "=")


def split(words: str) -> list[str]:
    """The items of a comma-separated list, without blanks around them."""
    return [word.strip() for word in words.split(",")]


def _secrets(check: Callable[[str], object]) -> Callable[[Any], SecretStr | None]:
    def parse(value: Any) -> SecretStr | None:
        if value is None:
            return None
        words = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(words, str):
            raise ValueError
        for word in split(words):
            check(word)
        return SecretStr(words)

    return parse


def _amount(value: object, units: Mapping[str, int], low: float, high: float) -> float:
    """Read a number, or digits with a unit in any case; ValueError unless it is from `low` to `high`."""
    if isinstance(value, str):
        match = _AMOUNT.fullmatch(value)
        factors = {"": 1} | {name.lower(): unit for name, unit in units.items()}
        if not match or match[2].lower() not in factors:
            raise ValueError
        value = float(match[1]) * factors[match[2].lower()]
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError
    return value


def _in_units(number: int, units: Mapping[str, int]) -> str:
    """Write ``number`` in the largest unit that divides it: ``1h`` for 3600 s."""
    name, unit = max(((n, u) for n, u in units.items() if number % u == 0), key=lambda item: item[1])
    return f"{number // unit}{name}" if number else "0"
