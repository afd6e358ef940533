"""The API against its own description: schemathesis sends what ``/openapi.json`` allows, and what it forbids.

It runs as a program, because only then all its phases run: the edges of each schema (coverage), random
requests (fuzzing) and sequences of them by links (stateful), with all checks and a readable report. For a
longer run: ``make contract EXAMPLES=300 SEED=2``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support import run_directory
from tests.support.api import StartApi
from tests.support.dovecot import Dovecot
from tests.support.population import Population, populate
from tests.support.programs import API_TOKEN, ROOT
from tests.support.stored import KEY

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES") or 15)
SEED = int(os.environ.get("CONTRACT_SEED") or 1)
AUTHORIZATION = "0123456789abcdef0123456789abcdef"


def configuration(there: Population) -> str:
    """The file ``schemathesis.toml``: which ids there are, and whom they may be used for."""
    dictionaries = {
        "accounts": there.mirrored,
        "folders": there.folders[there.mirrored[0]],
        "messages": there.messages,
        "with_attachment": there.with_attachment,
        "parts": ["2"],
        # tests may change and remove these
        "spare": there.spare,
        "spare_folders": there.folders[there.spare[0]],
        "hosts": [there.dovecot.host],
        "ports": [there.dovecot.port],
        "securities": ["plaintext"],
        "users": [there.user.name],
        "passwords": [there.user.password],
        "authorizations": [AUTHORIZATION],
    }
    listed = "\n".join(f"{name} = {{ values = {json.dumps(ids)} }}" for name, ids in dictionaries.items())
    return f"""
hooks = "tests.support.contract_hooks"
seed = {SEED}
workers = 1
continue-on-failure = true
request-timeout = 60
headers = {{ Authorization = "Bearer ${{API_TOKEN}}" }}
warnings = {{ fail-on = true }}
cache = {{ enabled = false }}

[generation]
max-examples = {EXAMPLES}
database = "none"

[dictionaries]
{listed}

[parameters]
"path.account_id" = {{ dictionary = "accounts" }}
"path.folder_id" = {{ dictionary = "folders" }}
"path.message_id" = {{ dictionary = "messages" }}
"path.part" = {{ dictionary = "parts" }}
"path.authorization_id" = {{ dictionary = "authorizations" }}
"body.imap_host" = {{ dictionary = "hosts" }}
"body.imap_port" = {{ dictionary = "ports" }}
"body.imap_security" = {{ dictionary = "securities" }}
"body.username" = {{ dictionary = "users" }}
"body.password" = {{ dictionary = "passwords" }}
"body.account_id" = {{ dictionary = "accounts" }}

[[operations]]
include-path-regex = "attachments"
parameters = {{ "path.message_id" = {{ dictionary = "with_attachment" }} }}

[[operations]]
include-tag = ["accounts", "folders"]
include-method = ["PATCH", "POST", "DELETE"]
parameters."path.account_id" = {{ dictionary = "spare" }}
parameters."path.folder_id" = {{ dictionary = "spare_folders" }}

# 410 is a valid answer to a valid request (SPEC §14)
[[operations]]
include-path-regex = "/(body|raw|attachments)"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "410"]
"""


@pytest.mark.long
def test_every_request_of_schemathesis_is_answered_as_documented(
    database_url: str, dovecot: Dovecot, start_api: StartApi, tmp_path: Path
) -> None:
    with populate(database_url, dovecot) as there:
        with psycopg.connect(database_url) as conn:
            conn.execute(
                "insert into mailsync.oauth_authorizations"
                " (id, provider, oauth_client_id, state_hash, key_id, verifier, expires_at)"
                " values (%s, 'corp', 'any-client', '', '', '', now())",
                [AUTHORIZATION],
            )
        api = start_api(
            WEB_CONCURRENCY="2",
            IMAP_ENCRYPTION_KEY=KEY,
            SYNC_MAX_ACCOUNTS="100000",
            OAUTH_CORP_CLIENT_ID="any-client",
            OAUTH_CORP_TOKEN_URL="https://127.0.0.1:1/token",
            OAUTH_CORP_AUTHORIZE_URL="https://127.0.0.1:1/authorize",
            OAUTH_CALLBACK_URL="https://mail.example.com/oauth/callback",
            OAUTH_RETURN_URLS="https://app.example.com/",
            PYTHONPATH=f"{ROOT / 'tests' / 'support' / 'offline'}{os.pathsep}{ROOT}",
        )
        (tmp_path / "schemathesis.toml").write_text(configuration(there))
        where = f"http://127.0.0.1:{api.port}/openapi.json"
        process = run_directory.spawn(
            [sys.executable, "-m", "schemathesis.cli", "run", where, "--checks", "all", "--no-color"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "API_TOKEN": API_TOKEN,
                "CONTRACT_IMAP_HOST": dovecot.host,
                "CONTRACT_IMAP_PORT": str(dovecot.port),
                "CONTRACT_IMAP_SECURITY": "plaintext",
                "CONTRACT_USERNAME": there.user.name,
                "CONTRACT_PASSWORD": there.user.password,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output = process.communicate()[0].decode(errors="replace")
        run_directory.forget(process.pid)
    print(output)
    assert process.returncode == 0, "see the report above"
    assert "Stateful" in output, "all phases ran"
    assert "Traceback" not in api.process.output
