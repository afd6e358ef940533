"""The numbered sections of docs/ against the code: they name everything, and cited numbers exist."""

from __future__ import annotations

import re

import pytest

from mailsync import errors
from mailsync.cli import SECTIONS
from mailsync.config import Settings
from mailsync.config.fields import Rule
from mailsync.core.folder_roles import HOLDS_NONE, INBOX_ALIAS, TOO_MANY
from mailsync.core.health import RULES
from mailsync.engine import verify_report
from mailsync.ops import metrics
from mailsync.store.migrations import migrations
from mailsync.store.statements import statements
from tests import ROOT
from tests.support.specification import PAGES, sections
from tests.unit.test_layers import LAYERS

_CITED = re.compile(r"SPEC (§\d+(?:\.\d+)?(?:, §\d+(?:\.\d+)?)*)")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

SECTION = sections()


def named(text: str) -> set[str]:
    """The literals of a text, whole and up to their first blank or brace."""
    whole = {" ".join(name.split()) for name in re.findall(r"``(.+?)``", text, re.DOTALL)}
    return whole | {re.split(r"[ {=]", name)[0] for name in whole}


def rows(text: str) -> dict[str, str]:
    """First literal in the first column of a table → the first row with it, as one line."""
    by_name: dict[str, str] = {}
    last, border = "", 0
    for line in text.splitlines():
        if re.fullmatch(r"=+(  =+)+", line):
            # top, below the heads, bottom
            border, last = (border + 1) % 3, ""
        elif border == 2 and line.startswith("``") and line.split("``")[1] not in by_name:
            last = line.split("``")[1]
            by_name[last] = line
        elif border == 2 and line.startswith("  ") and last:
            by_name[last] += " " + line.strip()
        else:
            last = ""
    return by_name


def columns() -> dict[str, set[str]]:
    """Table → its columns, from the migrations."""
    by_table: dict[str, set[str]] = {}
    for migration in migrations():
        for table, body in re.findall(r"^create table (\w+) \((.*?)^\)", migration.text, re.M | re.S):
            words = {line.split()[0] for line in body.splitlines() if re.match(r" {4}[a-z]", line)}
            by_table[table] = words - {"primary", "unique", "foreign", "check"}
        for table, changes in re.findall(r"^alter table (\w+)(.*?);", migration.text, re.M | re.S):
            by_table[table].update(re.findall(r"\badd column (\w+)", changes))
    return by_table


def written(pattern: str) -> set[str]:
    """The matches of a regular expression's group in all statements and all code of mailsync."""
    code = [path.read_text("utf-8") for path in (ROOT / "mailsync").rglob("*.py")]
    texts = [*(text.as_string(None) for text in statements().values()), *code]
    return {match for text in texts for match in re.findall(pattern, text)}


def all_errors(kind: type[errors.MailsyncError] = errors.MailsyncError) -> set[type[errors.MailsyncError]]:
    """The class and all of its subclasses."""
    return {kind}.union(*(all_errors(subclass) for subclass in kind.__subclasses__()))


def test_there_are_the_sections_0_to_23() -> None:
    assert [number for number in SECTION if "." not in number] == [str(n) for n in range(24)]


@pytest.mark.parametrize("folder", ["mailsync", "sql", "tests"])
def test_sections_that_the_code_cites_exist(folder: str) -> None:
    points = set(re.findall(r"^(0\.\d+) ", SECTION["0"], re.MULTILINE))
    missing = {
        f"{path.name}: §{number}"
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".sql")
        for cited in _CITED.findall(path.read_text("utf-8"))
        for number in cited.replace("§", "").split(", ")
        if number not in SECTION and number not in points
    }
    assert not missing


def test_sections_that_the_pages_refer_to_exist() -> None:
    points = set(re.findall(r"^(0\.\d+) ", SECTION["0"], re.MULTILINE))
    text = "".join(page.read_text("utf-8") for page in PAGES)
    # sections of RFCs come with the RFC's number before them
    own = re.findall(r"§(\d+(?:\.\d+)?)", re.sub(r"(RFC\s)?\d{4}\s+§[\d.]+", "", text))
    assert own
    assert set(own) <= SECTION.keys() | points


def test_every_setting_stands_in_the_configuration_table_with_its_default() -> None:
    table = rows(SECTION["2"])
    fields = {name.upper(): field.default for name, field in Settings.model_fields.items()}
    assert table.keys() == fields.keys()
    wrong = {name: table[name] for name, default in fields.items() if not _says(table[name], default)}
    assert not wrong


def _says(row: str, default: object) -> bool:
    """Whether the second column of a row has this default, in any unit."""
    shown = row.partition("``  ")[2].strip()
    if default is None:
        return shown.startswith(("–", "by stream", "``off``"))
    value = shown.split("``")[1]
    amount = re.fullmatch(r"(\d+)([A-Za-z]*)", value)
    if amount and isinstance(default, int | float) and not isinstance(default, bool):
        return int(amount[1]) * (_UNITS[amount[2]] if amount[2] else 1) == default
    return value == (str(default).lower() if isinstance(default, bool) else default)


def test_the_ranges_in_the_configuration_table_are_those_that_settings_accept() -> None:
    checked = 0
    for name, row in rows(SECTION["2"]).items():
        span = re.search(r"\((\d+)([A-Za-z]*)–(\d+)([A-Za-z]*)[,)]", row)
        if not span:
            continue
        low, high = (int(span[i]) * _UNITS.get(span[i + 1], 1) for i in (1, 3))
        # "64KiB–1GiB" has two units, "1–300s" the unit of its end
        low = low if span[2] else int(span[1])
        (rule,) = [part for part in Settings.model_fields[name.lower()].metadata if isinstance(part, Rule)]
        assert (rule.parse(low), rule.parse(high)) == (low, high), name
        for outside in (low - 1, high + 1):
            with pytest.raises(ValueError):
                rule.parse(outside)
        checked += 1
    assert checked > 30


@pytest.mark.parametrize("table", sorted(columns()))
def test_every_table_is_described_with_all_its_columns(table: str) -> None:
    own = [text for text in SECTION.values() if text.partition("\n")[0].endswith(f" {table}")]
    text = own[0] if own else rows(SECTION["3.10"])[table]
    assert not columns()[table] - named(text)


def test_every_view_is_described_with_its_columns() -> None:
    views = {}
    for migration in migrations():
        for name, body in re.findall(
            r"^create (?:or replace )?view (\w+) .*?\n(.*?);$", migration.text, re.M | re.S
        ):
            views[name] = body
    assert views.keys() <= named(SECTION["3"])
    shown = re.findall(
        r"(?:\bas (\w+)|^ {8}[af]\.(\w+)),?$", views["account_status"].partition("from accounts a")[0], re.M
    )
    assert len(shown) > 20
    assert {one or other for one, other in shown} <= named(SECTION["3.1"])


def test_every_kind_of_event_that_is_written_is_named() -> None:
    kinds = written(r"['\"]((?:message|folder|account)\.[a-z_]+)['\"]")
    assert {"message.created", "account.deleted", "folder.backfilled"} <= kinds
    assert kinds == {name for name in rows(SECTION["3.9"]) if "." in name}


def test_every_value_that_a_column_may_hold_is_named() -> None:
    text = migrations()[0].text
    for column in ("sync_state", "imap_security", "role", "status", "deleted_reason", "trigger"):
        for values in re.findall(rf"check \({column} in \(([^)]*)\)\)", text):
            assert set(re.findall(r"'(\w+)'", values)) <= named(SECTION["3"]) | named(SECTION["12"])


def test_the_table_of_states_has_the_rules_of_health_in_their_order() -> None:
    shown = re.findall(r"^``(\w+)`` +(``\w+``|as before|the error's code|–) ", SECTION["12"], re.MULTILINE)
    by_view = {("degraded", "``lock_held``"), ("degraded", "``stale``")}
    table = [row for row in shown if row not in by_view]
    assert len(shown) == len(table) + len(by_view)
    assert len(table) == len(RULES)
    for (state, reason), rule in zip(table, RULES, strict=True):
        assert state == rule.state, rule.when
        if rule.reason is None:
            assert reason == "–", rule.when
        elif isinstance(rule.reason, str):
            assert reason == f"``{rule.reason}``", rule.when
        else:
            assert reason in ("as before", "the error's code"), rule.when


def test_every_error_is_classed_with_its_code_and_exit_code() -> None:
    table = rows(SECTION["13"])
    for kind in all_errors():
        row = table[kind.__name__]
        assert re.search(rf"``{kind.code}`` +{kind.exit_code} ", row), row


def test_every_reason_for_leaving_a_folder_out_is_named() -> None:
    reasons = {*HOLDS_NONE, INBOX_ALIAS, TOO_MANY, "junk", "trash", "all"}
    assert reasons <= named(SECTION["6"])


def test_every_kind_of_difference_that_verify_finds_is_named() -> None:
    kinds = set(re.findall(r"``(\w+)``", (verify_report.Difference.__doc__ or "").partition("``uid``")[0]))
    assert len(kinds) >= 12
    assert kinds <= named(SECTION["20"])


def test_every_command_is_described() -> None:
    commands = {name for section in SECTIONS.values() for name in section}
    assert commands == {name.split()[0] for name in rows(SECTION["20"])} & commands


def test_every_metric_is_explained() -> None:
    code = (ROOT / "mailsync" / "ops" / "metrics.py").read_text("utf-8")
    names = {*metrics.COUNTERS, *metrics.HISTOGRAMS, *re.findall(r'"(mailsync_[a-z_]+)"', code)}
    assert names == {name.partition("{")[0] for name in rows(SECTION["16"])}
    for name, row in rows(SECTION["16"]).items():
        metric, _, labels = name.rstrip("}").partition("{")
        if metric in metrics.COUNTERS:
            assert labels == (metrics.COUNTERS[metric][0] or "")
        kind = (
            "counter"
            if metric in metrics.COUNTERS
            else "histogram"
            if metric in metrics.HISTOGRAMS
            else "gauge"
        )
        assert re.search(rf"``  +{kind} ", row), row


def test_the_table_of_layers_has_the_folders_on_their_levels() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.rst").read_text("utf-8")
    table = page.partition("\nLayers\n------\n")[2].partition("\nA turn\n")[0]
    shown = {(folder, int(level) - 1) for level, folder in re.findall(r"^(\d)      ``(\w+)/``", table, re.M)}
    assert shown == {(folder, level) for level, layer in enumerate(LAYERS) for folder in layer if folder}
