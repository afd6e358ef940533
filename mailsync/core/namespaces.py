"""Whose folders a listing names: the account's own, other users', or shared ones (RFC 2342); pure."""

from __future__ import annotations

from collections.abc import Iterable

from mailsync.core.folder_roles import is_inbox
from mailsync.model import ListedFolder, Namespace, Namespaces


def foreign_names(listed: Iterable[ListedFolder], namespaces: Namespaces | None) -> set[bytes]:
    """Return the wire names of folders that are not the account's own.

    The namespace with the longest matching prefix decides, and of two equal ones the account's own. A name
    that begins with ``#`` is foreign (RFC 9051 §5.1.2.1) unless a namespace of the account has that prefix.
    INBOX is always the account's own. `namespaces` is None if the server does not say.
    """
    known = namespaces or Namespaces()
    foreign = [*known.other_users, *known.shared]
    if not known.personal:
        # the account's own folders have to be somewhere
        foreign = [namespace for namespace in foreign if namespace.prefix]
    return {f.wire_name for f in listed if _is_foreign(f.wire_name, known.personal, foreign)}


def _is_foreign(name: bytes, personal: Iterable[Namespace], foreign: Iterable[Namespace]) -> bool:
    if is_inbox(name):
        return False
    own = _longest(name, personal)
    if name.startswith(b"#") and own <= 0:
        return True
    return _longest(name, foreign) > own


def _longest(name: bytes, namespaces: Iterable[Namespace]) -> int:
    """Return the length of the longest prefix that `name` has; -1 if it is in none of the namespaces."""
    return max((len(n.prefix) for n in namespaces if _is_in(name, n)), default=-1)


def _is_in(name: bytes, namespace: Namespace) -> bool:
    prefix, delimiter = namespace
    if prefix[:5].upper() == b"INBOX":
        name, prefix = b"INBOX" + name[5:] if is_inbox(name[:5]) else name, b"INBOX" + prefix[5:]
    if delimiter and prefix.endswith(delimiter):
        # the root of the namespace is listed without its delimiter
        return name.startswith(prefix) or name == prefix[: -len(delimiter)]
    if delimiter and prefix[-1:].isalnum():
        return name == prefix or name.startswith(prefix + delimiter)
    return name.startswith(prefix)
