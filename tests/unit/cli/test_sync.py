"""What ``sync`` says about folders that are not mirrored as a whole."""

from __future__ import annotations

from dataclasses import replace

from mailsync.cli.commands.sync import Synced, problems, summary

WHOLE = Synced(
    email="ann@example.test",
    messages=50,
    folders=2,
    messages_new=50,
    flags_changed=0,
    messages_deleted=0,
    seconds=1.0,
    sync_state="healthy",
    sync_state_reason=None,
    folder_errors={},
    limitations={},
    incomplete=(),
)


def test_a_whole_mirror_has_no_problems() -> None:
    assert WHOLE.is_whole
    assert problems(WHOLE) == []
    assert summary(WHOLE) == "✓ ann@example.test: 50 messages in 2 folders (50 new) in 1.0 s"


def test_a_folder_whose_first_sync_is_not_complete_fails_and_is_named() -> None:
    synced = replace(WHOLE, sync_state="initial_sync", incomplete=("Sent",))
    assert not synced.is_whole
    assert summary(synced) == "✗ ann@example.test: 50 messages in 2 folders (50 new) in 1.0 s"
    assert problems(synced) == [
        "mailsync: Sent: the first sync is not complete; `mailsync sync ann@example.test` continues it"
    ]


def test_each_kind_of_problem_has_its_line() -> None:
    synced = replace(
        WHOLE,
        folder_errors={"Work": "EXAMINE: the server said NO"},
        limitations={"INBOX": "INBOX: the server shows 10 of 25 messages"},
    )
    assert not synced.is_whole
    assert problems(synced) == [
        "mailsync: Work: EXAMINE: the server said NO",
        "mailsync: INBOX: the server shows 10 of 25 messages",
    ]
