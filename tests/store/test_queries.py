"""Statements, queries and the code that runs them agree: every name, every parameter, nothing unused."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import apsw
import apsw.ext
import pytest

from roost.store import sqlite, statements
from roost.store.conformance.samples import agent, at, event, session
from roost.store.migrations import migrations
from roost.store.passages import EgressRow
from roost.store.protocols import Claim, KeyRow, Replay, Statement
from roost.store.sqlite.queries import queries
from roost.store.work import WorkRow

CLAIM = Claim("sesn_1", "wrkspc_1", 1, 1, at(0))
WORK = WorkRow(
    id="work_1",
    workspace_id="w",
    environment_id="env_1",
    session_id="sesn_1",
    state="queued",
    created_at=at(0),
    metadata=b"{}",
    polled_at=None,
    acknowledged_at=None,
    started_at=None,
    latest_heartbeat_at=None,
    lease_until=None,
    stop_requested_at=None,
    stopped_at=None,
    token_hash=None,
    revision=0,
)
STATEMENTS: list[Statement] = [
    statements.object_insert(agent("agent_1")),
    statements.object_update(agent("agent_1"), was_updated_at=at(0)),
    statements.object_delete("w", "agent", "agent_1"),
    statements.objects_delete_children("w", "agent_version", "agent_1"),
    statements.object_unarchived("w", "agent", "agent_1"),
    statements.environment_unused("env_1"),
    statements.session_insert(session()),
    statements.session_update("sesn_1", body=b"", updated_at=at(1), was_updated_at=at(0)),
    statements.session_quiet("sesn_1"),
    statements.session_open("sesn_1"),
    statements.session_archive("sesn_1", at=at(0)),
    statements.work_ensure("work_1", "sesn_1", now=at(0)),
    statements.work_claim("env_1", now=at(0), polled_before=at(0), token_hash="hash"),
    statements.work_update(WORK),
    statements.work_lapse("env_1", now=at(0)),
    statements.work_end("sesn_1", now=at(0)),
    statements.work_delete_session("sesn_1"),
    *statements.session_delete("sesn_1"),
    statements.session_progress("sesn_1", status="idle", usage=b"", running_since=None, at=at(0)),
    *statements.append("sesn_1", [event("e1")], now=at(0)),
    *statements.enqueue("sesn_1", [event("i1")], now=at(0)),
    statements.input_admit("sesn_1", 1, event_id="i1"),
    statements.wake("sesn_1", at=at(0)),
    statements.release(CLAIM, seen_wake_no=1, wake_at=None),
    statements.key_insert(KeyRow("apikey_1", "w", "n", at(0)), "hash"),
    statements.key_revoke("w", "apikey_1", at=at(0)),
    statements.replay_insert("w", "k", "/v1/agents", Replay("h", 200, b""), now=at(0)),
    statements.replays_expire(before=at(0)),
    *statements.egress_append([EgressRow("sesn_1", at(0), "GET", "a.test", 80, "allowed", "", 0, 0, 0)]),
]


@pytest.fixture(scope="module")
def database() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    for step in migrations("sqlite"):
        connection.execute(step.sql)
    yield connection
    connection.close()


def parameters(database: apsw.Connection, query: str) -> set[str]:
    """The parameters that SQLite itself finds in a query."""
    return {name for name in apsw.ext.query_info(database, queries()[query].sql).bindings_names if name}


def literals() -> set[str]:
    """Every text in the code that builds statements or runs queries."""
    places = [Path(statements.__file__), *Path(sqlite.__path__[0]).glob("*.py")]
    trees = [ast.parse(place.read_text(encoding="utf-8")) for place in places]
    constants = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {value for value in constants if isinstance(value, str)}


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.query)
def test_a_statement_names_a_query_and_brings_exactly_its_parameters(
    statement: Statement, database: apsw.Connection
) -> None:
    assert set(statement.parameters) == parameters(database, statement.query)


def test_every_function_that_builds_statements_is_checked_here() -> None:
    text = Path(statements.__file__).read_text(encoding="utf-8")
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    built = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "Statement" and isinstance(call.args[0], ast.Constant)
    }
    assert len(built) > 15
    assert built <= {statement.query for statement in STATEMENTS}


def test_no_query_is_unused() -> None:
    assert queries().keys() - literals() == set()


@pytest.mark.parametrize("name", queries())
def test_a_query_can_be_prepared_and_says_rightly_whether_it_returns_rows(name: str, database: apsw.Connection) -> None:
    info = apsw.ext.query_info(database, queries()[name].sql)
    assert bool(info.description) == queries()[name].returns
    assert queries()[name].about.endswith(".")


def test_every_query_of_the_file_is_parsed_under_a_name_of_its_own() -> None:
    text = (resources.files(sqlite) / "queries.sql").read_text(encoding="utf-8")
    assert text.count("-- name:") == len(queries()) > 50


@pytest.mark.parametrize(
    "name",
    [
        "events_forward",
        "events_backward",
        "objects_newest",
        "children_oldest",
        "sessions_newest",
        "queue_claim",
        "files_expired",
    ],
)
def test_pages_and_claims_are_read_off_an_index_without_sorting(name: str, database: apsw.Connection) -> None:
    sql = queries()[name].sql
    bound = dict.fromkeys(parameters(database, name), 1)
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", bound) if "json_each" not in row[3]]
    assert any("USING INDEX" in step or "USING COVERING INDEX" in step for step in plan)
    assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith("SCAN")]


def test_who_uses_content_is_found_by_the_index_of_files(database: apsw.Connection) -> None:
    sql = f"EXPLAIN QUERY PLAN {queries()['content_in_use'].sql}"
    plan = [row[3] for row in database.execute(sql, {"names": "[]", "expired_by": at(0)})]
    assert [step for step in plan if "objects" in step] == ["SEARCH objects USING INDEX files_by_content (<expr>=?)"]
