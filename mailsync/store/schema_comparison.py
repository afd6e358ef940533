"""How one object of the schema differs from what the migrations make, and the statement that repairs it.

One function for each kind of object in the catalogue; all of them are pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mailsync.store import catalogue
from mailsync.store.catalogue import Details


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is missing or was changed.

    ``what`` says so (``index messages_newest is missing``) and ``remedy`` says what to do. ``is_harmful`` is
    True if the mirror could become untrue; other differences only make it slower or less protected.
    """

    what: str
    remedy: str
    is_harmful: bool = True

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"

    @property
    def document(self) -> dict[str, object]:
        """The difference as JSON."""
        return {"difference": self.what, "remedy": self.remedy, "harmful": self.is_harmful}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is: the schema, quoted, and the name in the catalogue (``messages.uid``)."""

    schema: str
    path: str

    @property
    def table(self) -> str:
        return self.path.partition(".")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def alter(self) -> str:
        return f"alter table {self.schema}.{self.table}"


def table_of(kind: str, name: str, details: Details) -> str | None:
    """The table that a column, a constraint or an index belongs to; None for other kinds."""
    if kind in ("column", "constraint"):
        return name.partition(".")[0]
    return details["table"] if kind == "index" else None


def _tables(place: Place, expected: Details, actual: Details | None) -> Iterator[Difference]:
    if actual is None:
        path = catalogue.created_in("table", place.name)
        yield Difference(
            f"table {place.name} is missing", f"restore it from a dump ({path} creates it, empty)"
        )
    elif expected["row_level_security"] and not actual["row_level_security"]:
        yield Difference(
            f"row level security of {place.name} is off", f"{place.alter} enable row level security", False
        )


def _columns(place: Place, expected: Details, actual: Details | None) -> Iterator[Difference]:
    if actual is None:
        yield Difference(
            f"column {place.path} is missing",
            "restore it from a dump, or add it, empty:"
            f" {place.alter} add column {place.name} {_column(expected)}",
        )
        return
    changes = [
        change
        for aspect, alter in _ASPECTS.items()
        if expected.get(aspect) != actual.get(aspect)
        for change in alter(place.name, expected.get(aspect), actual.get(aspect), expected)
    ]
    if changes:
        yield Difference(
            f"column {place.path} is {_column(actual)}, not {_column(expected)}",
            f"{place.alter} {', '.join(changes)}",
        )


def _column(details: Details) -> str:
    words = [details["type"]]
    if "generated" in details:
        expression, _, storage = details["generated"].rpartition(" ")
        words.append(f"generated always as ({expression}) {storage}")
    if "identity" in details:
        words.append(f"generated {details['identity']} as identity")
    if "default" in details:
        words.append(f"default {details['default']}")
    if details["not_null"]:
        words.append("not null")
    return " ".join(words)


def _generated(name: str, expected: str | None, actual: str | None, column: Details) -> list[str]:
    if expected is None:
        return [f"alter column {name} drop expression"]
    return [f"drop column {name}", f"add column {name} {_column(column)}"]


def _identity(name: str, expected: str | None, actual: str | None, _: Details) -> list[str]:
    if expected is None:
        return [f"alter column {name} drop identity"]
    verb = f"add generated {expected} as identity" if actual is None else f"set generated {expected}"
    return [f"alter column {name} {verb}"]


_ASPECTS = {
    "type": lambda name, expected, actual, _: [f"alter column {name} type {expected}"],
    "generated": _generated,
    "default": lambda name, expected, actual, _: [
        f"alter column {name} set default {expected}" if expected else f"alter column {name} drop default"
    ],
    "not_null": lambda name, expected, actual, _: [
        f"alter column {name} {'set' if expected else 'drop'} not null"
    ],
    "identity": _identity,
}


def _constraints(place: Place, expected: Details, actual: Details | None) -> Iterator[Difference]:
    definition, name = expected["definition"], place.name
    current = actual["definition"] if actual else None
    if current == definition:
        return
    add = f"add constraint {name} {re.sub(r'(?<=REFERENCES )', f'{place.schema}.', definition)}"
    if current is None:
        yield Difference(f"constraint {place.name} of {place.table} is missing", f"{place.alter} {add}")
    elif current == f"{definition} NOT VALID":
        yield Difference(
            f"constraint {place.name} of {place.table} is not valid",
            f"{place.alter} validate constraint {name}",
        )
    else:
        yield Difference(
            f"constraint {place.name} of {place.table} is {current}, not {definition}",
            f"{place.alter} drop constraint {name}, {add}",
        )


def _indexes(place: Place, expected: Details, actual: Details | None) -> Iterator[Difference]:
    if expected == actual:
        return
    unique = "unique " if expected["unique"] else ""
    create = (
        f"create {unique}index concurrently {place.name} on {place.schema}.{expected['table']}"
        f" using {expected['definition']}"
    )
    drop = f"drop index concurrently {place.schema}.{place.name}; "
    # a unique index that should not be unique rejects rows; a missing one admits duplicates
    harmful = expected["unique"] or (actual is not None and actual["unique"])
    if actual is None:
        yield Difference(f"index {place.name} is missing", create, harmful)
    elif expected == {**actual, "valid": True}:
        yield Difference(f"index {place.name} is not valid", drop + create, harmful)
    else:
        description = f"{'unique ' if actual['unique'] else ''}{actual['definition']} of {actual['table']}"
        yield Difference(f"index {place.name} is {description}", drop + create, harmful)


def _views(place: Place, expected: Details, actual: Details | None) -> Iterator[Difference]:
    if actual is None:
        yield Difference(f"view {place.name} is missing", _recreate(place, "view"))
        return
    columns, current = expected["columns"], actual["columns"]
    lacking = [f"{name} {kind}" for name, kind in columns.items() if current.get(name) != kind]
    # `create or replace` cannot remove or reorder columns
    remedy = _recreate(place, "view", drop=columns != current, replace=columns == current)
    if lacking:
        yield Difference(f"view {place.name} lacks {', '.join(lacking)}", remedy)
    elif not _same_definition(expected, actual):
        yield Difference(f"view {place.name} has another definition", remedy)
    if expected["security_invoker"] and not actual["security_invoker"]:
        yield Difference(
            f"view {place.name} is not security_invoker: it shows its owner's rows to everybody",
            f"alter view {place.schema}.{place.name} set (security_invoker = true)",
            is_harmful=False,
        )


def _functions(place: Place, expected: Details, actual: Details | None) -> Iterator[Difference]:
    if actual is None:
        yield Difference(f"function {place.name} is missing", _recreate(place, "function"))
        return
    aspects = ("returns", "language", "volatility", "security_definer")
    if any(expected[aspect] != actual[aspect] for aspect in aspects) or not _same_definition(
        expected, actual
    ):
        yield Difference(
            f"function {place.name} has another definition", _recreate(place, "function", replace=True)
        )
    if actual["public"] and not expected["public"]:
        yield Difference(
            f"everybody may execute function {place.name}",
            f"revoke execute on function {place.schema}.{place.name} from public",
            is_harmful=False,
        )


def _same_definition(expected: Details, actual: Details) -> bool:
    ((release, text),) = actual["definitions"].items()
    known = expected["definitions"]
    if release in known:
        return bool(known[release] == text)
    # A release between two known ones prints it as both do, if they agree; otherwise it cannot be judged.
    is_between = int(min(known, key=int)) < int(release) < int(max(known, key=int))
    return not is_between or len(set(known.values())) > 1 or text in known.values()


def _recreate(place: Place, kind: str, *, drop: bool = False, replace: bool = False) -> str:
    drop_first = f"drop {kind} {place.schema}.{place.name}; " if drop else ""
    as_replace = f" as `create or replace {kind}`" if replace else ""
    path = catalogue.created_in(kind, place.name)
    return (
        f"{drop_first}with {place.schema} first on search_path run its `create {kind}` in {path}{as_replace}"
    )


def excess_privileges(place: Place, grantee: str, privileges: list[str]) -> Difference:
    """`grantee` has privileges on a table or view that it should not have."""
    listed = ", ".join(privileges)
    return Difference(
        f"{grantee} may {listed} on {place.name}",
        f"revoke {listed} on {place.schema}.{place.name} from {grantee}",
        is_harmful=False,
    )


def unexpected_creator(schema: str, role: str) -> Difference:
    """`role` may create objects in the schema."""
    return Difference(
        f"{role} may create in schema {schema}, where statements of mailsync look for functions",
        f"revoke create on schema {schema} from {role}",
        is_harmful=False,
    )


def sequence_behind(name: str, number: int, sequence: str) -> Difference:
    """The sequence of a column would return numbers that are in use."""
    return Difference(
        f"{name} is behind: its sequence has not reached {number}, which is in use",
        f"select setval('{sequence}', {number})",
        is_harmful=False,
    )


COMPARISONS: dict[str, Callable[[Place, Details, Details | None], Iterator[Difference]]] = {
    "table": _tables,
    "column": _columns,
    "constraint": _constraints,
    "index": _indexes,
    "function": _functions,
    "view": _views,
}
