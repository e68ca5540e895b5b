"""The named queries of this dialect, parsed once from `queries.sql`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources

from roost.store.passages import EgressRow
from roost.store.protocols import KeyRow, ObjectRow, SessionRow
from roost.store.work import WorkRow

_COLUMNS = {
    name: ", ".join(field.name for field in fields(row))
    for name, row in {
        "object": ObjectRow,
        "session": SessionRow,
        "key": KeyRow,
        "egress": EgressRow,
        "work": WorkRow,
    }.items()
}
_QUERY = re.compile(r"^-- name: (?P<name>\w+)\n-- (?P<about>.+)\n(?P<sql>[^;]+);", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Query:
    """One query. `returns` says that its effect is counted by the rows it returns, not by those it changes."""

    name: str
    about: str
    sql: str
    returns: bool


def _query(found: re.Match[str]) -> Query:
    sql = found["sql"]
    for name, columns in _COLUMNS.items():
        sql = sql.replace(f"{{{name}}}", columns)
    return Query(found["name"], found["about"], sql, sql.startswith("SELECT") or "RETURNING" in sql)


@cache
def queries() -> Mapping[str, Query]:
    """Every query by its name."""
    text = (resources.files(__package__) / "queries.sql").read_text(encoding="utf-8")
    return {found["name"]: _query(found) for found in _QUERY.finditer(text)}
