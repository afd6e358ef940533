"""Large providers, as their servers announce themselves and behave, for the scripted server and for crowds.

::

    profile = exchange_online()
    server.adopt(profile.habits)                      # a ScriptedServer
    profile.furnish(server.new_user())
    profile.throttle(server, "EXAMINE", 5000)
    server.bye(profile.farewell)                      # what comes every hour

    crowd = CrowdServer(profile.habits, certificate)
    crowd.add_users(500, profile.folders)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.support.access_tokens import AccessTokens
from tests.support.habits import Habits
from tests.support.mailboxes import Account
from tests.support.scripted import ScriptedServer


@dataclass(frozen=True)
class Profile:
    """A provider. ``folders`` are those of a new mailbox: wire name, and attributes in LIST.

    ``farewell`` is what the server says in BYE when a session has lasted its hour; ``throttling`` is its
    refusal of a command, with the milliseconds to wait where it names them.
    """

    habits: Habits
    folders: tuple[tuple[str, ...], ...]
    farewell: bytes
    throttling: bytes

    def furnish(self, account: Account) -> Account:
        """Create the folders of a new mailbox."""
        for name, *attributes in self.folders:
            if name != "INBOX":
                account.create(name, *(attribute.encode() for attribute in attributes))
        return account

    def throttle(
        self, server: ScriptedServer, command: str, milliseconds: int, times: int | None = None
    ) -> None:
        """Refuse the next commands of this name, all without `times`, in the provider's words."""
        words = self.throttling
        server.on(command, words % milliseconds if b"%d" in words else words, times)

    def without(self, *capabilities: bytes) -> Profile:
        """Return this provider without some capabilities."""
        kept = [name for name in self.habits.capabilities.split() if name not in capabilities]
        return replace(self, habits=replace(self.habits, capabilities=b" ".join(kept)))


def exchange_online(tokens: AccessTokens | None = None) -> Profile:
    """Exchange Online: no CONDSTORE, ESEARCH, LIST-STATUS or ENABLE; IDLE tells nothing of flags.

    It accepts XOAUTH2 with one of `tokens`, and no password although it announces AUTH=PLAIN. Without
    `tokens`, unlike the real server, it accepts passwords only.
    """
    extensions = b"SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
    return Profile(
        Habits(
            greeting=b"* OK The Microsoft Exchange IMAP4 service is ready. [TABWADAAUAAyADYANQBDAEEA]",
            capabilities=b"IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 " + extensions,
            connection_limit=16,
            # also the answer for a missing right or licence
            limit_refusal=b"BAD User is authenticated but not connected.",
            idle_reports_flags=False,
            tokens=tokens,
            token_farewell=b"Session invalidated - AccessTokenExpired",
            accepts_passwords=tokens is None,
            login_refusal=b"NO %s failed.",
            explains_refusals=False,
        ),
        folders=(
            ("Archive",),
            ("Calendar",),
            ("Conversation History",),
            ("Deleted Items", r"\Trash"),
            ("Drafts", r"\Drafts"),
            ("INBOX", r"\Marked"),
            ("Junk Email", r"\Junk"),
            ("Outbox",),
            ("Sent Items", r"\Sent"),
        ),
        farewell=b"Connection is closed. 13",
        throttling=b"BAD Request is throttled. Suggested Backoff Time: %d milliseconds",
    )


def gmail(tokens: AccessTokens | None = None) -> Profile:
    """Gmail: CONDSTORE, ESEARCH and LIST-STATUS, but neither QRESYNC nor NOTIFY; labels as folders.

    It announces its capabilities again with the answer to a login. Use ``without(b"LIST-STATUS")`` for the
    server of some years ago. It accepts one of `tokens` by XOAUTH2 and OAUTHBEARER.
    """
    both = b"IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 "
    return Profile(
        Habits(
            greeting=b"* OK Gimap ready for requests from 192.0.2.1 ab12mb345cde",
            capabilities_before_login=both + b"XYZZY SASL-IR AUTH=XOAUTH2 AUTH=PLAIN "
            b"AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER",
            capabilities=both + b"UIDPLUS COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT "
            b"LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584",
            announces_capabilities=True,
            connection_limit=15,
            limit_refusal=b"NO [ALERT] Too many simultaneous connections. (Failure)",
            tokens=tokens,
        ),
        folders=(
            ("INBOX",),
            ("[Gmail]", r"\Noselect"),
            ("[Gmail]/All Mail", r"\All"),
            ("[Gmail]/Drafts", r"\Drafts"),
            ("[Gmail]/Important", r"\Important"),
            ("[Gmail]/Sent Mail", r"\Sent"),
            ("[Gmail]/Spam", r"\Junk"),
            ("[Gmail]/Starred", r"\Flagged"),
            ("[Gmail]/Trash", r"\Trash"),
            ("Receipts",),
        ),
        farewell=b"Session expired, please login again.",
        throttling=b"NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)",
    )


PROVIDERS = {"Exchange Online": exchange_online, "Gmail": gmail}
