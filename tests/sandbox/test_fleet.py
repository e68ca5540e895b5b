"""One place for the sandboxes of all sessions: made once, found again, made anew, bounded in number."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.conformance import MOMENT_S, text
from roost.sandbox.fleet import Fleet
from roost.sandbox.interface import Networking, SandboxLost, SandboxSpec, SandboxUnavailable, Upload
from roost.sandbox.keeper import Keeper, living_keeper
from tests.sandbox.conftest import until, until_running

pytestmark = pytest.mark.sandbox

SPEC = SandboxSpec("session")


async def bash(fleet: Fleet, command: str, call_id: str, spec: SandboxSpec = SPEC) -> str:
    return text(await fleet.execute(spec, call_id=call_id, epoch=1, name="bash", input={"command": command}))


def keeper(tmp_path: Path, session_id: str = "session") -> Keeper | None:
    return living_keeper(tmp_path / "state/sessions" / session_id)


async def test_calls_at_once_share_one_sandbox(backend: BubblewrapBackend) -> None:
    fleet = Fleet(backend)
    said = await asyncio.gather(*(bash(fleet, "readlink /proc/self/ns/pid", f"c{number}") for number in range(5)))
    assert len(set(said)) == 1
    await fleet.close()


async def test_a_new_fleet_finds_the_sandbox_with_its_running_call(backend: BubblewrapBackend, tmp_path: Path) -> None:
    old, new = Fleet(backend), Fleet(BubblewrapBackend(tmp_path / "state"))
    workspace = tmp_path / "state/sessions/session/workspace"
    call = asyncio.create_task(bash(old, "while [ ! -e go ]; do sleep 0.01; done; echo once", "call"))
    await until_running(old, "session", "call")
    await old.close()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await new.lookup("session", "call", epoch=2) == "running"
    (workspace / "go").touch()
    assert await bash_again(new) == "once"
    await new.close()


async def bash_again(fleet: Fleet) -> str:
    return text(await fleet.execute(SPEC, call_id="call", epoch=2, name="bash", input={"command": "echo twice"}))


async def test_after_a_loss_the_call_is_lost_and_the_next_has_the_files(
    backend: BubblewrapBackend, tmp_path: Path
) -> None:
    fleet = Fleet(backend)
    call = asyncio.create_task(bash(fleet, "touch file; sleep 1000", "call"))
    await until((tmp_path / "state/sessions/session/workspace/file").exists)
    living = keeper(tmp_path)
    assert living is not None
    os.kill(living.pid, signal.SIGKILL)
    with pytest.raises(SandboxLost):
        await call
    with pytest.raises(SandboxLost):
        await fleet.lookup("session", "call", epoch=1)
    said = await bash(fleet, "ls", "next")
    assert said.startswith("[the sandbox was started anew")
    assert said.endswith("file")
    assert await bash(fleet, "echo again", "after") == "again"
    await fleet.close()


async def test_a_session_that_never_had_a_sandbox_ran_nothing(backend: BubblewrapBackend) -> None:
    fleet = Fleet(backend)
    assert await fleet.lookup("session", "call", epoch=1) == "unknown"
    assert await fleet.outputs("session") == []
    await fleet.cancel("session", "call", epoch=1)
    await fleet.close()


async def test_a_cancel_before_the_sandbox_is_there_keeps_the_call_from_running(backend: BubblewrapBackend) -> None:
    fleet = Fleet(backend)
    call = asyncio.create_task(bash(fleet, "touch ran", "call"))
    await asyncio.sleep(0)
    await fleet.cancel("session", "call", epoch=1)
    assert await call == "the call was cancelled"
    assert await bash(fleet, "ls", "next") == "(no output)"
    await fleet.close()


async def test_the_longest_idle_sandbox_makes_room(backend: BubblewrapBackend, tmp_path: Path) -> None:
    fleet = Fleet(backend, living_max=2)
    for name in ("a", "b", "c"):
        await bash(fleet, "touch kept", "call", SandboxSpec(name))
    assert [bool(keeper(tmp_path, name)) for name in ("a", "b", "c")] == [False, True, True]
    assert "kept" in await bash(fleet, "ls", "next", SandboxSpec("a"))
    assert [bool(keeper(tmp_path, name)) for name in ("a", "b", "c")] == [True, False, True]
    await fleet.close()


async def test_with_all_places_busy_a_call_waits_for_one(backend: BubblewrapBackend, tmp_path: Path) -> None:
    fleet = Fleet(backend, living_max=1)
    busy = asyncio.create_task(
        bash(fleet, "while [ ! -e go ]; do sleep 0.01; done; echo first", "call", SandboxSpec("a"))
    )
    await until_running(fleet, "a", "call")
    waiting = asyncio.create_task(bash(fleet, "echo second", "call", SandboxSpec("b")))
    (tmp_path / "state/sessions/a/workspace/go").touch()
    assert list(await asyncio.wait_for(asyncio.gather(busy, waiting), MOMENT_S)) == ["first", "second"]
    await fleet.close()


async def test_closing_does_not_wait_for_a_place(backend: BubblewrapBackend) -> None:
    fleet = Fleet(backend, living_max=1)
    busy = asyncio.create_task(bash(fleet, "sleep 1000", "call", SandboxSpec("a")))
    await until_running(fleet, "a", "call")
    waiting = asyncio.create_task(bash(fleet, "echo never", "call", SandboxSpec("b")))
    await asyncio.sleep(0)
    await asyncio.wait_for(fleet.close(), MOMENT_S)
    with pytest.raises(SandboxUnavailable):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await busy


async def test_an_idle_sandbox_ends_and_keeps_its_files(backend: BubblewrapBackend, tmp_path: Path) -> None:
    fleet = Fleet(backend, idle_s=0.01)
    await bash(fleet, "touch kept", "call")
    await until(lambda: not keeper(tmp_path))
    assert (tmp_path / "state/sessions/session/workspace/kept").exists()
    await fleet.close()


async def test_a_new_server_ends_idle_sandboxes_of_the_old_one(backend: BubblewrapBackend, tmp_path: Path) -> None:
    old = Fleet(backend)
    await bash(old, "true", "call")
    await old.close()
    assert keeper(tmp_path)
    new = Fleet(backend, idle_s=0.01)
    await new.start()
    await until(lambda: not keeper(tmp_path))
    await new.close()


async def test_a_server_that_will_not_come_back_ends_what_is_idle(backend: BubblewrapBackend, tmp_path: Path) -> None:
    fleet = Fleet(backend)
    await bash(fleet, "true", "call", SandboxSpec("idle"))
    busy = asyncio.create_task(bash(fleet, "sleep 1000", "call", SandboxSpec("busy")))
    await until_running(fleet, "busy", "call")
    await fleet.end_all()
    assert [bool(keeper(tmp_path, name)) for name in ("idle", "busy")] == [False, True]
    await fleet.close()
    with pytest.raises(asyncio.CancelledError):
        await busy


async def test_forgetting_ends_the_sandbox_and_removes_the_files(backend: BubblewrapBackend, tmp_path: Path) -> None:
    fleet = Fleet(backend)
    await bash(fleet, "touch x", "call")
    assert list(await fleet.living()) == ["session"]
    await fleet.forget("session")
    assert list(await fleet.living()) == []
    assert not (tmp_path / "state/sessions/session").exists()
    await fleet.close()


async def test_a_living_sandbox_follows_its_spec_and_nothing_in_it_ends(
    backend: BubblewrapBackend, tmp_path: Path
) -> None:
    fleet = Fleet(backend)
    (tmp_path / "blob").write_text("late")
    path = "/mnt/session/uploads/late.txt"
    await bash(fleet, "kept=4711; sleep 1000 &", "first")
    spec = SandboxSpec("session", Networking("limited"), (Upload(path, str(tmp_path / "blob")),))
    look = f"cat {path} 2>&1; echo; echo $kept; jobs -r | wc -l"
    assert await bash(fleet, look, "second", spec) == "late\n4711\n1"
    assert await bash(fleet, look, "third") == f"cat: {path}: No such file or directory\n\n4711\n1"
    await fleet.close()


async def test_a_call_beside_others_sees_the_changed_spec_too(backend: BubblewrapBackend, tmp_path: Path) -> None:
    fleet = Fleet(backend)
    (tmp_path / "blob").write_text("late")
    path = "/mnt/session/uploads/late.txt"
    waiting = asyncio.create_task(bash(fleet, f"while [ ! -e {path} ]; do sleep 0.01; done; cat {path}", "first"))
    await until_running(fleet, "session", "first")
    spec = SandboxSpec("session", uploads=(Upload(path, str(tmp_path / "blob")),))
    read = await fleet.execute(spec, call_id="second", epoch=1, name="read", input={"file_path": path})
    assert "late" in text(read)
    assert await asyncio.wait_for(waiting, MOMENT_S) == "late"
    await fleet.close()


async def test_a_sandbox_that_cannot_follow_is_made_anew_with_the_same_files(
    backend: BubblewrapBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "update", AsyncMock(return_value=False))
    fleet = Fleet(backend)
    await bash(fleet, "touch kept", "call")
    said = await bash(fleet, "ls", "next", SandboxSpec("session", Networking("limited")))
    assert said.startswith("[the sandbox was started anew")
    assert said.endswith("kept")
    await fleet.close()


async def test_outputs_are_there_when_the_sandbox_is_not(backend: BubblewrapBackend) -> None:
    fleet = Fleet(backend, idle_s=0)
    await bash(fleet, "echo report >/mnt/session/outputs/r.txt", "call")
    assert [file.path for file in await fleet.outputs("session")] == ["r.txt"]
    assert b"".join([chunk async for chunk in fleet.read_output("session", "r.txt")]) == b"report\n"
    await fleet.close()


async def test_a_lost_sandbox_of_a_closed_fleet_is_not_ended(backend: BubblewrapBackend, tmp_path: Path) -> None:
    fleet = Fleet(backend)
    await bash(fleet, "true", "call")
    await fleet.close()
    assert keeper(tmp_path)
