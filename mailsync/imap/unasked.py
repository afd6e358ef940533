"""Responses that come while no command runs: read without waiting, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailsync.imap.connection import Connection, Response
from mailsync.imap.status_responses import StatusResponse, parse_status_response

MOST_UNREAD = 64 * 1024
"""Bytes that a server may send to an idle session at once."""
MOST_PUSHED = 1024 * 1024
"""Bytes that a server may send to a parked session before the next turn."""

_BYE = re.compile(rb"(?:\A|\n)\* BYE\b", re.IGNORECASE)


def arrived(connection: Connection) -> Iterator[Response]:
    """Yield the whole untagged responses that have arrived, without waiting.

    Closes the connection if the peer has closed it, has said BYE or a line that belongs to no command, has
    sent more than :data:`MOST_UNREAD` bytes at once, or more than :data:`MOST_PUSHED` since
    :func:`release_memory`. A completion of IDLE that came without DONE ends the IDLE.
    """
    if connection.closed:
        return
    is_open = connection.reader.receive_now(MOST_UNREAD)
    for response in connection.reader.take_whole():
        line = response[0]
        if line.startswith(b"* "):
            is_open = is_open and not _BYE.match(line)
            yield response
        elif (command := connection.in_flight.completed_by(line)) is not None:
            completion = parse_status_response(line[len(command.tag) + 1 :], connection.mask)
            connection.complete(command, completion or StatusResponse("BAD", b""))
        else:
            is_open = is_open and connection.may_ignore(line)
    if not is_open:
        connection.close()


def release_memory(connection: Connection) -> None:
    """Free the read buffer and what belongs to the turn; close if the server has sent much unasked.

    From then on, little may come until a command is sent. The next turn begins by :meth:`Connection.resume`.
    """
    connection.timeouts.release()
    connection.reader.allow(MOST_PUSHED)
    if not connection.closed and not connection.reader.trim(MOST_UNREAD):
        connection.close()


def is_alive(connection: Connection) -> bool:
    """Whether the peer has neither closed the connection nor said BYE; sends no command."""
    if connection.closed:
        return False
    unread = connection.reader.peek()
    if unread is None or len(unread) > MOST_UNREAD or _BYE.search(unread):
        connection.close()
    return not connection.closed
