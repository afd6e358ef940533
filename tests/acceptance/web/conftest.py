"""What the tests of the API share beside tests/acceptance/conftest.py."""

from __future__ import annotations

from tests.support.oauth_api import product, start_product

__all__ = ["product", "start_product"]
