"""API keys by their hash, and the answers recorded under idempotency keys."""

from __future__ import annotations

from roost.store import statements
from roost.store.conformance.samples import WORKSPACE, agent, at, refused, write
from roost.store.protocols import Conflict, KeyRow, Replay, Store

KEY = KeyRow("apikey_1", WORKSPACE, "laptop", at(0))
REPLAY = Replay("hash", 200, b'{"id":"agent_1"}')


class TestKeys:
    async def test_a_key_is_found_by_its_hash_alone(self, store: Store) -> None:
        await write(store, statements.key_insert(KEY, "hash_1"))
        assert await store.keys.find("hash_1") == KEY
        assert await store.keys.find("apikey_1") is None

    async def test_a_revoked_key_is_listed_but_found_no_more(self, store: Store) -> None:
        await write(store, statements.key_insert(KEY, "hash_1"))
        await write(store, statements.key_revoke(WORKSPACE, KEY.id, at=at(5)))
        assert await store.keys.find("hash_1") is None
        assert await store.keys.list(WORKSPACE) == [KeyRow(KEY.id, WORKSPACE, "laptop", at(0), at(5))]

    async def test_a_key_is_revoked_once_and_only_in_its_workspace(self, store: Store) -> None:
        await write(store, statements.key_insert(KEY, "hash_1"))
        await refused(Conflict, write(store, statements.key_revoke("wrkspc_2", KEY.id, at=at(5))))
        await write(store, statements.key_revoke(WORKSPACE, KEY.id, at=at(5)))
        await refused(Conflict, write(store, statements.key_revoke(WORKSPACE, KEY.id, at=at(6))))

    async def test_keys_are_listed_by_workspace_oldest_first(self, store: Store) -> None:
        late = KeyRow("apikey_0", WORKSPACE, "server", at(1))
        other = KeyRow("apikey_2", "wrkspc_2", "other", at(0))
        for n, row in enumerate((late, KEY, other)):
            await write(store, statements.key_insert(row, f"hash_{n}"))
        assert await store.keys.list(WORKSPACE) == [KEY, late]

    async def test_a_hash_is_taken_once(self, store: Store) -> None:
        await write(store, statements.key_insert(KEY, "hash_1"))
        await refused(Conflict, write(store, statements.key_insert(KeyRow("apikey_2", "w", "n", at(0)), "hash_1")))

    async def test_a_recorded_answer_comes_back_for_its_workspace_key_and_path(self, store: Store) -> None:
        await write(store, statements.replay_insert(WORKSPACE, "k", "/v1/agents", REPLAY, now=at(0)))
        assert await store.keys.replay(WORKSPACE, "k", "/v1/agents", since=at(0)) == REPLAY
        for where in (("wrkspc_2", "k", "/v1/agents"), (WORKSPACE, "l", "/v1/agents"), (WORKSPACE, "k", "/v1/files")):
            assert await store.keys.replay(*where, since=at(0)) is None

    async def test_a_second_request_under_one_key_writes_nothing(self, store: Store) -> None:
        await write(store, statements.replay_insert(WORKSPACE, "k", "/v1/agents", REPLAY, now=at(0)))
        second = (
            statements.object_insert(agent("agent_2")),
            statements.replay_insert(WORKSPACE, "k", "/v1/agents", REPLAY, now=at(0)),
        )
        refusal = await refused(Conflict, write(store, *second))
        assert refusal.query == "replay_insert"
        assert await store.objects.get(WORKSPACE, "agent", "agent_2") is None

    async def test_an_old_answer_is_not_replayed_and_its_key_is_free_once_it_expired(self, store: Store) -> None:
        record = statements.replay_insert(WORKSPACE, "k", "/v1/agents", REPLAY, now=at(0))
        await write(store, record)
        assert await store.keys.replay(WORKSPACE, "k", "/v1/agents", since=at(1)) is None
        await write(store, statements.replays_expire(before=at(0)))
        assert await store.keys.replay(WORKSPACE, "k", "/v1/agents", since=at(0)) == REPLAY
        await write(store, statements.replays_expire(before=at(1)), record)
