"""The command line: one click command for every operation (SPEC §20).

Commands live in modules of ``commands/`` and are imported when they are called, so ``mailsync --help`` is
quick. What goes wrong ends in one line on stderr and an exit code: 0 done, 1 failed, 2 usage or
configuration, 3 busy, 4 authentication failed.
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

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Begin": {
        "demo": ("demo", "See a sample mailbox become rows, in a few seconds."),
        "dev": ("dev", "Run API and worker in this terminal, with a Postgres of their own."),
        "generate-key": ("maintenance", "Print a new IMAP_ENCRYPTION_KEY."),
        "rotate-key": ("maintenance", "Seal all stored passwords under a new key."),
        "migrate": ("maintenance", "Bring the database's schema up to date."),
        "preflight": ("maintenance", "Check everything that the services need."),
    },
    "Services": {
        "start": ("dev", "Check as for production, then run API and worker."),
        "api": ("services", "Run the HTTP API."),
        "worker": ("services", "Run the worker that keeps the mirror true."),
    },
    "Accounts": {
        "add-account": ("add_account", "Add a mailbox, after a connection test."),
        "list-accounts": ("list_accounts", "List the accounts."),
        "check-account": ("check_account", "Show one account's state, folders, lock and last runs."),
        "pause-account": ("accounts", "Stop syncing an account until it is resumed."),
        "resume-account": ("accounts", "Go on with a paused account."),
        "reset-account": ("accounts", "Clear an account's failures and timers."),
        "set-password": ("add_account", "Store a new password, after a connection test."),
        "remove-account": ("accounts", "Delete an account with all its rows."),
    },
    "Folders": {
        "list-folders": ("folders", "List an account's folders."),
        "track-folder": ("folders", "Mirror a folder that is left out."),
        "untrack-folder": ("folders", "Leave a folder out of the mirror."),
    },
    "Mail": {
        "sync": ("sync", "Sync one account now, to the end."),
        "verify": ("verify", "Compare an account's rows with the server, message by message."),
        "status": ("status", "Show states, lags, progress and errors of all accounts."),
    },
}
"""Command → its module in ``commands/`` and its help in one line, as ``mailsync --help`` shows them."""

_COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class _Commands(click.Group):
    """A group that imports a command's module only when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"mailsync.cli.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _COMMANDS))
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), text) for name, (_, text) in commands.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="Settings come from the environment and from .env; see .env.example. "
    "'mailsync COMMAND --help' has an example of each command.",
)
@click.version_option(__version__, prog_name="mailsync")
def cli() -> None:
    """Mirror the metadata of IMAP mailboxes into Postgres, and keep the mirror true."""


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    core_dumps.forbid()
    # closed by who started us: what is opened next would get its number, and what is printed
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show a character gets another one rather than an error
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        if not _flushed(stream):
            # Python would try once more at its exit, complain, and end with 120
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
        where = getattr(error, "ctx", None)
        hint = f" (see '{where.command_path} --help')" if where else ""
        return _fail(f"{error.format_message().rstrip('.')}{hint}", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except MailsyncError as error:
        _show_traceback()
        return _fail(explain(error), error.exit_code)
    except OSError as error:
        if error.errno == errno.EPIPE:
            # whoever read our output has enough
            return 1
        if error.errno in _NO_ROOM and error.filename is None:
            return _fail(f"the output cannot be written: {os.strerror(error.errno or 0)}", 1)
        return _unexpected(error)
    except Exception as error:
        return _unexpected(error)


def explain(error: MailsyncError) -> str:
    """The error in one line; the step of a connection test that failed is named first."""
    if error.step and error.exit_code != 2:
        return f"{error.step} failed: {error}"
    return str(error)


def _unexpected(error: Exception) -> int:
    shown = _show_traceback()
    hint = "" if shown else " (LOG_LEVEL=DEBUG shows where)"
    return _fail(f"unexpected {type(error).__name__}: {error}{hint}", 1)


def _fail(text: str, code: int) -> int:
    from mailsync.cli.terminal import printable
    from mailsync.redaction import redact

    with contextlib.suppress(OSError):
        click.echo(f"mailsync: {printable(redact(' '.join(text.split())))}", err=True)
    return code


def _flushed(stream: TextIO) -> bool:
    """Write what the stream still holds; whether that could be done."""
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
