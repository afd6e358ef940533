"""``generate-key``, ``rotate-key``, ``migrate`` and ``preflight``."""

from __future__ import annotations

import base64
import secrets

import click

from mailsync.cli.common import (
    database,
    emit,
    json_option,
    judged,
    log_warnings_only,
    note,
    say,
    settings_for,
)
from mailsync.cli.terminal import many
from mailsync.config import find_environment
from mailsync.ops import preflight as checks
from mailsync.store import key_rotation, migrations, schema_diff


@click.command("generate-key")
@json_option
def generate_key(as_json: bool) -> None:
    """Print a new key for IMAP_ENCRYPTION_KEY: 32 random bytes in base64.

    Back it up. Without the key, no stored password can be read.

    \b
    Example:
      (umask 077; echo "IMAP_ENCRYPTION_KEY=$(mailsync generate-key)" >> .env)
    """
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    if as_json:
        emit({"key": key})
    else:
        click.echo(key)


@click.command("rotate-key")
@json_option
def rotate_key(as_json: bool) -> None:
    """Seal all stored passwords under the first key of IMAP_ENCRYPTION_KEY, in one transaction.

    Before: put the new key in front of the old one, with a comma between, wherever IMAP_ENCRYPTION_KEY is set
    (.env, systemd, the platform; .mailsync/key for `mailsync dev`), and restart the services. After: remove
    the old key. The services may run meanwhile, and you can run rotate-key again safely.

    \b
    Example:
      mailsync generate-key  # prints NEW; set IMAP_ENCRYPTION_KEY=NEW,OLD
      mailsync rotate-key    # then set IMAP_ENCRYPTION_KEY=NEW
    """
    settings = settings_for("DATABASE_URL", "IMAP_ENCRYPTION_KEY")
    with database(settings) as conn:
        rotation = key_rotation.rotate(conn, settings.encryption_keys())
    if as_json:
        emit(rotation)
        return
    if rotation.resealed:
        say(f"✓ {many(rotation.resealed, 'password')} sealed under key {rotation.key_id}, and opened again")
    else:
        say(f"✓ Nothing to do: all passwords are sealed under key {rotation.key_id}")
    for key, count in rotation.in_use.items():
        if key != rotation.key_id:
            # A process that still has another key in front added an account or set a password.
            say(
                f"✗ Key {key} has sealed {many(count, 'password')} meanwhile; put the new key in front"
                " everywhere, then run `mailsync rotate-key` again"
            )
    for key in rotation.unused:
        say(f"  Key {key} is no longer needed; remove it from IMAP_ENCRYPTION_KEY everywhere")


@click.command()
@click.option(
    "--status",
    is_flag=True,
    help="Show only what is applied, missing or changed by hand; exit with 1 unless all is applied.",
)
@json_option
def migrate(status: bool, as_json: bool) -> int:
    """Create the database schema, or apply the migrations that it lacks.

    Each migration is one transaction. A lock makes it safe to start several `migrate` at once.

    \b
    Example:
      mailsync migrate
      mailsync migrate --status
    """
    settings = settings_for("DATABASE_URL")
    with database(settings) as conn:
        if status:
            missing = [migration.name for migration in migrations.pending(conn)]
            applied = [name for m in migrations.migrations() if (name := m.name) not in missing]
            # The objects of a pending migration would all be listed as differences.
            changed = [] if missing else schema_diff.differences(conn)
            if as_json:
                differences = [difference.document for difference in changed]
                emit({"applied": applied, "pending": missing, "differences": differences})
            else:
                for name in applied:
                    say(f"✓ {name}")
                for name in missing:
                    say(f"✗ {name} (pending)")
                for difference in changed:
                    say(f"✗ {difference}")
            return 1 if missing or changed else 0
        applied = migrations.migrate(conn, settings)
    if as_json:
        emit({"applied": applied})
        return 0
    for name in applied:
        say(f"✓ {name}")
    say(f"{many(len(applied), 'migration')} applied" if applied else "The schema is up to date")
    return 0


@click.command()
@click.option("--production", is_flag=True, help="Also require API_TOKEN, and look for an account.")
@json_option
def preflight(production: bool, as_json: bool) -> int:
    """Check everything that the services need, and print a line for each check.

    Checks that depend on a failed one are left out. The exit code is 2 if a setting is missing or wrong, and
    1 if only other checks failed.

    \b
    Example:
      mailsync preflight --production
    """
    environment = find_environment()
    settings, wrong = judged(environment, *checks.required_variables(production=production))
    results = []
    for check in checks.run(log_warnings_only(settings, environment), production=production, wrong=wrong):
        results.append(check)
        if not as_json:
            say(check.line)
    failed = [check.error for check in results if check.error]
    if as_json:
        emit({"ok": not failed, "checks": [check.document for check in results]})
    if failed:
        note(f"mailsync: {many(len(failed), 'check')} failed")
    return checks.exit_code(failed)
