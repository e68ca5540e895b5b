"""Where no sandbox can be had, the message says why and what to do."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from roost.sandbox.bubblewrap import BubblewrapBackend


@pytest.mark.parametrize(("system", "name"), [("Darwin", "macOS"), ("Windows", "Windows")])
async def test_another_system_is_named_and_docker_is_the_way(
    system: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    backend = BubblewrapBackend(tmp_path)
    try:
        capability = await backend.probe()
    finally:
        await backend.aclose()
    assert not capability.available
    assert f"this is {name}" in capability.why_not
    assert "docker run --security-opt" in capability.why_not
    assert "apt-get" not in capability.why_not
