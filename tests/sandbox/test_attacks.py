"""No probe of the attack list reaches anything from a sandbox, and each one reaches something from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roost.sandbox.attacks import ATTACKS, HELD, REACHED
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.conformance import Bench
from tests.sandbox.plain import ROOT, plain_home, plain_python

pytestmark = pytest.mark.sandbox

NAMESPACES = ("--mount", "--pid", "--fork", "--mount-proc", "--net", "--uts", "--ipc", "--kill-child")
KERNEL_MAY_LACK = {
    "pull the kernel's trigger",
    "measure the kernel",
    "set up an io_uring",
    "handle page faults of the kernel",
    "open a block device",
    "open a socket of a virtual machine",
    "open a device of the kernel",
    "read the kernel's memory",
    "change a control group",
}
"""What some kernels are built or set up without, so that the control cannot succeed."""


@pytest.fixture(scope="module")
def report(why_not: str) -> dict[str, Any]:
    if why_not:
        pytest.skip(why_not)
    if os.geteuid() != 0:
        pytest.skip("the controls need every privilege: run the tests as root")
    return arena()


@pytest.fixture(scope="module")
def plain_report(report: dict[str, Any]) -> dict[str, Any]:
    """The same for the sandboxes of a plain user; asks for the other first, which says why none can be made."""
    with plain_home() as home:
        return arena(plain_python(home))


def arena(python: str = "") -> dict[str, Any]:
    with plain_home() as home:
        home.chmod(0o755)
        command = ["unshare", *NAMESPACES, sys.executable, "-m", "tests.sandbox.arena", str(home), python]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55)
        assert ran.returncode == 0, ran.stderr
        answer: dict[str, Any] = json.loads(ran.stdout)
        return answer


def test_a_harmless_look_finds_the_sandbox_closed(report: dict[str, Any]) -> None:
    assert report["open"] == "[]"


def test_a_harmless_look_finds_a_plain_users_sandbox_closed(plain_report: dict[str, Any]) -> None:
    assert plain_report["open"] == "[]"


@pytest.mark.parametrize("name", ATTACKS)
def test_a_plain_users_sandbox_holds(name: str, plain_report: dict[str, Any]) -> None:
    """Its controls are those of the test below: the probes are the same."""
    assert plain_report["sandbox"][name].splitlines()[-1] == HELD, plain_report["sandbox"][name]


@pytest.mark.parametrize("name", ATTACKS)
def test_the_sandbox_holds_and_the_control_does_not(name: str, report: dict[str, Any]) -> None:
    assert report["sandbox"][name].splitlines()[-1] == HELD, report["sandbox"][name]
    control = report["control"][name]
    if control.splitlines()[-1] != REACHED and name in KERNEL_MAY_LACK:
        pytest.skip(f"no positive control on this kernel: {control}")
    assert control.splitlines()[-1] == REACHED, control


def test_the_proxy_itself_refuses_what_is_asked_of_it(report: dict[str, Any], plain_report: dict[str, Any]) -> None:
    """Held off by its answer, not by a proxy that was out of reach."""
    asked = [name for name, attack in ATTACKS.items() if attack.held_by == "the egress proxy"]
    assert asked
    for name in asked:
        for outcome in (report["sandbox"][name], plain_report["sandbox"][name]):
            assert outcome[2:].startswith(("HTTP/1.1 403 ", "HTTP/1.1 400 ")), (name, outcome)


async def test_a_race_of_links_never_shows_a_file_of_the_host(bench: Bench, tmp_path: Path) -> None:
    """Outputs are read while the sandbox turns the file into a link and back; a plain reading does fall for it."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    outputs = tmp_path / "state/sessions" / bench.spec.session_id / "outputs"
    race = (
        f"cd {bench.paths.outputs}; mkdir d; echo fine >f; echo fine >d/f; ln -s {secret} link; "
        f"ln -s {tmp_path} links; echo fine >file; (while :; do cp -P link x; mv x file; cp f x; mv x file; "
        "mv d e; mv links d; mv d links; mv e d; done) >/dev/null 2>&1 &"
    )
    await bench.bash(race)
    fooled = 0
    for _ in range(2_000):
        fooled += _plainly(outputs / "file") == "secret"
        for path in ("file", "d/f", "d/secret"):
            try:
                read = b"".join([chunk async for chunk in bench.backend.read_output(bench.spec.session_id, path)])
            except FileNotFoundError:
                continue
            assert read in (b"fine\n", b"")
    assert fooled > 0


def _plainly(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


BOMBS = {
    "zip": (
        "import io, zipfile; data = io.BytesIO(); archive = zipfile.ZipFile(data, 'w', zipfile.ZIP_DEFLATED); "
        "archive.writestr('bomb', bytes(200 << 20)); archive.close(); zipfile.ZipFile(data).extractall('/tmp/out')"
    ),
    "tar": (
        "import io, tarfile; data = io.BytesIO(); archive = tarfile.open(fileobj=data, mode='w:gz', compresslevel=1); "
        "head = tarfile.TarInfo('bomb'); head.size = 200 << 20; archive.addfile(head, io.BytesIO(bytes(200 << 20))); "
        "archive.close(); data.seek(0); tarfile.open(fileobj=data).extractall('/tmp/out')"
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
async def test_an_archive_that_grows_fills_only_the_sandbox(kind: str, bench: Bench) -> None:
    bomb = await bench.call("bash", command=f'/usr/bin/python3 -W ignore -c "{BOMBS[kind]}"')
    assert bomb.is_error
    assert "No space left on device" in str(bomb.content[0]["text"])
    assert await bench.bash("rm -r /tmp/out; echo fine >/tmp/file; cat /tmp/file") == "fine"


async def test_a_forged_status_deceives_only_its_own_call(bench: Bench) -> None:
    """An agent is root in its sandbox and can write where its shell reports; what is on record stays as it is."""
    before = await bench.call("bash", call_id="before", command="echo before")
    await bench.bash("printf '0\\n0\\n0\\n' >/proc/$$/fd/3; false")
    again = await bench.call("bash", call_id="before", command="echo changed")
    assert again == before
    assert await bench.bash("echo fresh", restart=True) == "fresh"
    assert (await bench.call("bash", command="false")).is_error


async def test_programs_with_root_rights_are_nobody_to_the_host(
    bench: Bench, backend: BubblewrapBackend, tmp_path: Path
) -> None:
    await bench.bash("cp /usr/bin/id id; chmod 6755 id")
    left = (tmp_path / "state/sessions" / bench.spec.session_id / "workspace/id").stat()
    assert left.st_mode & 0o7777 == 0o6755
    assert left.st_uid != 0
    assert left.st_gid != 0
