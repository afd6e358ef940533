"""Every reason that an account's state can have has a sentence that says which step helps."""

from __future__ import annotations

import re
import shlex

from mailsync import errors
from mailsync.core.advice import ACTIONS, action_for
from tests.support.specification import sections


def test_every_reason_of_the_specification_has_its_sentence() -> None:
    states = r"^``(?:broken|degraded)``\s+``([a-z_]+)``"
    reasons = set(re.findall(states, sections()["12"], re.MULTILINE))
    assert len(reasons) > 10
    assert not reasons - ACTIONS.keys()


def test_what_can_end_a_turn_has_its_sentence() -> None:
    for error in (errors.Throttled, errors.Transient, errors.CertificateRejected, errors.ProtocolError,
                  errors.AuthenticationFailed, errors.FolderError, errors.ResetLimit, errors.KeyMismatch,
                  errors.RowsRefused, errors.SchemaError, errors.DatabaseSlow,
                  errors.MailsyncError):  # fmt: skip
        assert error.code in ACTIONS


def test_the_address_stands_in_the_command() -> None:
    assert "`mailsync reset-account %ann@example.test`" in action_for("stuck", "%ann@example.test")
    assert (
        action_for("something new", "ann@example.test") == "Look at `mailsync check-account ann@example.test`"
    )
    assert action_for(None, "ann@example.test")
    # a shell would read it otherwise
    for email in ("{ann}@example.test", "ann's@example.test", "$ann|mail@example.test"):
        assert f"`mailsync reset-account {shlex.quote(email)}`" in action_for("stuck", email)
    for action in ACTIONS.values():
        assert "\n" not in action and not action.endswith(".")
