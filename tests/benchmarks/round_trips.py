"""A distant server: how often a session waits for it, with commands one by one and together (SPEC §22.8).

The scripted server answers as Exchange Online (no LIST-STATUS) or as Dovecot with IDLE.
"""

from __future__ import annotations

from collections.abc import Callable

from mailsync.imap import FlightLimit, Session, TokenBucket, open_session
from mailsync.model import Endpoint
from mailsync.uidset import UidSet
from tests.benchmarks.bench import table, timed
from tests.support import mail
from tests.support.habits import CAPABILITIES, Habits
from tests.support.imap_sessions import settings_with
from tests.support.mailboxes import Account
from tests.support.profiles import exchange_online
from tests.support.proxy import Proxy
from tests.support.scripted import ScriptedServer

FOLDERS = 15
ROUND_TRIPS = (0.0, 0.02, 0.05)
PROFILES = {
    "Exchange Online": exchange_online().habits,
    "Dovecot": Habits(capabilities=CAPABILITIES + b" IDLE"),
}


def run(round_trips: tuple[float, ...] = ROUND_TRIPS, folders: int = FOLDERS) -> None:
    """Print the table."""
    rows = []
    for profile, habits in PROFILES.items():
        for latency in round_trips:
            alone, together = (_measure(habits, latency, folders, most) for most in (1, 25))
            rows += [
                (
                    profile,
                    f"{latency * 1e3:.0f} ms",
                    what,
                    f"{alone[what][0]} → {together[what][0]}",
                    f"{alone[what][1] * 1e3:.0f} → {together[what][1] * 1e3:.0f} ms",
                    f"{alone[what][1] / together[what][1]:.1f}",
                )
                for what in alone
            ]
    table(
        f"One session, {folders} folders: commands one by one → together",
        ("server", "round trip", "what", "flights", "time", "before ÷ after"),
        rows,
    )


def _measure(habits: Habits, latency: float, folders: int, most: int) -> dict[str, tuple[int, float]]:
    """Return, by what is done, the number of writes that reach the server, and the seconds."""
    server = ScriptedServer()
    server.adopt(habits)
    user = server.new_user()
    for number in range(1, folders):
        user.create(f"Folder {number}")
    user.folder("INBOX").add(mail.message(1))
    proxy = Proxy((server.host, server.port))
    writes: list[int] = []
    proxy.on_piece = writes.append
    names = [folder.encode() for folder in ("INBOX", *(f"Folder {number}" for number in range(1, folders)))]
    figures: dict[str, tuple[int, float]] = {}

    def measure(what: str, work: Callable[[], object]) -> None:
        server.latency = latency
        writes.clear()
        seconds = timed(work)
        figures[what] = len(writes), seconds
        server.latency = 0.0

    sessions: list[Session] = []
    try:
        measure("a login", lambda: sessions.append(_logged_in(proxy, user, most)))
        [session] = sessions
        session.idle(b"INBOX")
        measure("a quiet tick", lambda: _tick(session, names))
        user.folder(f"Folder {folders - 1}").add(mail.message(2))
        measure("a tick with a new message", lambda: _tick(session, names, names[-1]))
    finally:
        for session in sessions:
            session.close()
        proxy.stop()
        server.stop()
    return figures


def _logged_in(proxy: Proxy, user: Account, most: int) -> Session:
    return open_session(
        Endpoint(proxy.host, proxy.port, "plaintext", user.name),
        user.password,
        settings_with(),
        bucket=TokenBucket(1e6, 1_000_000, 0),
        on_wait=lambda: None,
        flights=FlightLimit(most),
    )


def _tick(session: Session, names: list[bytes], changed: bytes | None = None) -> None:
    """Look at all folders, fetch what is new in one of them, and idle again."""
    if session.has_list_status:
        session.list_status()
    else:
        left = names
        while left:
            left = left[len(session.statuses(left)) :]
    if changed is not None:
        session.examine(changed)
        [batch] = session.fetch_messages([UidSet([(1, 1)])])
        assert batch.messages
    session.idle(b"INBOX")
