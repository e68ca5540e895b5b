"""A sandbox follows its spec while it lives: uploads come and go under a running shell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from roost.core.ids import new_id
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.conformance import Bench
from roost.sandbox.interface import Networking, SandboxSpec, SandboxUnavailable, Upload
from roost.sandbox.layout import Folder

pytestmark = pytest.mark.sandbox

UPLOADS = "/mnt/session/uploads"


def upload(tmp_path: Path, place: str, content: str, *, mode: int = 0o600) -> Upload:
    source = tmp_path / f"source-{content}"
    source.write_text(content)
    source.chmod(mode)
    return Upload(f"{UPLOADS}/{place}", str(source))


async def shown(bench: Bench) -> str:
    return await bench.bash(f"(cd {UPLOADS}; echo $(find . -mindepth 1 | sort))")


@pytest.fixture
async def living(backend: BubblewrapBackend) -> Bench:
    bench = Bench(backend, new_id("sesn"))
    await bench.bash("kept=yes")
    return bench


async def test_uploads_come_and_go_under_a_running_shell(living: Bench, tmp_path: Path) -> None:
    sandbox = await living.sandbox()
    one, two = upload(tmp_path, "a.txt", "one"), upload(tmp_path, "deep/er/b.txt", "two", mode=0o644)
    assert await sandbox.update(replace(living.spec, uploads=(one, two)))
    assert sandbox.spec.uploads == (one, two)
    assert await living.bash(f"cat {UPLOADS}/a.txt {UPLOADS}/deep/er/b.txt; echo $kept") == "onetwoyes"

    other = upload(tmp_path, "a.txt", "three")
    assert await sandbox.update(replace(living.spec, uploads=(other,)))
    assert await shown(living) == "./a.txt"
    assert await living.bash(f"cat {UPLOADS}/a.txt; echo $kept") == "threeyes"

    assert await sandbox.update(living.spec)
    assert await living.bash(f"ls -A {UPLOADS} | wc -l; echo $kept") == "0\nyes"


async def test_a_file_gives_way_to_a_folder_and_back(living: Bench, tmp_path: Path) -> None:
    sandbox = await living.sandbox()
    for place, paths in (("x", "./x"), ("x/y", "./x ./x/y"), ("x", "./x")):
        assert await sandbox.update(replace(living.spec, uploads=(upload(tmp_path, place, "z"),)))
        assert await shown(living) == paths


async def test_the_folder_is_read_only_for_every_user_and_readable(living: Bench, tmp_path: Path) -> None:
    sandbox = await living.sandbox()
    assert await sandbox.update(replace(living.spec, uploads=(upload(tmp_path, "d/a", "one"),)))
    refused = await living.bash(f"touch {UPLOADS}/new {UPLOADS}/d/new; chmod 777 {UPLOADS}; rm {UPLOADS}/d/a; true")
    assert refused.count("Read-only file system") == 4
    assert (tmp_path / "source-one").read_text() == "one"


async def test_an_upload_that_cannot_be_placed_changes_nothing(living: Bench, tmp_path: Path) -> None:
    sandbox = await living.sandbox()
    good, more = upload(tmp_path, "good", "good"), upload(tmp_path, "more", "more")
    spec = replace(living.spec, uploads=(good,))
    assert await sandbox.update(spec)
    bad = {
        "../../etc/x does not lie below": (replace(more, mount_path=f"{UPLOADS}/../../etc/x"),),
        "two files are to be mounted at /mnt/session/uploads/more": (more, replace(more, source_path="/other")),
        "good/b needs a folder where /mnt/session/uploads/good is a file": (
            good,
            replace(more, mount_path=f"{UPLOADS}/good/b"),
        ),
        "uploads/none is gone": (more, Upload(f"{UPLOADS}/none", str(tmp_path / "none"))),
        "has a name of more than 255 bytes": (replace(more, mount_path=f"{UPLOADS}/{'n' * 256}"),),
    }
    for reason, uploads in bad.items():
        with pytest.raises(SandboxUnavailable, match=reason):
            await sandbox.update(replace(spec, uploads=uploads))
        assert sandbox.spec == spec
        assert await shown(living) == "./good"


async def test_a_server_that_ended_in_the_middle_of_an_update_is_made_good(
    living: Bench, backend: BubblewrapBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await living.sandbox()
    before = replace(living.spec, uploads=(upload(tmp_path, "a", "one"), upload(tmp_path, "b", "two")))
    assert await sandbox.update(before)
    with monkeypatch.context() as patch:
        specs = []

        def keep_only_the_first(folder: Folder, spec: SandboxSpec) -> None:
            specs.append(spec)
            if len(specs) == 2:
                raise OSError("ended here")
            keep(folder, spec)

        keep = Folder._keep_spec
        patch.setattr(Folder, "_keep_spec", keep_only_the_first)
        with pytest.raises(SandboxUnavailable, match="ended here"):
            await sandbox.update(replace(before, uploads=(upload(tmp_path, "a", "three"),)))
    await sandbox.release()
    found = await backend.attach(living.spec.session_id)
    assert found is not None
    assert found.spec.uploads == ()
    assert await found.update(before)
    shell = {"command": f"cat {UPLOADS}/a {UPLOADS}/b"}
    result = await found.execute("bash", shell, call_id="after", epoch=1, timeout_s=30)
    assert result.content[0]["text"] == "onetwo"
    await found.destroy(keep_files=False)


async def test_a_sandbox_of_an_older_version_asks_for_a_new_one(living: Bench, backend: BubblewrapBackend) -> None:
    sandbox = await living.sandbox()
    folder = Folder(backend._sessions, living.spec.session_id)
    folder.files.rename(folder.path / "old")
    assert not await sandbox.update(replace(living.spec, networking=Networking("limited")))
    assert sandbox.spec == living.spec
