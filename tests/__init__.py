"""The tests; README.rst beside this file says which test is where."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout that is tested."""
