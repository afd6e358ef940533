"""Tables, symbols and times on terminals of any width and locale."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mailsync.cli.terminal import closest, cut, moment, rfc3339, spell_symbols, table, width

HEADS = ("ACCOUNT", "STATE", "LAG", "FOLDERS", "MESSAGES")
LONG = "somebody.with.a.long.address@department.example.test"
ROWS = [
    ("ann@example.test", "healthy", "3s", "7/7", 1234567),
    (LONG, "degraded (uidvalidity_reset_limit)", "2d", "1/20", 9),
]


def shown(columns: int) -> list[str]:
    return table(
        HEADS,
        ROWS,
        numbers="LAG FOLDERS MESSAGES",
        flexible="ACCOUNT STATE",
        drop="FOLDERS MESSAGES",
        columns=columns,
    ).splitlines()


@pytest.mark.parametrize("columns", range(40, 130, 5))
def test_a_table_fits_and_never_cuts_a_number_or_a_word(columns: int) -> None:
    lines = shown(columns)
    assert max(map(width, lines)) <= columns
    for number in ("1,234,567", "3s", "2d"):
        assert number in lines[1] + lines[2] or "MESSAGES" not in lines[0]
    state = lines[2].replace("…", " ").split("degraded")[1]
    assert state.startswith((" (uidvalidity_reset_limit)", "  "))


def test_columns_go_by_priority_before_the_flexible_one_becomes_too_narrow() -> None:
    assert shown(120)[0].split() == list(HEADS)
    assert shown(90)[0].split() == list(HEADS)
    assert shown(80)[0].split() == ["ACCOUNT", "STATE", "LAG", "MESSAGES"]
    assert shown(60)[0].split() == ["ACCOUNT", "STATE", "LAG"]
    assert shown(60)[2].split() == ["somebody.with.a.long.ad…", "degraded…", "2d"]


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("Re: Firmware 2.4: release notes", 40, "Re: Firmware 2.4: release notes"),
        ("Re: Firmware 2.4: release notes", 20, "Re: Firmware 2.4:…"),
        ("Re: Firmware 2.4", 13, "Re: Firmware…"),
        ("  indented", 5, "  in…"),
        ("unbroken", 5, "unbr…"),
        ("日本語の名前", 6, "日本…"),
    ],
)
def test_text_is_cut_between_words(text: str, columns: int, expected: str) -> None:
    assert cut(text, columns) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LC_ALL": "C"}, "ok: done - failed: 3"),
        ({"LC_ALL": "POSIX"}, "ok: done - failed: 3"),
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, "ok: done - failed: 3"),
        ({"LC_ALL": "C.UTF-8"}, "✓ done – ✗ 3"),
        ({"LC_ALL": "", "LANG": "en_US.UTF-8"}, "✓ done – ✗ 3"),
        ({}, "✓ done – ✗ 3"),
    ],
)
def test_symbols_are_words_in_a_locale_that_lacks_them(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert spell_symbols("✓ done – ✗ 3") == expected


def test_times_are_rfc_3339_in_utc() -> None:
    when = datetime(2025, 5, 2, 12, 0, 1, 250_000, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(when) == "2025-05-02T10:00:01.250000Z"
    assert rfc3339(datetime(2025, 5, 2, tzinfo=UTC)) == "2025-05-02T00:00:00Z"
    assert moment(when) == "2025-05-02T10:00:01Z"
    assert moment(None) == "-"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inbx", "INBOX"),
        ("Archiv/2025", "Archive/2025"),
        ("Nowhere", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_a_slip_is_recognised(text: str, expected: str | None) -> None:
    assert closest(text, ["INBOX", "Sent", "Archive/2025"]) == expected
