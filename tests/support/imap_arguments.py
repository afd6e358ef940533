"""What the commands of the scripted server share: their arguments, and how they refuse them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.imap_text import Token
from tests.support.mailboxes import Folder

if TYPE_CHECKING:
    from tests.support.conversation import Conversation
    from tests.support.request import HonestRequest as Request


class Refused(Exception):
    """The tagged response without its tag: ``NO [NONEXISTENT] no such mailbox``."""


def words(token: Token, count: int | None = None) -> list[bytes]:
    """Return the words of a list, or the one word; raise Refused unless there are `count`."""
    found = [word for word in ([token] if isinstance(token, bytes) else token) if isinstance(word, bytes)]
    if count is not None and len(found) != count:
        raise Refused("BAD arguments")
    return found


def require(connection: Conversation, extension: bytes) -> None:
    """Raise Refused unless the server offers the extension."""
    if not connection.offers(extension):
        raise Refused(f"BAD {extension.decode()} is not offered")


def named_folder(request: Request) -> Folder:
    """Return the folder that the first argument names; raise Refused if there is none."""
    try:
        return request.account.folder(words(request.arguments[:1], 1)[0])
    except KeyError:
        raise Refused("NO [NONEXISTENT] Mailbox does not exist") from None


def selected_folder(request: Request) -> Folder:
    """Return the selected folder; raise Refused if there is none."""
    if request.connection.selected is None:
        raise Refused("BAD no mailbox is selected")
    return request.connection.selected
