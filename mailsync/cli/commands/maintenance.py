"""``migrate``, ``preflight`` and ``generate-key``."""

from __future__ import annotations

import base64
import secrets

import click

from mailsync.cli.common import (
    database,
    emit,
    environment,
    json_option,
    judged,
    log_warnings_only,
    note,
    say,
    settings_for,
)
from mailsync.cli.terminal import many
from mailsync.ops import preflight as checks
from mailsync.store import key_rotation, migrations, schema_diff


@click.command("generate-key")
@json_option
def generate_key(as_json: bool) -> None:
    """Print a new key for IMAP_ENCRYPTION_KEY: 32 random bytes in base64.

    Keep it: without it no stored password opens.

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
    """Seal all stored passwords under the first key of IMAP_ENCRYPTION_KEY, all of them or none.

    First store the new key in front of the old one where all processes find it: where IMAP_ENCRYPTION_KEY is
    set for them (.env, systemd, the platform), for `mailsync dev` in .mailsync/key. Restart them, run this,
    then take the old key away. Services may run meanwhile. Run again it changes nothing.

    \b
    Example:
      mailsync generate-key    # prints NEW: IMAP_ENCRYPTION_KEY=NEW,OLD in .env
      mailsync rotate-key      # and then IMAP_ENCRYPTION_KEY=NEW
    """
    settings = settings_for("DATABASE_URL", "IMAP_ENCRYPTION_KEY")
    with database(settings) as conn:
        done = key_rotation.rotate(conn, settings.encryption_keys())
    if as_json:
        emit(done)
        return
    if done.resealed:
        say(f"✓ {many(done.resealed, 'password')} sealed under key {done.key_id}, and opened again")
    else:
        say(f"✓ Nothing to do: no password is sealed under another key than {done.key_id}")
    for key, count in done.in_use.items():
        if key != done.key_id:
            # an account was added, or a password set, by a process that has another key in front
            say(f"✗ Key {key} has sealed {many(count, 'password')} meanwhile; run this again")
    for key in done.unused:
        say(f"  Key {key} is no longer needed; take it out of IMAP_ENCRYPTION_KEY everywhere")


@click.command()
@click.option(
    "--status",
    is_flag=True,
    help="Only show what is applied, missing or changed by hand; exit 1 if anything is missing or changed.",
)
@json_option
def migrate(status: bool, as_json: bool) -> int:
    """Create the schema if need be and apply the migrations that are missing.

    Each runs in one transaction, under a lock, so several may start at once.

    \b
    Example:
      mailsync migrate
      mailsync migrate --status
    """
    settings = settings_for("DATABASE_URL")
    with database(settings) as conn:
        if status:
            missing = [migration.name for migration in migrations.pending(conn)]
            done = [migration.name for migration in migrations.migrations() if migration.name not in missing]
            # each object of a pending migration would be listed as missing
            changed = [] if missing else schema_diff.differences(conn)
            if as_json:
                emit(
                    {"applied": done, "pending": missing, "differences": [each.document for each in changed]}
                )
            else:
                for name in done:
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
@click.option("--production", is_flag=True, help="Also ask for an API token, and look for an account.")
@json_option
def preflight(production: bool, as_json: bool) -> int:
    """Check everything that the services need: one line for each thing, ✓ or ✗.

    A check that depends on a failed one is left out. Exit 2 if a setting is missing or wrong, 1 if only other
    checks failed.

    \b
    Example:
      mailsync preflight --production
    """
    found = environment()
    settings, wrong = judged(found, *checks.variables(production=production))
    results = []
    for check in checks.run(log_warnings_only(settings, found), production=production, wrong=wrong):
        results.append(check)
        if not as_json:
            say(check.line)
    failed = [check.error for check in results if check.error]
    if as_json:
        emit({"ok": not failed, "checks": [check.document for check in results]})
    if failed:
        note(f"mailsync: {many(len(failed), 'check')} failed")
    return checks.exit_code(failed)
