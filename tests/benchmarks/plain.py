"""The obvious program: IMAPClient.fetch, the email package, executemany; 50 messages at a time."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any

from imapclient import IMAPClient

from mailsync.mail.headers import HEADER_FIELDS
from mailsync.model import FolderState
from mailsync.store.db import Connection
from tests.support.dovecot import User

BATCH = 50
FIELDS = f"BODY.PEEK[HEADER.FIELDS ({' '.join(HEADER_FIELDS)})]"
INSERT = """
insert into messages (account_id, folder_id, uidvalidity, uid, flags, internal_date, size_bytes,
    mime_structure, message_id, in_reply_to, references_header, reference_ids, sent_at, subject,
    from_email, from_name,
    to_emails, to_names, cc_emails, cc_names)
values (%s, %s, 1, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (account_id, folder_id, uidvalidity, uid) do update set flags = excluded.flags
"""


def sync(host: str, port: int, user: User, conn: Connection, folder: FolderState) -> None:
    """Mirror INBOX into `messages`, committing each batch."""
    client = IMAPClient(host, port, ssl=False)
    client.normalise_times = False
    client.login(user.name, user.password)
    client.select_folder("INBOX", readonly=True)
    uids = client.search()
    for at in range(0, len(uids), BATCH):
        found = client.fetch(
            uids[at : at + BATCH], ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODYSTRUCTURE", FIELDS]
        )
        rows = [(folder.account_id, folder.id, uid, *_row(data)) for uid, data in found.items()]
        with conn.cursor() as cursor:
            cursor.executemany(INSERT, rows)
        conn.commit()
    client.shutdown()


def _row(data: dict[bytes, Any]) -> tuple[object, ...]:
    block = next(value for key, value in data.items() if key.startswith(b"BODY[HEADER"))
    message = message_from_bytes(block)
    sender, *_ = _addresses(message, "From") or [(None, None)]
    to, cc = _addresses(message, "To"), _addresses(message, "Cc")
    references = message.get("References")
    try:
        sent_at = parsedate_to_datetime(message["Date"])
    except (TypeError, ValueError):
        sent_at = None
    return (
        [flag.decode() for flag in data[b"FLAGS"]],
        data[b"INTERNALDATE"],
        data[b"RFC822.SIZE"],
        json.dumps(data[b"BODYSTRUCTURE"], default=lambda value: value.decode("utf-8", "replace")),
        (message.get("Message-ID") or "").strip("<> ") or None,
        (message.get("In-Reply-To") or "").strip("<> ") or None,
        references,
        (references or "").replace("<", "").replace(">", "").split(),
        sent_at,
        str(make_header(decode_header(message.get("Subject") or ""))),
        sender[1],
        sender[0],
        [email for _, email in to],
        [name for name, _ in to],
        [email for _, email in cc],
        [name for name, _ in cc],
    )


def _addresses(message: Any, field: str) -> list[tuple[str, str]]:
    found = getaddresses([str(value) for value in message.get_all(field, [])])
    return [(str(make_header(decode_header(name))), email.lower()) for name, email in found]
