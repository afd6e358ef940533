"""Every reason of an account's state has a sentence that says what a person can do."""

from __future__ import annotations

import shlex

from mailsync import errors
from mailsync.core.advice import ACTIONS, OAUTH_ACTIONS, action_for
from mailsync.core.health import RULES


def test_every_reason_has_its_sentence() -> None:
    by_the_view = {"stale", "lock_held"}
    reasons = {rule.reason for rule in RULES if isinstance(rule.reason, str)} | by_the_view
    assert reasons <= ACTIONS.keys()


def test_every_error_that_can_end_a_turn_has_its_sentence() -> None:
    for error in (errors.Throttled, errors.Transient, errors.CertificateRejected, errors.ProtocolError,
                  errors.AuthenticationFailed, errors.GrantRejected, errors.NotConnected,
                  errors.ClientRejected, errors.FolderError, errors.ResetLimit, errors.KeyMismatch,
                  errors.RowsRefused, errors.SchemaError, errors.DatabaseSlow,
                  errors.MailsyncError):  # fmt: skip
        assert error.code in ACTIONS


def test_the_command_names_the_address() -> None:
    assert "`mailsync reset-account %ann@example.test`" in action_for("stuck", "%ann@example.test")
    assert action_for("something new", "ann@example.test") == "See `mailsync check-account ann@example.test`"
    assert action_for(None, "ann@example.test")
    # a shell would read it otherwise
    for email in ("{ann}@example.test", "ann's@example.test", "$ann|mail@example.test"):
        assert f"`mailsync reset-account {shlex.quote(email)}`" in action_for("stuck", email)
    assert "`mailsync set-password ann@example.test`" in action_for("auth_failed", "ann@example.test")
    for reason in ("auth_failed", "key_mismatch"):
        action = action_for(reason, "ann@example.test", "oauth2")
        assert "`mailsync reauthorize ann@example.test`" in action
        assert "password" not in action
    assert action_for("stuck", "a@b.test", "oauth2") == action_for("stuck", "a@b.test")
    for action in ACTIONS.values():
        assert "\n" not in action and not action.endswith(".")


def test_an_account_with_tokens_is_authorized_again() -> None:
    for reason in OAUTH_ACTIONS:
        assert "`mailsync set-password a@b.c`" in action_for(reason, "a@b.c")
        action = action_for(reason, "a@b.c", "oauth2")
        assert "`mailsync reauthorize a@b.c`" in action
        assert "password" not in action
    assert action_for("stuck", "a@b.c", "oauth2") == action_for("stuck", "a@b.c")
