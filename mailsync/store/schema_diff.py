"""Compare the database's schema with the one that the migrations make: one line for each difference.

Only a thing that is missing or was changed is a difference, not columns, indexes, policies, triggers, views,
functions and rights to read that people added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mailsync.errors import SchemaError
from mailsync.store import catalogue
from mailsync.store import migrations as migrations
from mailsync.store.catalogue import Details
from mailsync.store.db import Connection
from mailsync.store.statements import run

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is missing or was changed.

    ``what`` names it (``index messages_newest is missing``) and ``remedy`` says what to do. ``is_harmful`` is
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


def differences(conn: Connection) -> list[Difference]:
    """Compare the schema of this connection; empty when nothing is missing or changed.

    Raises DatabaseUnavailable.
    """
    wanted, found = catalogue.expected(), catalogue.read(conn)
    row = run(conn, "quoted_schema").fetchone()
    schema = str(row[0]) if row else ""
    lost = {name for name in wanted["table"] if name not in found.get("table", {})}
    result = [
        difference
        for kind, compare in _COMPARED.items()
        for name, details in wanted[kind].items()
        if _table_of(kind, name, details) not in lost
        for difference in compare(_Place(schema, name), details, found.get(kind, {}).get(name))
    ]
    for name, grantee, rights in run(conn, "read_excess_rights"):
        if name in wanted["table"] or name in wanted["view"]:
            result.append(_excess(_Place(schema, name), grantee, rights))
    result += [_creator(schema, role) for role in migrations.creators(conn)]
    if not any(difference.is_harmful for difference in result):  # the query names tables, which have to exist
        result += [_behind(*row) for row in run(conn, "read_identities")]
    return tolerant(result, conn.info.server_version // 10_000)


def tolerant(found: list[Difference], release: int) -> list[Difference]:
    """The differences, less harmful on a release that is newer than those of the catalogue.

    Such a release may print the same definition in another way, and no service may end for that.
    """
    if release <= catalogue.newest_release():
        return found
    return [replace(each, is_harmful=each.is_harmful and each.what.endswith(" is missing")) for each in found]


def check(conn: Connection) -> list[Difference]:
    """Raise SchemaError, in one line, if the mirror could become untrue; returns the harmless differences."""
    found = differences(conn)
    harmful = [difference for difference in found if difference.is_harmful]
    if harmful:
        named = ", ".join(difference.what for difference in harmful[:_NAMED])
        more = f" and {len(harmful) - _NAMED} more" if len(harmful) > _NAMED else ""
        raise SchemaError(
            f"the database's schema is not the one that the migrations make ({named}{more});"
            " `mailsync preflight` says what to do about each"
        )
    return found


# -- what is compared, and how it is put right ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
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


def _table_of(kind: str, name: str, details: Details) -> str | None:
    if kind in ("column", "constraint"):
        return name.partition(".")[0]
    return details["table"] if kind == "index" else None


def _tables(at: _Place, wanted: Details, found: Details | None) -> Iterator[Difference]:
    if found is None:
        made = catalogue.made_in("table", at.name)
        yield Difference(f"table {at.name} is missing", f"restore it from a dump ({made} makes it, empty)")
    elif wanted["row_level_security"] and not found["row_level_security"]:
        yield Difference(
            f"row level security of {at.name} is off", f"{at.alter} enable row level security", False
        )


def _columns(at: _Place, wanted: Details, found: Details | None) -> Iterator[Difference]:
    if found is None:
        yield Difference(
            f"column {at.path} is missing",
            f"restore it from a dump, or add it, empty: {at.alter} add column {at.name} {_column(wanted)}",
        )
        return
    changes = [
        change
        for aspect, put_right in _ASPECTS.items()
        if wanted.get(aspect) != found.get(aspect)
        for change in put_right(at.name, wanted.get(aspect), found.get(aspect), wanted)
    ]
    if changes:
        yield Difference(
            f"column {at.path} is {_column(found)}, not {_column(wanted)}", f"{at.alter} {', '.join(changes)}"
        )


def _column(details: Details) -> str:
    words = [details["type"]]
    if "generated" in details:
        expression, _, kept = details["generated"].rpartition(" ")
        words.append(f"generated always as ({expression}) {kept}")
    if "identity" in details:
        words.append(f"generated {details['identity']} as identity")
    if "default" in details:
        words.append(f"default {details['default']}")
    if details["not_null"]:
        words.append("not null")
    return " ".join(words)


def _generated(name: str, wanted: str | None, found: str | None, column: Details) -> list[str]:
    if wanted is None:
        return [f"alter column {name} drop expression"]
    return [f"drop column {name}", f"add column {name} {_column(column)}"]


def _identity(name: str, wanted: str | None, found: str | None, _: Details) -> list[str]:
    if wanted is None:
        return [f"alter column {name} drop identity"]
    verb = f"add generated {wanted} as identity" if found is None else f"set generated {wanted}"
    return [f"alter column {name} {verb}"]


_ASPECTS = {
    "type": lambda name, wanted, found, _: [f"alter column {name} type {wanted}"],
    "generated": _generated,
    "default": lambda name, wanted, found, _: [
        f"alter column {name} set default {wanted}" if wanted else f"alter column {name} drop default"
    ],
    "not_null": lambda name, wanted, found, _: [
        f"alter column {name} {'set' if wanted else 'drop'} not null"
    ],
    "identity": _identity,
}


def _constraints(at: _Place, wanted: Details, found: Details | None) -> Iterator[Difference]:
    definition, name = wanted["definition"], at.name
    there = found["definition"] if found else None
    if there == definition:
        return
    add = f"add constraint {name} {re.sub(r'(?<=REFERENCES )', f'{at.schema}.', definition)}"
    if there is None:
        yield Difference(f"constraint {at.name} of {at.table} is missing", f"{at.alter} {add}")
    elif there == f"{definition} NOT VALID":
        yield Difference(
            f"constraint {at.name} of {at.table} is not valid", f"{at.alter} validate constraint {name}"
        )
    else:
        yield Difference(
            f"constraint {at.name} of {at.table} is {there}, not {definition}",
            f"{at.alter} drop constraint {name}, {add}",
        )


def _indexes(at: _Place, wanted: Details, found: Details | None) -> Iterator[Difference]:
    if wanted == found:
        return
    unique = "unique " if wanted["unique"] else ""
    create = (
        f"create {unique}index concurrently {at.name} on {at.schema}.{wanted['table']}"
        f" using {wanted['definition']}"
    )
    drop = f"drop index concurrently {at.schema}.{at.name}; "
    # a unique index that should not be unique refuses rows; a missing one admits duplicates
    harmful = wanted["unique"] or (found is not None and found["unique"])
    if found is None:
        yield Difference(f"index {at.name} is missing", create, harmful)
    elif wanted == {**found, "valid": True}:
        yield Difference(f"index {at.name} is not valid", drop + create, harmful)
    else:
        there = f"{'unique ' if found['unique'] else ''}{found['definition']} of {found['table']}"
        yield Difference(f"index {at.name} is {there}", drop + create, harmful)


def _views(at: _Place, wanted: Details, found: Details | None) -> Iterator[Difference]:
    if found is None:
        yield Difference(f"view {at.name} is missing", _make_again(at, "view"))
        return
    columns, there = wanted["columns"], found["columns"]
    lacking = [f"{name} {kind}" for name, kind in columns.items() if there.get(name) != kind]
    # `create or replace` cannot remove or reorder columns
    again = _make_again(at, "view", drop=columns != there, replace=columns == there)
    if lacking:
        yield Difference(f"view {at.name} lacks {', '.join(lacking)}", again)
    elif not _is_worded(wanted, found):
        yield Difference(f"view {at.name} has another definition", again)
    if wanted["security_invoker"] and not found["security_invoker"]:
        yield Difference(
            f"view {at.name} is not security_invoker: it shows its owner's rows to everybody",
            f"alter view {at.schema}.{at.name} set (security_invoker = true)",
            is_harmful=False,
        )


def _functions(at: _Place, wanted: Details, found: Details | None) -> Iterator[Difference]:
    if found is None:
        yield Difference(f"function {at.name} is missing", _make_again(at, "function"))
        return
    aspects = ("returns", "language", "volatility", "security_definer")
    if any(wanted[aspect] != found[aspect] for aspect in aspects) or not _is_worded(wanted, found):
        yield Difference(
            f"function {at.name} has another definition", _make_again(at, "function", replace=True)
        )
    if found["public"] and not wanted["public"]:
        yield Difference(
            f"everybody may execute function {at.name}",
            f"revoke execute on function {at.schema}.{at.name} from public",
            is_harmful=False,
        )


def _is_worded(wanted: Details, found: Details) -> bool:
    ((release, text),) = found["definitions"].items()
    known = wanted["definitions"]
    if release in known:
        return bool(known[release] == text)
    # a release in between prints it as both of its neighbours do, if they agree; else it cannot be judged
    is_between = int(min(known, key=int)) < int(release) < int(max(known, key=int))
    return not is_between or len(set(known.values())) > 1 or text in known.values()


def _make_again(at: _Place, kind: str, *, drop: bool = False, replace: bool = False) -> str:
    before = f"drop {kind} {at.schema}.{at.name}; " if drop else ""
    as_what = f" as `create or replace {kind}`" if replace else ""
    made = catalogue.made_in(kind, at.name)
    return f"{before}with {at.schema} first on search_path run its `create {kind}` in {made}{as_what}"


def _excess(at: _Place, grantee: str, rights: list[str]) -> Difference:
    named = ", ".join(rights)
    return Difference(
        f"{grantee} may {named} on {at.name}",
        f"revoke {named} on {at.schema}.{at.name} from {grantee}",
        is_harmful=False,
    )


def _creator(schema: str, role: str) -> Difference:
    return Difference(
        f"{role} may create in schema {schema}, where statements of mailsync look for functions",
        f"revoke create on schema {schema} from {role}",
        is_harmful=False,
    )


def _behind(name: str, number: int, sequence: str) -> Difference:
    return Difference(
        f"{name} is behind: its sequence has not reached {number}, which is in use",
        f"select setval('{sequence}', {number})",
        is_harmful=False,
    )


_COMPARED = {
    "table": _tables,
    "column": _columns,
    "constraint": _constraints,
    "index": _indexes,
    "function": _functions,
    "view": _views,
}
