"""What the server does around a sandbox: uid ranges, folders, filters, groups, and reasons why there is none."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.sandbox import remedy
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.cgroup import ControlGroups
from roost.sandbox.idrange import FIRST_ID, IDS_PER_SANDBOX, LAST_ID, choose_base, reserved_ranges
from roost.sandbox.interface import SandboxSpec, SandboxUnavailable, Upload
from roost.sandbox.keeper import Keeper, living_keeper
from roost.sandbox.layout import Folder
from roost.sandbox.seccomp import Machine, denied_calls, sandbox_filter

HEADERS: dict[Machine, str] = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}


@given(
    st.lists(
        st.integers(0, 2**32).flatmap(lambda first: st.integers(1, 2**20).map(lambda n: range(first, first + n))),
        max_size=5,
    )
)
def test_a_range_meets_nobody_elses(reserved: list[range]) -> None:
    base = choose_base(set(), reserved)
    assert base >= FIRST_ID
    assert base + IDS_PER_SANDBOX - 1 <= LAST_ID
    assert not any(set(range(base, base + IDS_PER_SANDBOX)) & {other.start, other.stop - 1} for other in reserved)
    assert not any(base in other for other in reserved)


def test_when_every_range_is_taken_that_is_said() -> None:
    with pytest.raises(RuntimeError):
        choose_base(set(), [range(2**32)])


def test_subordinate_ids_and_users_are_reserved(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("alice:100000:65536\nbroken\n")
    (tmp_path / "passwd").write_text("bob:x:300000:300000::/:/bin/sh\n")
    assert reserved_ranges(tmp_path) == [range(100000, 165536), range(300000, 300001)]


@pytest.mark.parametrize("machine", HEADERS)
def test_the_call_numbers_are_the_kernels(machine: Machine) -> None:
    if not os.path.exists(HEADERS[machine]):
        pytest.skip(f"no kernel headers at {HEADERS[machine]}")
    header = Path(HEADERS[machine]).read_text()
    known = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", header)}
    ours = denied_calls(machine)
    assert {name: known[name] for name in ours if name in known} == {name: ours[name] for name in ours if name in known}
    assert len(set(ours) & set(known)) > 40


@pytest.mark.parametrize("machine", HEADERS)
def test_the_filter_is_a_program_the_kernel_can_take(machine: Machine) -> None:
    """Whole instructions, within the kernel's limit, and every jump lands inside."""
    program = sandbox_filter(machine)
    count = len(program) // 8
    assert len(program) % 8 == 0
    assert count <= 4096
    for at in range(count):
        code, if_true, if_false = program[8 * at], program[8 * at + 2], program[8 * at + 3]
        if code & 7 == 5:
            assert at + 1 + max(if_true, if_false) < count
    assert program[-8] == 0x06


@pytest.mark.parametrize("session_id", ["", "..", "a/b", ".hidden", "-x", "a" * 129, "a\n"])
def test_a_session_id_that_is_no_name_is_refused(session_id: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        Folder(tmp_path, session_id)


@pytest.mark.parametrize("path", ["/etc/passwd", "/mnt/session/uploads", "/mnt/session/uploads/../x", "relative"])
def test_an_upload_elsewhere_is_refused(path: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    with pytest.raises(SandboxUnavailable):
        Folder(tmp_path, "session").prepare(SandboxSpec("session", uploads=(Upload(path, str(source)),)), 0)


def test_an_upload_that_is_gone_is_named(tmp_path: Path) -> None:
    upload = Upload("/mnt/session/uploads/a", str(tmp_path / "none"))
    with pytest.raises(SandboxUnavailable, match="/mnt/session/uploads/a is gone"):
        Folder(tmp_path, "session").prepare(SandboxSpec("session", uploads=(upload,)), 0)


def test_the_folders_are_closed_to_others(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "session")
    folder.prepare(SandboxSpec("session"), 0)
    for path in (folder.path, *folder.path.iterdir()):
        if path.is_dir() and path != folder.files:
            assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("base", "mode", "shares"), [(0, 0o600, True), (300_000, 0o600, False), (300_000, 0o604, True)]
)
def test_an_upload_shares_its_bytes_where_the_sandbox_may_read_them(
    base: int, mode: int, shares: bool, tmp_path: Path
) -> None:
    if base and os.geteuid() != 0:
        pytest.skip("only root gives sandboxes uid ranges of their own")
    source = tmp_path / "source"
    source.write_text("content")
    source.chmod(mode)
    folder = Folder(tmp_path / "state", "session")
    folder.prepare(SandboxSpec("session", uploads=(Upload("/mnt/session/uploads/a/b", str(source)),)), base)
    shown = folder.files / "a/b"
    assert shown.read_text() == "content"
    assert shown.samefile(source) == shares
    assert stat.S_IMODE(shown.stat().st_mode) == (mode if shares else 0o444)
    assert stat.S_IMODE(shown.parent.stat().st_mode) == 0o755
    assert not (folder.path / "arriving").exists()


def test_what_was_kept_of_a_spec_is_the_spec(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    spec = SandboxSpec("session", uploads=(Upload("/mnt/session/uploads/a", str(source)),))
    folder = Folder(tmp_path, "session")
    assert folder.spec() is None
    folder.prepare(spec, 0)
    assert folder.spec() == spec


def test_a_pid_that_belongs_to_somebody_else_is_not_killed(tmp_path: Path) -> None:
    (tmp_path / "keeper").write_text(f"{os.getpid()} 1\n")
    assert living_keeper(tmp_path) is None
    Keeper(os.getpid(), "1").end()


@pytest.mark.parametrize("content", ["", "x y", "1", "1 2 3"])
def test_a_broken_pid_file_names_nobody(content: str, tmp_path: Path) -> None:
    (tmp_path / "keeper").write_text(content)
    assert living_keeper(tmp_path) is None


def test_version_two_is_asked_for_its_controllers_and_believed_only_when_it_hands_them_down(tmp_path: Path) -> None:
    """On folders that look like the kernel's: a file here keeps what is written, the kernel answers what it gives."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (tmp_path / "roost").mkdir()
    (tmp_path / "roost/cgroup.controllers").write_text("cpu io pids")
    (tmp_path / "roost/cgroup.subtree_control").write_text("")
    groups = ControlGroups.of_this_machine(1_000, 10, 2, root=tmp_path)
    assert (tmp_path / "roost/cgroup.subtree_control").read_text() == "+cpu +pids"
    assert groups.controllers == frozenset()
    assert groups.make("session") == []


def test_version_two_gets_each_limit_that_it_enforces(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (tmp_path / "roost").mkdir()
    for name in ("controllers", "subtree_control"):
        (tmp_path / f"roost/cgroup.{name}").write_text("cpu pids")
    groups = ControlGroups.of_this_machine(1_000, 10, 0.5, root=tmp_path)
    assert groups.controllers == {"cpu", "pids"}
    assert groups.make("session") == [str(tmp_path / "roost/session/cgroup.procs")]
    written = {path.name: path.read_text() for path in (tmp_path / "roost/session").iterdir()}
    assert written == {"cpu.max": "50000 100000", "pids.max": "10"}


def test_version_one_gets_its_limits_in_each_hierarchy(tmp_path: Path) -> None:
    """And only where the kernel has what it takes: this one counts processes, but cannot limit them."""
    for setting in ("cpu/roost/cpu.cfs_period_us", "cpu/roost/cpu.cfs_quota_us", "memory/roost/memory.limit_in_bytes"):
        (tmp_path / setting).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / setting).touch()
    (tmp_path / "pids").mkdir()
    groups = ControlGroups.of_this_machine(1_000, 10, 1.5, root=tmp_path)
    assert groups.controllers == {"cpu", "memory"}
    groups.make("session")
    assert (tmp_path / "cpu/roost/session/cpu.cfs_quota_us").read_text() == "150000"
    assert (tmp_path / "cpu/roost/session/cpu.cfs_period_us").read_text() == "100000"
    assert (tmp_path / "memory/roost/session/memory.limit_in_bytes").read_text() == "1000"


def test_no_groups_where_none_can_be_made(tmp_path: Path) -> None:
    groups = ControlGroups.of_this_machine(1_000, 10, 2, root=tmp_path)
    assert groups.make("session") == []
    assert groups.controllers == frozenset()
    groups.remove("session")


async def test_a_missing_bubblewrap_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    capability = await BubblewrapBackend(tmp_path).probe()
    assert not capability.available
    assert "apt-get install bubblewrap" in capability.why_not


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("_MAXIMUM", "0", "user.max_user_namespaces"),
        ("_DEBIAN", "0", "kernel.unprivileged_userns_clone=1"),
        ("_APPARMOR", "1", "apparmor_restrict_unprivileged_userns=0"),
    ],
)
async def test_refused_namespaces_are_named_with_their_remedy(
    setting: str, value: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bubblewrap that is refused what it asks for, on a machine whose settings say why."""
    bwrap = tmp_path / "bwrap"
    bwrap.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    bwrap.chmod(0o755)
    (tmp_path / "setting").write_text(value)
    for name in ("_MAXIMUM", "_DEBIAN", "_APPARMOR"):
        monkeypatch.setattr(remedy, name, str(tmp_path / ("setting" if name == setting else "none")))
    backend = BubblewrapBackend(tmp_path / "state", bwrap=str(bwrap))
    capability = await backend.probe()
    await backend.aclose()
    assert not capability.available
    assert advice in capability.why_not, capability.why_not


async def test_a_long_path_to_the_data_is_no_obstacle(tmp_path: Path, why_not: str) -> None:
    """A unix socket's address may have 107 bytes."""
    if why_not:
        pytest.skip(why_not)
    backend = BubblewrapBackend(tmp_path / ("long" * 30) / "state")
    sandbox = await backend.provision(SandboxSpec("session"))
    await sandbox.destroy(keep_files=False)
    await backend.aclose()
