"""Every block of SQL has a test."""

from __future__ import annotations

from tests.documents.querying import test_changes, test_reading, test_rights, test_searching
from tests.documents.querying.asking import PUSH, QUERYING, README

TESTS = (test_reading, test_searching, test_changes, test_rights)


def test_no_block_of_the_documents_is_without_a_test() -> None:
    assert all(TESTS), "importing them has told which sections they test"
    assert QUERYING.untested() == []
    assert README.untested() == []
    assert PUSH.untested() == []
