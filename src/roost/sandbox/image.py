"""What every sandbox of this machine shares, read-only: the toolhost, compiled, and a small `/etc`.

Made once and kept under a name that changes with whatever it was made from: this package's files, the machine's
`python3`, and the files of `/etc` that it copies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

TOOLHOST = Path(__file__).parent / "toolhost"
PYTHON = "/usr/bin/python3"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

_GENERATED = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": "sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "resolv.conf": "nameserver 127.0.0.1\n",
    "os-release": "",
}
_COPIED = (
    "alternatives",
    "bindresvport.blacklist",
    "ca-certificates.conf",
    "debian_version",
    "fonts",
    "gai.conf",
    "host.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "python3",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)
"""Nothing here may hold a secret: no `shadow`, no `ssl/private`, no package manager's configuration."""
_CA_BUNDLES = (CA_BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem")


def shared_image(folder: Path) -> Path:
    """The folder with `lib/toolhost` and `etc`, made if it is not there. Blocks; raises OSError.

    Older ones stay while a sandbox may still show them; they are removed when the server's data is.
    """
    made = folder / _digest()
    if not made.is_dir():
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder))
        new.chmod(0o755)
        _make_toolhost(new / "lib" / "toolhost")
        _make_etc(new / "etc")
        _open_to_all(new)
        try:
            new.rename(made)
        except OSError:
            # Another process was faster; what it made is the same.
            shutil.rmtree(new)
    return made


def _ca_bundles() -> tuple[str, ...]:
    """Where the certificates that this machine trusts may lie; the first file that is there counts."""
    return (os.environ.get("SSL_CERT_FILE", ""), *_CA_BUNDLES)


def _digest() -> str:
    digest = hashlib.sha256()
    for source in sorted(TOOLHOST.glob("*.py")):
        digest.update(source.read_bytes())
    for path in (PYTHON, *(f"/etc/{name}" for name in _COPIED), *_ca_bundles()):
        digest.update(f"{path} {os.stat(path).st_mtime_ns if os.path.exists(path) else 0}\n".encode())
    return digest.hexdigest()[:16]


def _make_toolhost(folder: Path) -> None:
    """Compiled by the Python that will run it, so that no sandbox has to."""
    folder.mkdir(parents=True)
    for source in TOOLHOST.glob("*.py"):
        shutil.copyfile(source, folder / source.name)
    compiling = (PYTHON, "-IS", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder))
    subprocess.run(compiling, check=True, env={}, stdout=subprocess.DEVNULL, timeout=60)


def _make_etc(folder: Path) -> None:
    folder.mkdir()
    for name in (*_COPIED, *(f"python3.{minor}" for minor in range(10, 20))):
        source, target = Path("/etc", name), folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, symlinks=True, ignore_dangling_symlinks=True)
        elif source.exists():
            shutil.copyfile(source, target)
    for name, content in _GENERATED.items():
        (folder / name).write_text(content)
    release = Path("/usr/lib/os-release")
    if release.exists():
        shutil.copyfile(release, folder / "os-release")
    bundle = folder / CA_BUNDLE.removeprefix("/etc/")
    found = next((path for path in _ca_bundles() if os.path.isfile(path)), None)
    if found:
        bundle.parent.mkdir(parents=True, exist_ok=True)
        bundle.unlink(missing_ok=True)
        shutil.copyfile(found, bundle)
    (folder / "mtab").symlink_to("/proc/self/mounts")


def _open_to_all(root: Path) -> None:
    for path in _all_below(root):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def _all_below(root: Path) -> Iterator[Path]:
    yield root
    yield from root.rglob("*")
