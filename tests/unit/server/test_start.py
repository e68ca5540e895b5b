"""The first start and those after it: keys, the operator's key, and folders that are not Roost's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from roost.core.settings import Settings
from roost.server import StartError, running
from roost.store.protocols import StoreError

pytestmark = pytest.mark.sandbox


def settings(folder: Path, **changed: Any) -> Settings:
    return Settings(**{"port": 0, "data_dir": folder / "data", **changed})


async def status(url: str, key: str) -> int:
    headers = {"x-api-key": key, "anthropic-beta": "managed-agents-2026-04-01"}
    async with httpx2.AsyncClient(base_url=url, headers=headers) as client:
        return (await client.get("/v1/agents")).status_code


async def test_the_first_start_shows_a_key_and_later_ones_do_not(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as first:
        key = first.info.key_created
        assert key is not None
        assert await status(first.url, key) == 200
    async with running(settings(tmp_path)) as second:
        assert second.info.key_created is None
        assert await status(second.url, key) == 200


async def test_a_key_of_the_settings_is_accepted_and_not_kept(tmp_path: Path) -> None:
    async with running(settings(tmp_path, api_key="sk-of-the-settings")) as first:
        assert first.info.key_created is None
        assert await status(first.url, "sk-of-the-settings") == 200
    async with running(settings(tmp_path)) as second:
        assert second.info.key_created is not None
        assert await status(second.url, "sk-of-the-settings") == 401


async def test_the_operators_key_is_private_and_an_empty_one_stops_the_start(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        path = tmp_path / "data/admin.key"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text().strip() == server.admin_key
    path.write_text("")
    with pytest.raises(StartError, match="is empty"):
        async with running(settings(tmp_path)):
            pass


async def test_a_folder_with_other_things_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    (folder / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="no data folder"):
        async with running(settings(tmp_path)):
            pass
    assert folder.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]
