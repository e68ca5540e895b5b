"""Files through the official SDK (contract/skills-files.md, Files)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from roost.store.protocols import Batch
from roost.store.statements import object_update
from tests.contract.conftest import HEADERS, KEY, Served, body_of, serving
from tests.contract.given import a_session
from tests.contract.shape import whole

PLAIN = {"authorization": f"Bearer {KEY}"}
"""Without any beta header, which files do not need."""


async def test_an_uploaded_file_comes_back_byte_by_byte(served: Served) -> None:
    content = bytes(range(256)) * 4_000
    file = whole(await served.client.beta.files.upload(file=("data.bin", content)))
    assert file.id.startswith("file_")
    assert (file.filename, file.size_bytes, file.mime_type) == ("data.bin", len(content), "application/octet-stream")
    assert (file.downloadable, file.expires_at, file.scope) == (True, None, None)
    assert whole(await served.client.beta.files.retrieve_metadata(file.id)) == file
    assert await (await served.client.beta.files.download(file.id)).read() == content


async def test_the_client_without_betas_works_as_well(served: Served) -> None:
    file = await served.client.files.upload(file=("a.txt", b"a"))
    assert (await served.client.files.retrieve_metadata(file.id)).filename == "a.txt"
    assert await (await served.client.files.download(file.id)).read() == b"a"
    assert [one.id for one in (await served.client.files.list()).data] == [file.id]
    assert (await served.client.files.delete(file.id)).id == file.id


async def test_a_download_is_an_attachment_that_no_browser_runs(served: Served) -> None:
    file = await served.client.beta.files.upload(file=("é page.html", b"<script>", "text/html"))
    response = await served.http.get(f"/v1/files/{file.id}/content")
    assert response.headers["content-disposition"] == "attachment; filename*=utf-8''%C3%A9%20page.html"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("sent", "mime", "name", "kept"),
    [
        ("report.pdf", None, "report.pdf", "application/pdf"),
        ("folder/deep/report.pdf", None, "report.pdf", "application/pdf"),
        ("noext", "text/markdown; charset=utf-8", "noext", "text/markdown"),
        ("a.png", "application/octet-stream", "a.png", "image/png"),
        ("a.png", "not a type", "a.png", "image/png"),
        (None, "image/png", "unnamed.png", "image/png"),
        (None, None, "unnamed.bin", "application/octet-stream"),
        ("", "text/plain", "unnamed.txt", "text/plain"),
    ],
)
async def test_names_and_types_are_settled_at_upload(
    served: Served, sent: str | None, mime: str | None, name: str, kept: str
) -> None:
    file = body_of(await post(served, form(part("file", b"x", filename=sent, mime=mime))))
    assert (file["filename"], file["mime_type"]) == (name, kept)


@pytest.mark.parametrize("name", ['a"b', "a<b", "a:b", "a|b", "a?b", "a*b", "a\\b", "a\tb", "..", "x" * 256])
async def test_a_name_that_some_file_system_cannot_hold_is_refused(served: Served, name: str) -> None:
    response = await post(served, form(part("file", b"x", filename=name.replace('"', '\\"'))))
    assert (response.status_code, body_of(response)["error"]["message"][:6]) == (400, "file: ")
    assert (await served.client.beta.files.list()).data == []


# --- expiry ----------------------------------------------------------------------------------------------------------


async def test_an_expiry_is_counted_from_the_upload(served: Served) -> None:
    file = await served.client.beta.files.upload(file=("a.txt", b"a"), expires_in_seconds=3_600)
    assert file.expires_at == file.created_at + timedelta(hours=1)


async def test_an_expired_file_is_gone_but_its_record_is_readable(served: Served) -> None:
    file = await served.client.beta.files.upload(file=("a.txt", b"a"), expires_in_seconds=3_600)
    row = await served.store.objects.get("wrkspc_one", "file", file.id)
    assert row is not None
    past = re.sub(rb'"expires_at":"[^"]*"', b'"expires_at":"2020-01-01T00:00:00.000000Z"', row.body)
    expired = object_update(replace(row, body=past), was_updated_at=row.updated_at)
    await served.store.commit(Batch((expired,)))
    response = await served.http.get(f"/v1/files/{file.id}/content")
    assert response.status_code == 404
    assert body_of(response)["error"]["details"] == {"error_code": "file_expired"}
    assert (await served.client.beta.files.retrieve_metadata(file.id)).filename == "a.txt"


@pytest.mark.parametrize("seconds", ["3599", "7776001", "-1", "1e4", "", "٣٦٠٠", "9" * 2_000])
async def test_an_expiry_outside_its_range_is_refused(served: Served, seconds: str) -> None:
    response = await post(served, form(part("expires_in_seconds", seconds.encode()), part("file", b"x")))
    assert (response.status_code, body_of(response)["error"]["message"][:20]) == (400, "expires_in_seconds: "[:20])
    assert (await served.client.beta.files.list()).data == []


# --- lists -----------------------------------------------------------------------------------------------------------


async def test_files_are_listed_newest_first_with_cursors_that_say_page(served: Served) -> None:
    made = [(await served.client.beta.files.upload(file=(f"{n}.txt", b"x"))).id for n in range(5)]
    page = await served.client.beta.files.list(limit=2)
    assert page.next_page is not None
    assert page.next_page.startswith("page_")
    assert [file.id async for file in page] == made[::-1]


async def test_files_of_a_session_are_found_by_its_id_without_a_beta_header(served: Served) -> None:
    original = await served.client.beta.files.upload(file=("a.txt", b"a"))
    session = await a_session(served.client, resources=[{"type": "file", "file_id": original.id}])
    listed = whole((await served.client.beta.files.list(scope_id=session.id)).data)
    assert [file.id for file in listed] == [session.resources[0].to_dict()["file_id"]]
    response = await served.http.get(f"/v1/files?scope_id={session.id}", headers={"anthropic-beta": ""})
    assert len(body_of(response)["data"]) == 1
    assert (await served.client.beta.files.list(scope_id="sesn_unknown")).data == []


async def test_files_asked_for_by_id_come_on_one_page_in_that_order_without_the_unknown(served: Served) -> None:
    ids = [(await served.client.beta.files.upload(file=("a.txt", b"a"))).id for _ in range(3)]
    asked = [ids[2], "file_unknown", ids[0], ids[2]]
    page = await served.client.beta.files.list(ids=asked)
    assert ([file.id for file in page.data], page.next_page) == ([ids[2], ids[0]], None)
    for query in (f"ids[]={ids[0]}&limit=5", "&".join(f"ids[]=file_{number}" for number in range(101))):
        response = await served.http.get(f"/v1/files?{query}")
        assert (response.status_code, body_of(response)["error"]["message"][:7]) == (400, "ids[]: ")


async def test_a_deleted_file_is_gone(served: Served) -> None:
    file = await served.client.beta.files.upload(file=("a.txt", b"a"))
    deleted = whole(await served.client.beta.files.delete(file.id))
    assert (deleted.id, deleted.type) == (file.id, "file_deleted")
    for response in (
        await served.http.get(f"/v1/files/{file.id}"),
        await served.http.get(f"/v1/files/{file.id}/content"),
        await served.http.delete(f"/v1/files/{file.id}"),
    ):
        assert (response.status_code, body_of(response)["error"]["type"]) == (404, "not_found_error")


# --- forms -----------------------------------------------------------------------------------------------------------

BOUNDARY = "frontier"


def part(name: str, content: bytes, *, filename: str | None = None, mime: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    typed = f"\r\ncontent-type: {mime}" if mime else ""
    return f'content-disposition: form-data; name="{name}"{named}{typed}\r\n\r\n'.encode() + content


def form(*parts: bytes, end: str = f"--{BOUNDARY}--\r\n") -> bytes:
    opened = b"".join(f"--{BOUNDARY}\r\n".encode() + one + b"\r\n" for one in parts)
    return opened + end.encode()


async def post(served: Served, content: Any, *, type: str = f"multipart/form-data; boundary={BOUNDARY}") -> Any:
    return await served.http.post("/v1/files", content=content, headers={**HEADERS, "content-type": type})


async def test_parts_come_in_any_order_and_in_any_pieces(served: Served) -> None:
    content = b"--frontie\r\n" * 50
    parts = [part("file", content, filename="a.txt"), part("expires_in_seconds", b"3600")]
    for ordered in (parts, parts[::-1]):
        whole_form = form(*ordered)

        async def pieces(whole_form: bytes = whole_form) -> Any:
            for start in range(0, len(whole_form), 7):
                yield whole_form[start : start + 7]

        file = body_of(await post(served, pieces()))
        assert (file["size_bytes"], file["expires_at"] is not None) == (len(content), True)
        assert (await served.http.get(f"/v1/files/{file['id']}/content")).content == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (form(part("expires_in_seconds", b"3600")), "file: is required"),
        (form(part("file", b"x"), part("file", b"y")), "file: is not a field of this form, or was sent twice"),
        (form(part("file", b"x"), part("color", b"red")), "color: is not a field"),
        (form(part("file", b"x"), end=""), "The form cannot be read: it ends too early"),
        (form(part("file", b"x" * 100))[:60], "The form cannot be read"),
        (b"nonsense", "The form cannot be read"),
        (b"", "The form cannot be read"),
        (form(part("file", b"x"), b"x: y\r\n" * 20_000), "The form "),
    ],
)
async def test_a_broken_form_is_refused_and_leaves_nothing(served: Served, content: bytes, message: str) -> None:
    response = await post(served, content)
    assert (response.status_code, body_of(response)["error"]["message"][: len(message)]) == (400, message)
    assert (await served.client.beta.files.list()).data == []


@pytest.mark.parametrize("type", ["application/json", "multipart/form-data", "text/plain; boundary=x"])
async def test_a_form_of_another_type_is_refused(served: Served, type: str) -> None:
    response = await post(served, b"{}", type=type)
    assert (response.status_code, body_of(response)["error"]["message"][:14]) == (400, "content-type: ")


async def test_a_file_that_is_too_large_is_refused_whether_announced_or_not(tmp_path: Path) -> None:
    async with serving(tmp_path, file_bytes_max=10_000) as served:
        fits, large = form(part("file", b"x" * 10_000)), form(part("file", b"x" * 10_001))
        assert (await post(served, fits)).status_code == 200

        async def unannounced() -> Any:
            yield large

        for content in (large, unannounced(), form(part("file", b"x" * 200_000))):
            response = await post(served, content)
            assert (response.status_code, body_of(response)["error"]["type"]) == (413, "invalid_request_error")
        assert len((await served.client.beta.files.list()).data) == 1
        assert list((tmp_path / "blobs" / "arriving").iterdir()) == []
