"""The command line: one click command for every operation (SPEC §20).

A command's module in ``commands/`` is imported when the command runs, so ``mailsync --help`` is quick. An
error ends in one line on stderr and an exit code: 0 success, 1 failure, 2 usage or configuration, 3 busy,
4 authentication failed.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from typing import TextIO

import click

from mailsync import __version__
from mailsync.errors import MailsyncError
from mailsync.ops import core_dumps

INTERRUPTED = 130

_LONGEST_NAME = 40
"""The largest number of characters of an unknown command that its error repeats."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Try it": {
        "demo": ("demo", "Watch a sample mailbox become rows, in a few seconds."),
        "dev": ("dev", "Run the API and the worker here, with an embedded Postgres."),
    },
    "Set up": {
        "generate-key": ("maintenance", "Print a new IMAP_ENCRYPTION_KEY."),
        "migrate": ("maintenance", "Create or update the database schema."),
        "preflight": ("maintenance", "Check everything that the services need."),
    },
    "Accounts": {
        "add-account": ("add_account", "Add a mailbox, after testing its connection."),
        "list-accounts": ("list_accounts", "List the accounts with their states and sizes."),
        "check-account": ("check_account", "Show what is wrong with an account and what to do."),
        "pause-account": ("accounts", "Stop syncing an account until you resume it."),
        "resume-account": ("accounts", "Resume a paused account."),
        "reset-account": ("accounts", "Clear an account's failures and timers."),
        "set-password": ("add_account", "Store a new password, after testing it."),
        "reauthorize": ("reauthorize", "Authorize an account at its provider again."),
        "remove-account": ("accounts", "Delete an account and all its rows."),
    },
    "Services": {
        "start": ("dev", "Run the production checks, then the API and the worker."),
        "worker": ("services", "Run the worker, which keeps the mirror up to date."),
        "api": ("services", "Run the HTTP API."),
    },
    "Mail": {
        "status": ("status", "Show all accounts: states, lags, progress and errors."),
        "sync": ("sync", "Sync one account now, until it is complete."),
        "verify": ("verify", "Compare an account's rows with the mail server."),
    },
    "Folders": {
        "list-folders": ("folders", "List an account's folders."),
        "track-folder": ("folders", "Mirror a folder that is left out."),
        "untrack-folder": ("folders", "Leave a folder out of the mirror."),
    },
    "Maintenance": {
        "rotate-key": ("maintenance", "Seal all stored passwords under a new key."),
    },
}
"""Command → its module in ``commands/`` and its help in one line, in the order of ``mailsync --help``."""

_COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class _Commands(click.Group):
    """A group that imports a command's module only when the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"mailsync.cli.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            from mailsync.cli.terminal import closest

            meant = closest(name, _COMMANDS)
            suggestion = f"; did you mean `mailsync {meant}`?" if meant else ""
            shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
            ctx.fail(f"No such command {shown!r}{suggestion}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _COMMANDS))
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), text) for name, (_, text) in commands.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="Settings come from the environment and from the file .env; .env.example lists them. "
    "'mailsync COMMAND --help' explains a command with an example.",
)
@click.version_option(__version__, prog_name="mailsync")
def cli() -> None:
    """Mirror the metadata of IMAP mailboxes into Postgres, and keep it up to date.

    \b
    Example:
      mailsync demo
      mailsync add-account you@fastmail.com
    """


def main() -> None:
    """Run the command named by the arguments, and end the process with its exit code."""
    core_dumps.forbid()
    # If our parent closed stdout, the next file that we open would get its number, and our output.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks becomes "?" instead of an error.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        if not _flushed(stream):
            # Otherwise Python would flush again at exit, fail again, and end with exit code 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def _run() -> int:
    try:
        code = cli.main(prog_name="mailsync", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see '{context.command_path} --help')" if context else ""
        return _fail(f"{error.format_message().rstrip('.')}{hint}", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except MailsyncError as error:
        _show_traceback()
        return _fail(explain(error), error.exit_code)
    except OSError as error:
        if error.errno == errno.EPIPE:
            # The reader of our output, such as `head`, has closed the pipe.
            return 1
        if error.errno in _NO_ROOM and error.filename is None:
            return _fail(f"the output cannot be written: {os.strerror(error.errno or 0)}", 1)
        return _unexpected(error)
    except Exception as error:
        return _unexpected(error)


def explain(error: MailsyncError) -> str:
    """The error in one line, after the step of a connection test that failed."""
    if error.step and error.exit_code != 2:
        return f"{error.step} failed: {error}"
    return str(error)


def _unexpected(error: Exception) -> int:
    shown = _show_traceback()
    hint = "" if shown else "; run it again with LOG_LEVEL=DEBUG to see the traceback"
    return _fail(f"unexpected {type(error).__name__}: {error}{hint}", 1)


def _fail(text: str, code: int) -> int:
    from mailsync.cli.terminal import printable, spell_symbols
    from mailsync.redaction import redact

    with contextlib.suppress(OSError):
        click.echo(spell_symbols(f"mailsync: {printable(redact(' '.join(text.split())))}"), err=True)
    return code


def _flushed(stream: TextIO) -> bool:
    """Flush the stream; returns whether that worked."""
    try:
        stream.flush()
    except OSError:
        return False
    return True


def _show_traceback() -> bool:
    if os.environ.get("LOG_LEVEL", "").strip().upper() != "DEBUG":
        return False
    import traceback

    from mailsync.logs import indented

    click.echo("\n".join(indented(traceback.format_exc())), err=True)
    return True
