"""What must not be possible in a sandbox: probes that try it, for the tests of each backend (sandbox.md section 7).

A probe is a piece of Python that sets `reached`. The same piece runs in the sandbox, where it must not reach anything,
and outside, in an arena of throw-away namespaces with every privilege, where it must: a probe that reaches nothing
anywhere proves nothing. The probes know the arena by `World`; none does harm where it succeeds. `harmless_look` comes
first, and nothing else is tried in a sandbox that does not pass it.

This is a list of regression tests, not a proof.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass

import orjson

from roost.sandbox.seccomp import denied_calls, this_machine

REACHED, HELD = "REACHED", "HELD"


@dataclass(frozen=True, slots=True)
class World:
    """What there is to be reached outside."""

    token: str
    """In the secret file, in the environment of the processes outside, and behind every listener."""
    secret_path: str
    other_sandbox_path: str
    """The host's path of a file in another session's workspace."""
    inherited_fd: int
    """An open, inheritable descriptor of the secret file."""
    canary_pid: int
    canary_name: str
    """A process outside, and what its command line contains."""
    address: str
    """Off loopback for a sandbox; the metadata service's, in the arena."""
    port: int
    """TCP and UDP, on `address` and on loopback."""
    unix_path: str
    abstract_name: str


HARMLESS_LOOK = """\
import os
status = open("/proc/self/status").read()
checks = {
    "new privileges are possible": "NoNewPrivs:\\t1" not in status,
    "no system-call filter": "Seccomp:\\t2" not in status,
    "another interface than loopback": len(open("/proc/net/dev").read().splitlines()) != 3,
    "a capability over the kernel": int(status.split("CapEff:")[1].split()[0], 16) & ~0x800005FF != 0,
    "root of the host": open("/proc/self/uid_map").read().split()[1] == "0",
}
print([what for what, so in checks.items() if so])
"""
"""Prints what is open; `[]` for a closed sandbox. Tries nothing."""

ATTACKS: dict[str, str] = {
    "read a secret file": 'reached = W["token"] in open(W["secret_path"]).read()',
    "read the shadow file": 'reached = "root:" in open("/etc/shadow").read()',
    "read another sandbox's file": 'reached = W["token"] in open(W["other_sandbox_path"]).read()',
    "find a secret in an environment": (
        'reached = any(W["token"] in data for data in contents("/proc/[0-9]*/environ"))'
    ),
    "find a secret behind an inherited descriptor": (
        'reached = W["token"].encode() in os.pread(W["inherited_fd"], 1000, 0)'
    ),
    "see a process outside": 'reached = any(W["canary_name"] in data for data in contents("/proc/[0-9]*/cmdline"))',
    "signal a process outside": (
        'os.kill(W["canary_pid"], 0)\nreached = W["canary_name"] in contents(f"/proc/{W[\'canary_pid\']}/cmdline")[0]'
    ),
    "read the memory of the first process": 'reached = os.open("/proc/1/mem", os.O_RDWR) > 0',
    "read the environment of the first process": 'reached = open("/proc/1/environ").read() is not None',
    "trace a process": 'reached = call("ptrace", 0, 0, 0, 0) == 0',
    "read another process's memory": (
        "buffer = ctypes.create_string_buffer(8)\n"
        "vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)\n"
        'reached = call("process_vm_readv", os.getpid(), vector, 1, vector, 1, 0) == 8'
    ),
    "mount a file system": 'reached = call("mount", b"none", folder(), b"tmpfs", 0, 0) == 0',
    "bind a folder": 'reached = call("mount", b"/usr", folder(), 0, 0x1000, 0) == 0',
    "make the system folders writable": (
        'call("mount", 0, b"/usr", 0, 0x1020, 0)\nreached = os.access("/usr", os.W_OK)'
    ),
    "open a mount by descriptor": 'reached = call("open_tree", -100, b"/usr", 1) > 0',
    "make a user namespace": 'reached = call("unshare", 0x10000000) == 0',
    "make a mount namespace": 'reached = call("unshare", 0x20000) == 0',
    "make a namespace by clone": (
        "pid = libc.syscall(CLONE, 0x10000000 | 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\nreached = pid > 0"
    ),
    "enter a namespace": 'reached = call("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), 0) == 0',
    "change the root": 'os.chroot("/tmp")\nreached = True',
    "make a device": (
        'path = folder().decode() + "/device"\nos.mknod(path, 0o60600, os.makedev(7, 99))\nreached = True'
    ),
    "open a block device": (
        "devices = [path for path in glob.glob('/dev/*') if stat.S_ISBLK(os.stat(path).st_mode)]\n"
        "reached = any(os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in devices[:1])"
    ),
    "open a raw socket": "reached = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).fileno() > 0",
    "open a packet socket": "reached = socket.socket(17, socket.SOCK_RAW, 0).fileno() > 0",
    "load a program into the kernel": ('reached = call("bpf", 0, (ctypes.c_uint32 * 12)(2, 4, 8, 1), 48) > 0'),
    "set up an io_uring": 'reached = call("io_uring_setup", 1, (ctypes.c_uint32 * 30)()) > 0',
    "handle page faults of the kernel": 'reached = call("userfaultfd", 0) > 0',
    "put a key into the kernel": 'reached = call("add_key", b"user", b"probe", b"x", 1, -2) > 0',
    "measure the kernel": (
        'attributes = (ctypes.c_uint32 * 32)(1, 128)\nreached = call("perf_event_open", attributes, 0, -1, -1, 0) > 0'
    ),
    "open a file by handle": (
        "handle = (ctypes.c_uint32 * 40)(128)\n"
        'libc.name_to_handle_at(-100, b"/usr", handle, (ctypes.c_int * 1)(), 0)\n'
        'reached = call("open_by_handle_at", os.open("/usr", os.O_RDONLY), handle, 0) > 0'
    ),
    "load a kernel module": 'call("init_module", 0, 0, 0)\nreached = ctypes.get_errno() != errno.EPERM',
    "swap to a file": 'call("swapon", b"/nowhere", 0)\nreached = ctypes.get_errno() == errno.ENOENT',
    "account processes to a file": 'call("acct", b"/nowhere/file")\nreached = ctypes.get_errno() == errno.ENOENT',
    "read the kernel's log": 'reached = call("syslog", 10, 0, 0) > 0',
    "write a kernel setting": 'reached = os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY) > 0',
    "write a network setting": 'reached = os.open("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY) > 0',
    "pull the kernel's trigger": 'reached = os.open("/proc/sysrq-trigger", os.O_WRONLY) > 0',
    "change the host name": 'socket.sethostname("probe")\nreached = True',
    "become root by a setuid program": (
        'path = folder().decode() + "/id"\n'
        'shutil.copy("/usr/bin/id", path)\nos.chmod(path, 0o4755)\nos.chmod(os.path.dirname(path), 0o755)\n'
        "reached = subprocess.run([path, '-u'], user=1000, capture_output=True).stdout == b'0\\n'"
    ),
    "type into a terminal": ("main, terminal = os.openpty()\nreached = fcntl.ioctl(terminal, 0x5412, b'x') == b'x'"),
    "connect to the host's loopback": 'reached = ask(socket.AF_INET, ("127.0.0.1", W["port"]))',
    "connect to the metadata address": 'reached = ask(socket.AF_INET, (W["address"], W["port"]))',
    "send a datagram to the metadata address": (
        "line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nline.settimeout(5)\n"
        'line.sendto(b"?", (W["address"], W["port"]))\nreached = W["token"].encode() in line.recv(1000)'
    ),
    "connect to an abstract socket of the host": 'reached = ask(socket.AF_UNIX, "\\0" + W["abstract_name"])',
    "connect to a socket file of the host": 'reached = ask(socket.AF_UNIX, W["unix_path"])',
}

_PRELUDE = """\
import ctypes, errno, fcntl, glob, json, os, shutil, socket, stat, subprocess, tempfile
W = json.loads({world!r})
NUMBERS = json.loads({numbers!r})
CLONE = {clone}
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    whole = (ctypes.c_long(item) if isinstance(item, int) else item for item in arguments)
    return libc.syscall(NUMBERS[name], *whole)

def folder():
    return tempfile.mkdtemp(dir="/tmp").encode()

def contents(pattern):
    found = []
    for path in glob.glob(pattern):
        try:
            found.append(open(path, errors="replace").read())
        except OSError:
            pass
    return found

def ask(family, address):
    line = socket.socket(family)
    line.settimeout(5)
    line.connect(address)
    return W["token"].encode() in line.recv(1000)

reached = False
try:
"""
_END = """
except (OSError, IndexError, subprocess.SubprocessError) as error:
    print(type(error).__name__, error)
print("{reached}" if reached else "{held}")
"""


def script(name: str, world: World) -> str:
    """The whole Python program of a probe; its last line says REACHED or HELD."""
    known = denied_calls(this_machine())
    clone = 56 if platform.machine() == "x86_64" else 220
    prelude = _PRELUDE.format(
        world=orjson.dumps(asdict(world)).decode(), numbers=orjson.dumps(known).decode(), clone=clone
    )
    body = "\n".join(f"    {line}" for line in ATTACKS[name].splitlines())
    return prelude + body + _END.format(reached=REACHED, held=HELD)
