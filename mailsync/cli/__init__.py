"""The command line: one click command for every operation."""

from __future__ import annotations

import click

from mailsync import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mailsync")
def main() -> None:
    """Mirror the metadata of IMAP mailboxes into Postgres, and keep the mirror true."""
