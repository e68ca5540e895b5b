"""Brings a database file to the schema that this version of the code knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from roost.core.clock import Clock, timestamp
from roost.store.migrations import Migration, migrations
from roost.store.protocols import StoreError

_VERSION_TABLE = """CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT"""


class SchemaTooNew(StoreError):
    """The data was written by a later version, whose schema this one does not know."""


def migrate(connection: apsw.Connection, clock: Clock, steps: list[Migration] | None = None) -> None:
    """Applies the missing steps in one transaction: after a failure the file is as it was.

    `steps` are the dialect's own unless a test brings others. Raises SchemaTooNew for a file from a later version.
    """
    steps = migrations("sqlite") if steps is None else steps
    with connection:
        connection.execute(_VERSION_TABLE)
        version = schema_version(connection)
        if version > len(steps):
            raise SchemaTooNew(
                f"{Path(connection.filename).parent} was written by a later version of Roost "
                f"(schema {version}; this version knows {len(steps)}): run that version or a newer one"
            )
        for step in steps[version:]:
            connection.execute(step.sql).fetchall()
            connection.execute(
                "INSERT INTO schema_version VALUES (?, ?, ?)", (step.version, step.name, timestamp(clock.now()))
            )


def schema_version(connection: apsw.Connection) -> int:
    """The last step that was applied, 0 before the first."""
    version: Any = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").get
    return int(version)
