"""What the tests of the API share beside tests/acceptance/conftest.py."""

from __future__ import annotations

from tests.support.oauth_api import finding_product, product, start_product

__all__ = ["finding_product", "product", "start_product"]
