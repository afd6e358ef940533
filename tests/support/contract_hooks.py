"""Values that schemathesis cannot derive from a schema; it loads this file (``hooks`` in its configuration).

A schema says which values are well-formed. It cannot say which mail server exists, or which cursors a list
has issued. So requests that should be accepted get such values here; those that should be refused are sent
unchanged.
"""

from __future__ import annotations

import os
from typing import Any

import requests
import schemathesis
from schemathesis import Case, HookContext

_CONNECTION = ("imap_host", "imap_port", "imap_security", "username", "password")
_IDS = ("account_id", "folder_id", "message_id")
_SERVER = tuple(os.environ.get(f"CONTRACT_{name.upper()}", "") for name in _CONNECTION)


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Make a request that should be accepted refer to objects that exist."""
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict):
        _connect_to_what_there_is(case.body, keeps_tokens=case.method == "POST")
    if isinstance(case.query, dict):
        _go_on_where_a_page_ended(case, kwargs)


def _connect_to_what_there_is(body: dict[str, Any], *, keeps_tokens: bool) -> None:
    """Store any other connection without a login, so that odd but well-formed values are stored too."""
    if str(body.get("sync_since") or "")[:4] > "2020":
        # a schema cannot express that a time is in the past
        body["sync_since"] = "2020" + str(body["sync_since"])[4:]
    if isinstance(body.get("oauth"), dict):
        # no provider has issued these tokens: a new account stores them unused, others keep their password
        body["oauth"]["provider"], body["verify"] = "corp", False
        if not keeps_tokens:
            del body["oauth"]
            body["password"] = _SERVER[-1]
    if "provider" in body:
        body["provider"] = "corp"
    if "return_url" in body:
        body["return_url"] = "https://app.example.com/connected"
    connection = tuple(str(body.get(name)) for name in _CONNECTION)
    if connection != _SERVER and any(name in body for name in _CONNECTION):
        body["verify"] = False


def _go_on_where_a_page_ended(case: Case, kwargs: dict[str, Any]) -> None:
    """Use the cursor after the first row of the same list, or none if there are no more rows."""
    name = next((name for name in ("after", "cursor") if name in case.query), None)
    if name is None or case.query[name] == "latest":
        return
    for parameter in ("after", "cursor"):
        case.query.pop(parameter, None)
    first = case.as_transport_kwargs(base_url=kwargs.get("base_url"))
    first["params"] = {**first.get("params", {}), "limit": 1}
    first["headers"] = {**first["headers"], "Authorization": f"Bearer {os.environ['API_TOKEN']}"}
    answer = requests.request(**first, timeout=30)
    cursor = answer.json().get("next_cursor") if answer.status_code == 200 else None
    if cursor:
        case.query[name] = cursor
