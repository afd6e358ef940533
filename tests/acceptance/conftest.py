"""What the acceptance tests share beside tests/conftest.py."""

from __future__ import annotations

from tests.support.api import api, start_api
from tests.support.oauth_accounts import oauth_client, oauth_user

__all__ = ["api", "oauth_client", "oauth_user", "start_api"]
