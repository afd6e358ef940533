"""What a server sends while no command runs: read without waiting, in bounded memory."""

from __future__ import annotations

import re

from mailsync.imap.connection import Connection, Response
from mailsync.imap.status_responses import StatusResponse, parse_status_response

MOST_UNREAD = 64 * 1024
"""Bytes that a server may send to an idle session."""

_BYE = re.compile(rb"(?:\A|\n)\* BYE\b", re.IGNORECASE)


def arrived(connection: Connection) -> list[Response]:
    """Return the whole responses that have arrived, without waiting.

    Closes the connection if the peer has closed it, has said BYE, or has sent more than :data:`MOST_UNREAD`
    bytes at once. A completion of IDLE that came without DONE ends the IDLE.
    """
    if connection.closed:
        return []
    is_open = connection.reader.receive_now(MOST_UNREAD)
    responses = connection.reader.take_whole()
    for response in responses:
        if (command := connection.in_flight.completed_by(response[0])) is not None:
            completion = parse_status_response(response[0][len(command.tag) + 1 :], connection.mask)
            connection.completion = completion or StatusResponse("BAD", b"")
            connection.in_flight.remove(command.tag)
            connection.is_idling = False
        elif _BYE.match(response[0]):
            is_open = False
    if not is_open:
        connection.close()
    return responses


def release_memory(connection: Connection) -> None:
    """Free the read buffer and what belongs to the turn; close if the server has sent much unasked.

    The next turn begins by :meth:`Connection.resume`.
    """
    connection.timeouts.release()
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
