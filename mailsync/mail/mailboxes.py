"""Collects the mailboxes of one address field: addresses and names as they are stored; pure."""

from __future__ import annotations

from typing import NamedTuple

from mailsync.mail.text import clamp, cut, decode_words_checked

MAX_ADDRESSES = 1_000
"""Entries of one list that are kept."""
MAX_NAME_BYTES = 1_000
"""Bytes of UTF-8 that a display name keeps."""

_AROUND = " \t\r\n<>()[],;:\"'"
"""Characters around an address inside text."""


class AddressList(NamedTuple):
    """The addresses of one field.

    ``emails`` are lower-case, ``names`` aligned with them; ``lone_name`` is the first name without an
    address. ``problems`` holds those of ``charset``, ``truncated`` and ``unreadable`` that occurred.
    """

    emails: tuple[str, ...] = ()
    names: tuple[str | None, ...] = ()
    lone_name: str | None = None
    problems: frozenset[str] = frozenset()


class Mailboxes:
    """The mailboxes parsed so far."""

    def __init__(self) -> None:
        self.emails: list[str] = []
        self.names: list[str | None] = []
        self.lone_name: str | None = None
        self.problems: set[str] = set()

    @property
    def is_full(self) -> bool:
        """Whether the list already has :data:`MAX_ADDRESSES` addresses."""
        return len(self.emails) >= MAX_ADDRESSES

    def as_list(self) -> AddressList:
        """The result."""
        return AddressList(tuple(self.emails), tuple(self.names), self.lone_name, frozenset(self.problems))

    def add(self, name: str, email: str) -> None:
        """Add one mailbox; `name` and `email` are as in the header, unquoted.

        A name that ends in the address again loses that. Without an address, the name is kept as
        ``lone_name``. After :data:`MAX_ADDRESSES`, nothing is added.
        """
        shown = self._decoded(name)
        address = self._address(email)
        if not address:
            self._add_lone(shown or self._decoded(email))
        elif self.is_full:
            self.problems.add("truncated")
        else:
            before, _, last = shown.rpartition(" ")
            if before and last.strip(_AROUND).removeprefix("mailto:").lower() == address:
                shown = before
            self.emails.append(address)
            self.names.append(self._cut(shown) or None)

    def add_one_in_text(self, text: str) -> None:
        """Add the mailbox in `text`, which has one @, such as ``Roth, Ida <ida@x.example>``."""
        words = text.split()
        email = next(word for word in words if "@" in word)
        address = email.strip(_AROUND)
        if address.strip("@") == address:
            self.add(" ".join(word for word in words if word is not email).strip(" ,;\"'"), address)
        else:
            self._add_lone(text)

    def _add_lone(self, shown: str) -> None:
        if shown and not shown.endswith(":;"):  # <undisclosed-recipients:;>
            self.lone_name = self.lone_name or self._cut(shown)
            self.problems.add("unreadable")

    def _decoded(self, text: str) -> str:
        text, charset_fits = decode_words_checked(text)
        if not charset_fits:
            self.problems.add("charset")
        return " ".join(text.split())

    def _cut(self, text: str) -> str:
        shown = cut(text, MAX_NAME_BYTES)
        if len(shown) < len(text):
            self.problems.add("truncated")
        return shown

    def _address(self, text: str) -> str:
        """Return the stored form of an address; empty if it is none, such as ``Ann Bell``."""
        if "=?" in text:
            text = decode_words_checked(text)[0]
        text = text.strip().lower()
        if text[:1] == "/":  # X.400 and Exchange: the names in it may have blanks
            text = " ".join(text.split())
        elif '"' not in text:
            words = text.split()
            if len(words) > 1 and "@" not in text:
                return ""
            text = "".join(words)
        if text[:1] == "@" and ":" in text:
            text = text.partition(":")[2]  # RFC 5322 §4.4: <@relay.example:user@example>
        if text.startswith("mailto:"):
            text = text[7:].partition("?")[0]
        text = text.removeprefix("smtp:")
        if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"":
            text = text[1:-1]
        if text[:1] == "@" or text[-1:] == "@" or text[-2:] == ":;":
            return ""
        address = clamp(text)
        if address != text:
            self.problems.add("truncated")
        return address
