"""What the acceptance tests share beside tests/conftest.py."""

from __future__ import annotations

from tests.support.api import api, start_api

__all__ = ["api", "start_api"]
