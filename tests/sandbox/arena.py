"""Runs every probe of the attack list twice: outside with every privilege, and in a sandbox. Started by `test_attacks`.

It runs in mount, pid, network, uts and ipc namespaces of its own, whose loopback carries the metadata service's address
with a canary behind it, so that no probe can reach anything but what was put there for it. Prints one JSON object:
`{"open": [...], "control": {probe: outcome}, "sandbox": {probe: outcome}}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from pathlib import Path

from roost.sandbox.attacks import ATTACKS, HARMLESS_LOOK, World, script
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.interface import Sandbox, SandboxSpec

METADATA = "169.254.169.254"
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
    subprocess.run(["ip", "address", "add", f"{METADATA}/32", "dev", "lo"], check=True)
    tcp = socket.create_server(("0.0.0.0", 0))
    port = int(tcp.getsockname()[1])
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", port))
    abstract, path = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    abstract.bind("\0roost-canary")
    path.bind(str(folder / "canary.sock"))
    (folder / "canary.sock").chmod(0o777)
    for listener in (tcp, udp, abstract, path):
        if listener.type != socket.SOCK_DGRAM:
            listener.listen()
        serve(listener, token.encode())
    return port, str(folder / "canary.sock"), "roost-canary"


async def outcome(sandbox: Sandbox, program: str, call_id: str) -> str:
    command = f"{PYTHON} -IS - <<'PROBE'\n{program}\nPROBE"
    result = await sandbox.execute("bash", {"command": command}, call_id=call_id, epoch=0, timeout_s=60)
    return str(result.content[0]["text"])


def control(program: str, fd: int) -> str:
    run = subprocess.run([PYTHON, "-IS", "-"], input=program, capture_output=True, text=True, pass_fds=[fd], timeout=60)
    return run.stdout.strip() or run.stderr


async def main(folder: Path) -> None:
    token = secrets.token_hex(16)
    os.environ["ROOST_CANARY"] = token
    secret = folder / "secret"
    secret.write_text(token)
    fd = os.open(secret, os.O_RDONLY)
    os.set_inheritable(fd, True)
    port, unix_path, abstract = listeners(folder, token)
    canary = subprocess.Popen(["/bin/sleep", "98765"])
    backend = BubblewrapBackend(folder / "state")
    other = await backend.provision(SandboxSpec("other"))
    await other.execute("write", {"file_path": "s", "content": token}, call_id="s", epoch=0, timeout_s=60)
    other_path = str(folder / "state/sessions/other/workspace/s")
    world = World(token, str(secret), other_path, fd, canary.pid, "98765", METADATA, port, unix_path, abstract)
    sandbox = await backend.provision(SandboxSpec("attacker"))
    report: dict[str, object] = {"open": await outcome(sandbox, HARMLESS_LOOK, "look")}
    if report["open"] == "[]":
        programs = {name: script(name, world) for name in ATTACKS}
        report["sandbox"] = {
            name: await outcome(sandbox, program, f"attack{number}")
            for number, (name, program) in enumerate(programs.items())
        }
        report["control"] = {name: await asyncio.to_thread(control, program, fd) for name, program in programs.items()}
    for each in (sandbox, other):
        await each.destroy(keep_files=False)
    await backend.aclose()
    canary.kill()
    canary.wait()
    print(json.dumps(report))  # noqa: T201 - the answer


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
