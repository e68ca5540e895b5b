"""What an agent leaves is all there afterwards, and nowhere but in the folder."""

from __future__ import annotations

from pathlib import Path

import anthropic
import httpx2
import pytest

from roost.cli.outputs import download_outputs, local_name


def client(*names: str) -> anthropic.Anthropic:
    """A server with files of these names; the content of each is its place in the list."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/content"):
            return httpx2.Response(200, content=request.url.path.split("/")[-2])
        about = {"type": "file", "created_at": "2026-01-01T00:00:00Z", "mime_type": "text/plain", "size_bytes": 1}
        files = [
            {**about, "id": str(place), "filename": name, "downloadable": True} for place, name in enumerate(names)
        ]
        return httpx2.Response(200, json={"data": files, "has_more": False})

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return anthropic.Anthropic(base_url="http://roost.test", api_key="k", http_client=http, max_retries=0)


def test_files_of_one_name_are_numbered_and_none_is_lost(tmp_path: Path) -> None:
    with client("a/x.txt", "b/x.txt", "x (2).txt", "x.txt") as api:
        written = download_outputs(api, "sesn_1", tmp_path)
    assert [path.name for path in written] == ["x.txt", "x (2).txt", "x (2) (2).txt", "x (3).txt"]
    assert [path.read_text() for path in written] == ["0", "1", "2", "3"]


def test_no_name_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    with client("..", "../../up.txt", "/etc/passwd", "") as api:
        written = download_outputs(api, "sesn_1", folder)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)
    assert {path.parent for path in written} == {folder}


def test_without_files_no_folder_is_made(tmp_path: Path) -> None:
    with client() as api:
        assert download_outputs(api, "sesn_1", tmp_path / "outputs") == []
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("name", "local"),
    [("a/b.txt", "b.txt"), (".hidden", ".hidden"), ("..", "unnamed"), ("a/", "unnamed"), ("x\x1b[2J\n\0", "x_[2J__")],
)
def test_a_name_is_made_fit(name: str, local: str) -> None:
    assert local_name(name) == local
