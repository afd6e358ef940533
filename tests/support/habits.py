"""What a server of the tests offers and how it behaves; tests may change each attribute at any time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.access_tokens import AccessTokens

CAPABILITIES = (
    b"IMAP4rev1 LITERAL+ ID ENABLE UNSELECT ESEARCH LIST-EXTENDED LIST-STATUS SPECIAL-USE CONDSTORE QRESYNC"
)


@dataclass
class Habits:
    """The habits of one server.

    ``capabilities`` is space-separated; ``capabilities_before_login`` are others until then, and with
    ``announces_capabilities`` the answer to a login names them. A ``greeting`` of None sends none.
    ``latency`` is the round trip in seconds: commands that arrive together are answered together.
    ``delimiter`` is that of folder names, None for NIL. ``connection_limit`` is how many sessions a user may
    have; a further login is refused by ``limit_refusal``. Without ``idle_reports_flags``, IDLE reports only
    EXISTS and EXPUNGE. Without ``notify_reports_selected``, NOTIFY never reports a change that is noticed
    while its folder is selected, as Dovecot.

    ``tokens`` are the access tokens that open mailboxes, None for a server that knows none. A session ends
    with its token, by a BYE with ``token_farewell``. Without ``accepts_passwords``, every password is wrong.
    ``login_refusal`` refuses LOGIN and AUTHENTICATE, whose name may stand in it (``%s``); a refused token is
    explained by a challenge first if ``explains_refusals``. ``closed_refusal`` answers the commands of a user
    whose mailbox is not open (``Account.is_open``).
    """

    capabilities: bytes = CAPABILITIES
    capabilities_before_login: bytes | None = None
    announces_capabilities: bool = False
    greeting: bytes | None = b"* OK ready"
    latency: float = 0.0
    delimiter: bytes | None = b"/"
    connection_limit: int | None = None
    limit_refusal: bytes = b"NO [LIMIT] Too many connections"
    idle_reports_flags: bool = True
    notify_reports_selected: bool = False
    tokens: AccessTokens | None = None
    token_farewell: bytes = b"Token expired"
    accepts_passwords: bool = True
    login_refusal: bytes = b"NO [AUTHENTICATIONFAILED] Authentication failed."
    explains_refusals: bool = True
    closed_refusal: bytes = b"BAD User is authenticated but not connected."

    def adopt(self, habits: Habits) -> None:
        """Behave like this from now on."""
        for field in fields(Habits):
            setattr(self, field.name, getattr(habits, field.name))
