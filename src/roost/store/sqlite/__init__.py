"""The embedded store: SQLite through apsw, in WAL mode with `synchronous=FULL` (engine.md section 1)."""

from roost.store.folder import FolderInUse
from roost.store.sqlite.schema import SchemaTooNew
from roost.store.sqlite.store import SqliteStore

__all__ = ["FolderInUse", "SchemaTooNew", "SqliteStore"]
