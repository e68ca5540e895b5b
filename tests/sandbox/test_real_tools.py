"""pip, npm, apt-get, git, curl and wget from a real sandbox, by their proxy variables and without them."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from roost.proxy.egress import EgressProxy
from roost.proxy.route import Route
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.conformance import text
from roost.sandbox.interface import Networking, Sandbox, SandboxSpec
from tests.proxy.conftest import World
from tests.sandbox.test_capture import BARE

pytestmark = pytest.mark.sandbox

PUBLIC = "93.184.215.14"
APT = (
    "mkdir -p s/lists/partial c/archives/partial && touch s/status &&"
    " echo 'deb [trusted=yes] http://site.test/ ./' >l &&"
    " apt() { apt-get -q -o Dir::State=$PWD/s -o Dir::State::status=$PWD/s/status -o Dir::Cache=$PWD/c"
    ' -o Dir::Etc::sourcelist=$PWD/l -o Dir::Etc::sourceparts=- -o APT::Sandbox::User= "$@"; } &&'
    " apt update && apt download demo && dpkg-deb -f demo_1.0_all.deb Package"
)
TOOLS = {
    "curl": "curl -sS http://site.test/hello",
    "wget": "wget -qO- http://site.test/hello",
    "git": "git clone -q http://site.test/demo.git d && cat d/hello",
    "pip": (
        "python3 -m pip install -q --no-cache-dir --disable-pip-version-check --index-url http://site.test/simple/"
        " --trusted-host site.test --target p demo && cat p/demo.py"
    ),
    "npm": "npm install --silent --no-audit --registry http://site.test/ demo >&2 && cat node_modules/demo/hello",
    "apt-get": APT,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server of plain files: a page, a pip index, an npm registry, a git repository, an apt source."""
    root = tmp_path_factory.mktemp("site")
    (root / "hello").write_text("# demo\n")
    _wheel(root / "simple/demo")
    _npm(root)
    _git(root)
    _deb(root)
    handler = functools.partial(_Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def _wheel(folder: Path) -> None:
    folder.mkdir(parents=True)
    name, info = "demo-1.0-py3-none-any.whl", "demo-1.0.dist-info"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        wheel.writestr("demo.py", "# demo\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"demo.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    (folder / "index.html").write_text(f'<a href="{name}">{name}</a>')


def _npm(root: Path) -> None:
    about = {"name": "demo", "version": "1.0.0"}
    with tarfile.open(root / "demo-1.0.0.tgz", "w:gz") as archive:
        for name, content in (("package.json", json.dumps(about)), ("hello", "# demo\n")):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    digest = hashlib.sha1((root / "demo-1.0.0.tgz").read_bytes(), usedforsecurity=False).hexdigest()
    dist = {"tarball": "http://site.test/demo-1.0.0.tgz", "shasum": digest}
    versions = {"1.0.0": {**about, "dist": dist}}
    (root / "demo").write_text(json.dumps({"name": "demo", "dist-tags": {"latest": "1.0.0"}, "versions": versions}))


def _git(root: Path) -> None:
    if not shutil.which("git"):
        return
    work = root / "work"
    work.mkdir()
    shutil.copy(root / "hello", work)
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for command in (("init", "-q"), ("add", "hello"), (*author, "commit", "-qm", "one")):
        subprocess.run(("git", *command), cwd=work, check=True)
    subprocess.run(("git", "clone", "-q", "--bare", str(work), str(root / "demo.git")), check=True)
    subprocess.run(("git", "update-server-info"), cwd=root / "demo.git", check=True)


def _deb(root: Path) -> None:
    if not shutil.which("dpkg-deb"):
        return
    control = "Package: demo\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@example.com>\nDescription: demo\n"
    (root / "deb/DEBIAN").mkdir(parents=True)
    (root / "deb/DEBIAN/control").write_text(control)
    made = root / "demo_1.0_all.deb"
    subprocess.run(("dpkg-deb", "-b", str(root / "deb"), str(made)), check=True, stdout=subprocess.DEVNULL)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    lines = f"Filename: ./{made.name}\nSize: {made.stat().st_size}\nSHA256: {digest}\n"
    (root / "Packages").write_text(control + lines)


@pytest.fixture
async def sandbox(tmp_path: Path, why_not: str, site: int) -> AsyncIterator[Sandbox]:
    if why_not:
        pytest.skip(why_not)
    world = World(names={"site.test": [PUBLIC]}, servers={(PUBLIC, 80): ("127.0.0.1", site)})
    egress = EgressProxy(Route(resolve=world.resolve, dial=world.dial))
    backend = BubblewrapBackend(tmp_path / "state", egress=egress)
    try:
        yield await backend.provision(SandboxSpec("tools", Networking("limited", ("site.test",))))
    finally:
        await backend.forget("tools")
        await backend.aclose()
        await egress.aclose()


@pytest.mark.parametrize("way", ["by its proxy", "without a proxy"])
@pytest.mark.parametrize("tool", TOOLS)
async def test_a_tool_fetches_what_it_is_made_for(sandbox: Sandbox, tool: str, way: str) -> None:
    async def said(command: str, call_id: str) -> str:
        return text(await sandbox.execute("bash", {"command": command}, call_id=call_id, epoch=1, timeout_s=120))

    if "yes" not in await said(f"command -v {tool} >/dev/null && echo yes", "a"):
        pytest.skip(f"{tool} is not in the sandbox")
    if way == "without a proxy":
        await said(f"unset {' '.join(BARE.split('-u ')[1:])} no_proxy NO_PROXY; env | grep -i proxy", "b")
    answer = await said(f"cd /workspace && {TOOLS[tool]}", "c")
    assert answer.strip().splitlines()[-1] == ("demo" if tool == "apt-get" else "# demo")
