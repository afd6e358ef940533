"""Choose the server of a new account on the command line: look for it, and ask a person where that fails."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from mailsync.accounts import find_server
from mailsync.accounts.add import AccountRequest
from mailsync.accounts.find_server import Found
from mailsync.cli.common import note
from mailsync.config import Settings
from mailsync.core.providers import likely_domain


def choose_server(request: AccountRequest, settings: Settings, *, discover: bool) -> AccountRequest:
    """Return the request with a server, if it names none and its provider is not known (SPEC §23.6).

    Says what was found and how. Without a terminal to ask on, raises InvalidInput if nothing was found;
    without `discover`, nothing is looked for.
    """
    if not find_server.is_unknown(request):
        return request
    if not sys.stdin.isatty():
        return _found_alone(request, settings) if discover else request
    request = replace(request, email=_confirm_domain(request.email))
    if not find_server.is_unknown(request):
        return request
    domain = request.email.rpartition("@")[2]
    if discover:
        note(f"Looking for the IMAP server of {domain} …")
        lookup = find_server.look_up(request, settings, _confirm_server)
        if lookup.found:
            _say(lookup.found)
            return find_server.with_server(request, lookup.found)
        for line in lookup.summary:
            note(f"  {line}")
    host: str = click.prompt(f"IMAP server of {domain}", err=True)
    return replace(request, host=host.strip())


def _found_alone(request: AccountRequest, settings: Settings) -> AccountRequest:
    request, found = find_server.fill_in(request, settings)
    if found:
        _say(found)
    return request


def _say(found: Found) -> None:
    note(f"Found {found}")


def _confirm_domain(address: str) -> str:
    """The address, with the domain of a provider if a person confirms that it was meant."""
    local, _, domain = address.rpartition("@")
    likely = likely_domain(domain)
    if likely and click.confirm(f"Did you mean {local}@{likely}?", default=True, err=True):
        return f"{local}@{likely}"
    return address


def _confirm_server(found: Found) -> bool:
    """Whether a person trusts a server outside the domain that only a DNS record names."""
    return click.confirm(f"{found.host}: {found.how}. Send the password there?", default=False, err=True)
