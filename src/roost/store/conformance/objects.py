"""Plain objects: what is written comes back, lists are pages of one order, updates do not overwrite each other."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import orjson

from roost.store import statements
from roost.store.conformance.samples import WORKSPACE, agent, at, file, given, refused, session, version, write
from roost.store.protocols import Conflict, ObjectQuery, ObjectRow, Position, Store

AGENTS = ObjectQuery(WORKSPACE, "agent")
VERSIONS = ObjectQuery(WORKSPACE, "agent_version", parent_id="agent_1", by_number=True)


async def ids(store: Store, query: ObjectQuery) -> list[str]:
    return [row.id for row in await store.objects.list(query)]


async def pages(store: Store, query: ObjectQuery) -> list[list[str]]:
    """Every page of a list, each beginning behind the last row of the one before."""
    found: list[list[ObjectRow]] = []
    while page := await store.objects.list(query):
        found.append(page)
        key: str | int | None = page[-1].number if query.by_number else page[-1].created_at
        assert key is not None
        query = replace(query, after=Position(key, page[-1].id))
    return [[row.id for row in page] for page in found]


class TestObjects:
    async def test_an_object_comes_back_as_it_was_written(self, store: Store) -> None:
        row = agent("agent_1", private=b'{"path":"x"}', archived_at=at(5), body='{"name":"é\u2028"}'.encode())
        await given(store, row)
        assert await store.objects.get(WORKSPACE, "agent", "agent_1") == row

    async def test_an_object_is_found_only_in_its_workspace_and_kind(self, store: Store) -> None:
        await given(store, agent("agent_1"))
        assert await store.objects.get("wrkspc_2", "agent", "agent_1") is None
        assert await store.objects.get(WORKSPACE, "file", "agent_1") is None

    async def test_an_id_is_taken_once(self, store: Store) -> None:
        await given(store, agent("agent_1"))
        refusal = await refused(Conflict, given(store, agent("agent_1", body=b"{}")))
        assert refusal.query == "object_insert"

    async def test_an_update_replaces_what_was_read(self, store: Store) -> None:
        await given(store, agent("agent_1"))
        changed = agent("agent_1", body=b'{"v":2}', number=2, updated_at=at(1), archived_at=at(1), private=b"p")
        await write(store, statements.object_update(changed, was_updated_at=at(0)))
        assert await store.objects.get(WORKSPACE, "agent", "agent_1") == changed

    async def test_an_update_of_something_changed_in_the_meantime_conflicts(self, store: Store) -> None:
        await given(store, agent("agent_1", updated_at=at(7)))
        late = statements.object_update(agent("agent_1", body=b"late"), was_updated_at=at(0))
        await refused(Conflict, write(store, late))
        row = await store.objects.get(WORKSPACE, "agent", "agent_1")
        assert row
        assert row.body != b"late"

    async def test_a_deleted_object_is_gone_and_deleting_it_again_conflicts(self, store: Store) -> None:
        await given(store, agent("agent_1"))
        await write(store, statements.object_delete(WORKSPACE, "agent", "agent_1"))
        assert await store.objects.get(WORKSPACE, "agent", "agent_1") is None
        await refused(Conflict, write(store, statements.object_delete(WORKSPACE, "agent", "agent_1")))

    async def test_children_of_one_kind_are_deleted_together(self, store: Store) -> None:
        await given(store, version(1), version(2), version(1, parent_id="agent_2"), agent("agent_1"))
        await write(store, statements.objects_delete_children(WORKSPACE, "agent_version", "agent_1"))
        left = await store.objects.list(replace(VERSIONS, parent_id=None, by_number=False))
        assert [row.parent_id for row in left] == ["agent_2"]
        assert await store.objects.get(WORKSPACE, "agent", "agent_1")

    async def test_a_batch_held_to_an_unarchived_object_conflicts_when_it_is_archived_or_missing(
        self, store: Store
    ) -> None:
        await given(store, agent("agent_1"), agent("agent_2", archived_at=at(1)))
        await write(store, statements.object_unarchived(WORKSPACE, "agent", "agent_1"))
        for closed in ("agent_2", "agent_3"):
            await refused(Conflict, write(store, statements.object_unarchived(WORKSPACE, "agent", closed)))

    async def test_a_batch_held_to_an_unused_environment_conflicts_while_a_session_refers_to_it(
        self, store: Store
    ) -> None:
        await write(store, statements.environment_unused("env_1"))
        assert not await store.sessions.using_environment("env_1")
        await given(store, session(archived_at=at(1)))
        assert await store.sessions.using_environment("env_1")
        await refused(Conflict, write(store, statements.environment_unused("env_1")))

    async def test_many_come_in_the_order_asked_without_those_that_do_not_exist(self, store: Store) -> None:
        await given(store, *(agent(f"agent_{n}") for n in range(5)))
        found = await store.objects.many(WORKSPACE, "agent", ["agent_3", "nobody", "agent_0", "agent_4"])
        assert [row.id for row in found] == ["agent_3", "agent_0", "agent_4"]

    async def test_a_numbered_child_is_found_and_its_number_is_taken_once(self, store: Store) -> None:
        await given(store, version(1), version(2), version(2, parent_id="agent_2"))
        assert await store.objects.numbered(WORKSPACE, "agent_version", "agent_1", 2) == version(2)
        assert await store.objects.numbered(WORKSPACE, "agent_version", "agent_1", 3) is None
        await refused(Conflict, given(store, version(2, id="another")))

    async def test_lists_are_newest_first_and_can_be_turned(self, store: Store) -> None:
        await given(store, agent("agent_b", created=1), agent("agent_a", created=1), agent("agent_c", created=0))
        assert await ids(store, AGENTS) == ["agent_b", "agent_a", "agent_c"]
        assert await ids(store, replace(AGENTS, descending=False)) == ["agent_c", "agent_a", "agent_b"]

    async def test_pages_show_every_row_once_even_among_equal_times(self, store: Store) -> None:
        rows = [agent(f"agent_{n:02}", created=n // 4) for n in range(11)]
        await given(store, *rows)
        names = [row.id for row in rows]
        for descending, order in ((False, names), (True, names[::-1])):
            found = await pages(store, replace(AGENTS, limit=3, descending=descending))
            assert [len(page) for page in found] == [3, 3, 3, 2]
            assert list(chain(*found)) == order

    async def test_numbered_children_are_paged_by_number(self, store: Store) -> None:
        await given(store, *(version(n) for n in range(1, 13)), version(1, parent_id="agent_2"))
        for descending, order in ((False, range(1, 13)), (True, range(12, 0, -1))):
            found = await pages(store, replace(VERSIONS, limit=5, descending=descending))
            assert list(chain(*found)) == [f"agent_1_v{n}" for n in order]

    async def test_children_are_listed_by_time_with_their_parent(self, store: Store) -> None:
        await given(store, version(1), version(2), version(1, parent_id="agent_2"))
        by_time = replace(VERSIONS, by_number=False, limit=1)
        assert await pages(store, by_time) == [["agent_1_v2"], ["agent_1_v1"]]
        assert await pages(store, replace(by_time, descending=False)) == [["agent_1_v1"], ["agent_1_v2"]]

    async def test_archived_objects_are_listed_only_when_asked_for(self, store: Store) -> None:
        await given(store, agent("agent_1"), agent("agent_2", created=1, archived_at=at(9)))
        assert await ids(store, AGENTS) == ["agent_1"]
        assert await ids(store, replace(AGENTS, include_archived=True)) == ["agent_2", "agent_1"]

    async def test_time_bounds_hold_at_the_very_moment(self, store: Store) -> None:
        await given(store, *(agent(f"agent_{n}", created=n) for n in range(5)), *(version(n) for n in range(1, 5)))
        cases = {"gt": [3, 4], "gte": [2, 3, 4], "lt": [0, 1], "lte": [0, 1, 2]}
        for operator, expected in cases.items():
            query = replace(AGENTS, created={operator: at(2)}, descending=False)
            assert await ids(store, query) == [f"agent_{n}" for n in expected]
            numbered = replace(VERSIONS, created={operator: at(2)}, descending=False)
            assert await ids(store, numbered) == [f"agent_1_v{n}" for n in expected if n]

    async def test_bounds_and_position_narrow_together(self, store: Store) -> None:
        await given(store, *(agent(f"agent_{n}", created=n) for n in range(9)))
        query = replace(AGENTS, created={"gte": at(2), "lt": at(7)}, limit=2)
        assert await pages(store, query) == [["agent_6", "agent_5"], ["agent_4", "agent_3"], ["agent_2"]]
        assert await pages(store, replace(query, descending=False)) == [
            ["agent_2", "agent_3"],
            ["agent_4", "agent_5"],
            ["agent_6"],
        ]

    async def test_expired_files_of_every_workspace_are_named_to_the_sweeper(self, store: Store) -> None:
        await given(
            store,
            file("file_1", "a", expires_at=at(2)),
            file("file_2", "b", expires_at=at(1), workspace_id="wrkspc_2"),
            file("file_3", "c", expires_at=at(3)),
            file("file_4", "d"),
            agent("agent_1", body=orjson.dumps({"expires_at": at(0)})),
        )
        assert [row.id for row in await store.objects.expired(by=at(2), limit=9)] == ["file_2", "file_1"]
        assert await store.objects.expired(by=at(2), limit=1) == [
            file("file_2", "b", expires_at=at(1), workspace_id="wrkspc_2")
        ]
        assert await store.objects.expired(by=at(0), limit=9) == []

    async def test_content_is_in_use_while_a_file_or_a_session_refers_to_it(self, store: Store) -> None:
        resources = [{"sha256": "mounted"}, {"sha256": "both"}, {"type": "without"}]
        await given(
            store,
            file("file_1", "filed"),
            file("file_2", "both", workspace_id="wrkspc_2"),
            agent("agent_1", private=orjson.dumps({"sha256": "no file"})),
            session("sesn_1", body=orjson.dumps({"resources": resources})),
            session("sesn_2", archived_at=at(1), body=orjson.dumps({"resources": [{"sha256": "archived"}]})),
            session("sesn_3"),
        )
        asked = ["filed", "mounted", "both", "archived", "no file", "nobody's"]
        assert await store.objects.content_in_use(asked, expired_by=at(0)) == {"filed", "mounted", "both", "archived"}
        await write(store, *statements.session_delete("sesn_1"), statements.object_delete(WORKSPACE, "file", "file_1"))
        assert await store.objects.content_in_use(asked, expired_by=at(0)) == {"both", "archived"}

    async def test_a_file_uses_its_content_until_it_expires(self, store: Store) -> None:
        await given(store, file("file_1", "a", expires_at=at(5)), file("file_2", "b", expires_at=at(5)), file("f", "b"))
        assert await store.objects.content_in_use(["a", "b"], expired_by=at(4)) == {"a", "b"}
        assert await store.objects.content_in_use(["a", "b"], expired_by=at(5)) == {"b"}
