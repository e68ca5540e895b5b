"""Runs every probe of the attack list in a sandbox, and, as root, outside with every privilege. See `test_attacks`.

It runs in mount, pid, network, uts and ipc namespaces of its own, whose loopback carries the metadata service's address
with a canary behind it, so that no probe can reach anything but what was put there for it. Prints one JSON object:
`{"open": [...], "control": {probe: outcome}, "sandbox": {probe: outcome}}`.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from roost.proxy.egress import EgressProxy
from roost.proxy.route import Route
from roost.sandbox.attacks import ATTACKS, HARMLESS_LOOK, World, script
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.interface import Networking, Sandbox, SandboxSpec
from tests.sandbox.plain import as_plain_user

METADATA, METADATA6 = "169.254.169.254", "fd00:ec2::254"
NAME_SERVER_PORT = 53
SHARED_MEMORY_KEY = 0x726F6F73
PYTHON = "/usr/bin/python3"


def serve(listener: socket.socket, token: bytes) -> None:
    """Tell the token to whoever comes."""

    def answer() -> None:
        while True:
            if listener.type == socket.SOCK_DGRAM:
                listener.sendto(token, listener.recvfrom(1000)[1])
            else:
                with listener.accept()[0] as line:
                    line.sendall(token)

    threading.Thread(target=answer, daemon=True).start()


def listeners(folder: Path, token: str) -> tuple[int, str, str]:
    """Canaries on TCP, UDP, an abstract and a file socket."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (f"{METADATA}/32", f"{METADATA6}/128"):
        subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
    tcp = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = int(tcp.getsockname()[1])
    udp, names = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    udp.bind(("0.0.0.0", port))
    names.bind(("0.0.0.0", NAME_SERVER_PORT))
    abstract, path = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    abstract.bind("\0roost-canary")
    path.bind(str(folder / "canary.sock"))
    (folder / "canary.sock").chmod(0o777)
    for listener in (tcp, udp, names, abstract, path):
        if listener.type != socket.SOCK_DGRAM:
            listener.listen()
        serve(listener, token.encode())
    return port, str(folder / "canary.sock"), "roost-canary"


async def outcome(sandbox: Sandbox, program: str, call_id: str) -> str:
    command = f"{PYTHON} -IS - <<'PROBE'\n{program}\nPROBE"
    result = await sandbox.execute("bash", {"command": command}, call_id=call_id, epoch=0, timeout_s=60)
    return str(result.content[0]["text"])


def control(program: str, fd: int) -> str:
    direct = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    run = subprocess.run(
        [PYTHON, "-IS", "-"], input=program, capture_output=True, text=True, pass_fds=[fd], timeout=60, env=direct
    )
    return run.stdout.strip() or run.stderr


async def tries(state: Path, world: World) -> dict[str, object]:
    """What every probe comes to in a sandbox of the user who runs this, beside a sandbox that holds the token."""
    egress = EgressProxy(Route())
    backend = BubblewrapBackend(state, egress=egress)
    other = await backend.provision(SandboxSpec("other"))
    await other.execute("write", {"file_path": "s", "content": world.token}, call_id="s", epoch=0, timeout_s=60)
    sandbox = await backend.provision(SandboxSpec("attacker", Networking("unrestricted")))
    report: dict[str, object] = {"open": await outcome(sandbox, HARMLESS_LOOK, "look")}
    if report["open"] == "[]":
        report["sandbox"] = {
            name: await outcome(sandbox, script(name, world), f"attack{number}") for number, name in enumerate(ATTACKS)
        }
    for each in (sandbox, other):
        await each.release()
    report["control"] = {}
    if os.geteuid() == 0 and report["open"] == "[]":
        report["control"] = {
            name: await asyncio.to_thread(control, script(name, world), world.inherited_fd) for name in ATTACKS
        }
    for session_id in ("attacker", "other"):
        await backend.forget(session_id)
    await backend.aclose()
    await egress.aclose()
    return report


async def main(home: Path, python: str) -> None:
    """In `home`, a folder of the plain user; `python` is what that user can run, or empty for root's level."""
    token = secrets.token_hex(16)
    os.environ["ROOST_CANARY"] = token
    secret = home / "secret"
    secret.write_text(token)
    secret.chmod(0o644)
    fd = os.open(secret, os.O_RDONLY)
    os.set_inheritable(fd, True)
    port, unix_path, abstract = listeners(home, token)
    canary = subprocess.Popen(["/bin/sleep", "98765"])
    if ctypes.CDLL(None).shmget(SHARED_MEMORY_KEY, 4_096, 0o1666) < 0:
        raise OSError("no shared memory")
    state = home / "state"
    world = World(
        token=token,
        secret_path=str(secret),
        other_sandbox_path=str(state / "sessions/other/workspace/s"),
        inherited_fd=fd,
        canary_pid=canary.pid,
        canary_name="98765",
        shared_path=str(secret),
        address=METADATA,
        address6=METADATA6,
        port=port,
        unix_path=unix_path,
        abstract_name=abstract,
        shared_memory_key=SHARED_MEMORY_KEY,
    )
    if python:
        ran = as_plain_user([python, "-m", __spec__.name, str(state), json.dumps(asdict(world))], home)
        print(ran.stdout or ran.stderr)  # noqa: T201 - the answer
    else:
        print(json.dumps(await tries(state, world)))  # noqa: T201 - the answer
    canary.kill()
    canary.wait()


if __name__ == "__main__":
    folder, more = Path(sys.argv[1]), sys.argv[2]
    if os.geteuid() == 0:
        asyncio.run(main(folder, more))
    else:
        print(json.dumps(asyncio.run(tries(folder, World(**json.loads(more))))))  # noqa: T201 - the answer
