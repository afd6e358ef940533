"""One case: a message, and what a person reads in it."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypedDict

Listed = tuple[str | None, str | None]
"""An attachment's file name, and its content type; a type of None is not compared."""


class Expected(TypedDict, total=False):
    """The right values. A key that is left out is not compared.

    Texts are compared without the line breaks at their end. ``*_has`` are substrings that must occur, and
    ``text_hasnt`` ones that must not; ``files`` are all attachments in order, ``has_files`` some of them;
    ``file`` has the decoded content of attachments by name. ``warned_files`` are attachments that come with
    ``X-Content-Warning``. ``no_warning`` means that the body has no warning.
    """

    subject: str | None
    from_email: str | None
    from_name: str | None
    from_emails: list[str]
    to_emails: list[str]
    to_names: list[str | None]
    cc_emails: list[str]
    sent_at: str | None
    text: str | None
    html: str | None
    text_has: str | list[str]
    html_has: str | list[str]
    text_hasnt: str | list[str]
    files: list[Listed]
    has_files: list[Listed]
    file: dict[str, bytes]
    warned_files: list[str]
    no_warning: Literal[True]


class Case(NamedTuple):
    """A message and its right values; ``why`` says in a few words what is odd, and why these are right."""

    name: str
    raw: bytes
    why: str
    expect: Expected

    def __str__(self) -> str:
        return self.name
