"""Files that messages refer to, and files the agent leaves behind."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest

from roost.core.clock import SystemClock, timestamp
from roost.core.ids import new_id
from roost.harness.files import OUTPUTS_MAX, Outputs, with_file
from roost.sandbox.interface import OutputFile, SandboxSpec, ToolResult
from roost.store.conformance.samples import WORKSPACE, session
from roost.store.protocols import Batch, ObjectQuery, ObjectRow
from roost.store.sqlite import SqliteStore
from roost.store.statements import object_insert
from roost.wire.files import file_name

FILE_BYTES_MAX = 100


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "data", SystemClock())
    yield opened
    await opened.close()


@dataclass
class Left:
    """Hands that only have files: name -> content, and a count that moves when the content does."""

    files: dict[str, bytes] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    taken_away: set[str] = field(default_factory=set)
    """Paths that are gone once they were listed."""
    growth: int = 1
    """How often a file's content is there by the time it is read."""

    def write(self, path: str, content: bytes) -> None:
        self.files[path] = content
        self.written[path] = self.written.get(path, 0) + 1

    async def execute(
        self, spec: SandboxSpec, *, call_id: str, epoch: int, name: str, input: Mapping[str, Any]
    ) -> ToolResult:
        raise NotImplementedError

    async def lookup(self, session_id: str, call_id: str, *, epoch: int) -> Literal["unknown", "running"] | ToolResult:
        raise NotImplementedError

    async def cancel(self, session_id: str, call_id: str, *, epoch: int) -> None:
        raise NotImplementedError

    async def outputs(self, session_id: str) -> Sequence[OutputFile]:
        return [OutputFile(path, len(content), self.written[path]) for path, content in self.files.items()]

    async def read_output(self, session_id: str, path: str) -> AsyncIterator[bytes]:
        self.reads.append(path)
        if path in self.taken_away:
            raise FileNotFoundError(path)
        yield self.files[path] * self.growth


async def keep(store: SqliteStore, content: bytes, mime_type: str) -> str:
    """A file of the workspace; returns its id."""

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    blob = await store.blobs.put(chunks(), limit_bytes=1 << 20)
    file_id, now = new_id("file"), timestamp(SystemClock().now())
    row = ObjectRow(
        WORKSPACE,
        "file",
        file_id,
        now,
        now,
        orjson.dumps({"id": file_id, "mime_type": mime_type}),
        private=orjson.dumps({"sha256": blob.sha256}),
    )
    await store.commit(Batch((object_insert(row),)))
    return file_id


def refers(kind: str, file_id: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "source": {"type": "file", "file_id": file_id}, **more}


@pytest.mark.parametrize(("kind", "mime_type"), [("image", "image/png"), ("document", "application/pdf")])
async def test_pictures_and_pdf_go_to_the_model_as_base64(store: SqliteStore, kind: str, mime_type: str) -> None:
    file_id = await keep(store, b"\x89bytes", mime_type)
    block = await with_file(store, WORKSPACE, refers(kind, file_id))
    data = base64.b64encode(b"\x89bytes").decode()
    assert block == {"type": kind, "source": {"type": "base64", "media_type": mime_type, "data": data}}


async def test_text_goes_to_the_model_as_text_and_without_what_is_null(store: SqliteStore) -> None:
    file_id = await keep(store, "né\xff".encode("latin-1"), "text/markdown")
    block = await with_file(store, WORKSPACE, refers("document", file_id, title="Notes", context=None))
    source = {"type": "text", "media_type": "text/plain", "data": "n��"}
    assert block == {"type": "document", "title": "Notes", "source": source}


async def test_an_empty_text_file_is_named_instead_since_the_api_takes_no_empty_document(store: SqliteStore) -> None:
    file_id = await keep(store, b"", "text/plain")
    block = await with_file(store, WORKSPACE, refers("document", file_id))
    assert block == {"type": "text", "text": f"[The file {file_id} is empty.]"}


async def test_a_file_that_is_gone_is_named_instead(store: SqliteStore) -> None:
    block = await with_file(store, WORKSPACE, refers("image", "file_gone"))
    assert block == {"type": "text", "text": "[The file file_gone is no longer available.]"}


async def test_a_file_of_another_workspace_is_as_good_as_gone(store: SqliteStore) -> None:
    file_id = await keep(store, b"secret", "text/plain")
    block = await with_file(store, "wrkspc_2", refers("document", file_id))
    assert block["text"] == f"[The file {file_id} is no longer available.]"


# --- outputs ---------------------------------------------------------------------------------------------------------


class Published:
    """A session's outputs, published and committed as a turn's end does it."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.hands = Left()
        self._outputs = Outputs(store, self.hands, SystemClock(), file_bytes_max=FILE_BYTES_MAX)

    async def now(self) -> dict[str, dict[str, Any]]:
        """By file name, after another turn has ended."""
        await self.store.commit(Batch(await self._outputs.publish(session())))
        rows = await self.store.objects.list(ObjectQuery(WORKSPACE, "file", parent_id=session().id, limit=100))
        return {body["filename"]: body for body in (orjson.loads(row.body) for row in rows)}

    async def content(self, file_id: str) -> bytes:
        row = await self.store.objects.get(WORKSPACE, "file", file_id)
        assert row is not None
        assert row.private is not None
        return b"".join([chunk async for chunk in self.store.blobs.read(orjson.loads(row.private)["sha256"])])


async def test_a_session_that_left_nothing_publishes_nothing(store: SqliteStore) -> None:
    assert await Published(store).now() == {}


async def test_what_the_agent_left_becomes_a_file_of_the_session(store: SqliteStore) -> None:
    published = Published(store)
    published.hands.write("charts/sales.csv", b"a,b\n")
    (metadata,) = (await published.now()).values()
    assert metadata["filename"] == "sales.csv"
    assert metadata["mime_type"] == "text/csv"
    assert metadata["size_bytes"] == 4
    assert metadata["downloadable"] is True
    assert metadata["scope"] == {"type": "session", "id": session().id}
    assert await published.content(metadata["id"]) == b"a,b\n"


async def test_a_file_that_did_not_change_keeps_its_id_and_is_not_read_again(store: SqliteStore) -> None:
    published = Published(store)
    published.hands.write("report.md", b"one")
    before = await published.now()
    assert await published.now() == before
    assert published.hands.reads == ["report.md"]


async def test_a_file_that_changed_replaces_the_one_before(store: SqliteStore) -> None:
    published = Published(store)
    published.hands.write("report.md", b"one")
    before = (await published.now())["report.md"]
    published.hands.write("report.md", b"two")
    after = await published.now()
    assert list(after) == ["report.md"]
    assert after["report.md"]["id"] != before["id"]
    assert await published.content(after["report.md"]["id"]) == b"two"


async def test_files_of_one_name_in_two_folders_are_two_files(store: SqliteStore) -> None:
    published = Published(store)
    published.hands.write("a/report.md", b"one")
    published.hands.write("b/report.md", b"two")
    await published.now()
    rows = await store.objects.list(ObjectQuery(WORKSPACE, "file", parent_id=session().id))
    assert len(rows) == 2


async def test_a_file_that_is_too_large_stays_in_the_sandbox(store: SqliteStore) -> None:
    published = Published(store)
    published.hands.write("large.bin", b"x" * (FILE_BYTES_MAX + 1))
    published.hands.write("small.bin", b"x")
    assert list(await published.now()) == ["small.bin"]


async def test_the_log_counts_the_outputs_that_are_not_published(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    published = Published(store)
    published.hands.write("large.bin", b"x" * (FILE_BYTES_MAX + 1))
    for number in range(OUTPUTS_MAX + 2):
        published.hands.write(f"{number}.txt", b"")
    await published.now()
    rows = await store.objects.list(ObjectQuery(WORKSPACE, "file", parent_id=session().id, limit=2 * OUTPUTS_MAX))
    assert len(rows) == OUTPUTS_MAX
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        f"1 outputs above {FILE_BYTES_MAX} bytes are not published",
        f"2 outputs beyond the first {OUTPUTS_MAX} are not published",
    ]


async def test_a_name_has_no_characters_that_an_upload_may_not_have(store: SqliteStore) -> None:
    published = Published(store)
    published.hands.write('a:b\n\x9b"c?.txt', b"x")
    (name,) = await published.now()
    assert name == file_name(name, "") == "a_b___c_.txt"


async def test_a_file_that_grows_too_large_while_it_is_read_stays_in_the_sandbox(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    published = Published(store)
    published.hands.write("growing.log", b"x" * FILE_BYTES_MAX)
    published.hands.growth = 2
    assert await published.now() == {}
    assert "an output grew above" in caplog.text


async def test_a_file_that_is_taken_away_while_it_is_read_does_no_harm(store: SqliteStore) -> None:
    published = Published(store)
    published.hands.write("a.txt", b"x")
    published.hands.write("b.txt", b"y")
    published.hands.taken_away.add("a.txt")
    assert list(await published.now()) == ["b.txt"]


async def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(store: SqliteStore) -> None:
    published = Published(store)
    published.hands.write("caf\udce9.txt", b"x")
    before = await published.now()
    assert list(before) == ["caf\ufffd.txt"]
    assert await published.now() == before
