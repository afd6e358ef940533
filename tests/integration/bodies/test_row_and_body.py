"""The attachments of a row, from Dovecot's BODYSTRUCTURE, are those that the reader of bodies finds."""

from __future__ import annotations

import io

from mailsync.mail import mime
from tests.support.dovecot import Dovecot
from tests.support.mime_messages import generated
from tests.support.turns import Mirror

# Dovecot cuts such names at the first blank, and finds no parts behind such boundaries
MISREAD_BY_DOVECOT = {"name without quotes", "boundary in RFC 2231"}
MESSAGES = 600

# what a row has of an attachment before the body is fetched, in the order of the parts
ATTACHMENTS = """
    select m.uid, a.part, a.filename, a.content_type, a.content_id, a.is_inline
    from messages m join attachments a on (a.account_id, a.message_pk) = (m.account_id, m.id)
    order by m.uid, string_to_array(a.part, '.')::int[]
"""


def test_generated_messages_have_the_same_attachments_in_row_and_body(
    database_url: str, dovecot: Dovecot
) -> None:
    messages = [
        message
        for message in map(generated, range(MESSAGES))
        if message.oddities.isdisjoint(MISREAD_BY_DOVECOT)
    ]
    assert len(messages) > MESSAGES / 2
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", (message.raw for message in messages))
    in_rows: dict[int, list[tuple[object, ...]]] = {}
    with Mirror(database_url, dovecot, user) as mirror:
        mirror.complete()
        for uid, *attachment in mirror.conn.execute(ATTACHMENTS):
            in_rows.setdefault(uid, []).append(tuple(attachment))
        assert mirror.value("select count(*) from messages") == len(messages)
    for uid, message in enumerate(messages, start=1):
        in_body = [
            (file.part, file.filename, file.content_type, file.content_id, file.is_inline)
            for file in mime.parse(io.BytesIO(message.raw)).attachments
        ]
        assert in_rows.get(uid, []) == in_body, (message.oddities, message.raw)
