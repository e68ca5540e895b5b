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
    shared_path: str
    """The host's path of a file that every sandbox of the host shares."""
    address: str
    """Off loopback for a sandbox; the metadata service's, in the arena."""
    address6: str
    """The same over IPv6."""
    port: int
    """TCP and UDP, on both addresses and on loopback; a name server on `address`, too, tells the token."""
    unix_path: str
    abstract_name: str
    shared_memory_key: int
    """Of a System V segment."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the list."""

    probe: str
    """The piece of Python that sets `reached`."""
    held_by: str
    """What a sandbox of the bubblewrap backend has against it."""


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

_PROBES: dict[str, dict[str, str]] = {
    "an allow-listed file tree": {
        "read a secret file": ('reached = W["token"] in open(W["secret_path"]).read()'),
        "read the shadow file": ('reached = "root:" in open("/etc/shadow").read()'),
        "read another sandbox's file": ('reached = W["token"] in open(W["other_sandbox_path"]).read()'),
        "connect to a socket file of the host": ('reached = ask(socket.AF_UNIX, W["unix_path"])'),
        "open a block device": (
            "devices = [path for path in glob.glob('/dev/*') if stat.S_ISBLK(os.stat(path).st_mode)]\n"
            "reached = any(os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in devices[:1])"
        ),
        "read a secret by a link": (
            'path = folder().decode() + "/link"\nos.symlink(W["secret_path"], path)\n'
            'reached = W["token"] in open(path).read()'
        ),
        "write a program of the system": 'reached = os.open("/usr/bin/env", os.O_WRONLY | os.O_APPEND) > 0',
        "write the accounts of the system": 'reached = os.open("/etc/passwd", os.O_WRONLY | os.O_APPEND) > 0',
        "write what all sandboxes run": (
            "paths = [path for path in ('/run/roost/lib/toolhost/main.py', W['shared_path']) if os.path.exists(path)]\n"
            "reached = os.open(paths[0], os.O_WRONLY | os.O_APPEND) > 0"
        ),
        "change a control group": (
            "files = glob.glob('/sys/fs/cgroup/**/cgroup.procs', recursive=True)\n"
            "reached = os.open(files[0], os.O_WRONLY) > 0"
        ),
        "see the hardware": 'reached = bool(os.listdir("/sys/class"))',
        "open a device of the kernel": (
            "names = ('kvm', 'fuse', 'mem', 'kmsg', 'loop-control', 'vsock')\n"
            "paths = [f'/dev/{name}' for name in names if os.path.exists(f'/dev/{name}')]\n"
            "reached = os.open(paths[0], os.O_RDONLY | os.O_NONBLOCK) > 0"
        ),
    },
    "a cleared environment and no inherited descriptors": {
        "find a secret in an environment": (
            'reached = any(W["token"] in data for data in contents("/proc/[0-9]*/environ"))'
        ),
        "find a secret behind an inherited descriptor": (
            'reached = W["token"].encode() in os.pread(W["inherited_fd"], 1000, 0)'
        ),
    },
    "a process namespace": {
        "see a process outside": (
            'reached = any(W["canary_name"] in data for data in contents("/proc/[0-9]*/cmdline"))'
        ),
        "signal a process outside": (
            'os.kill(W["canary_pid"], 0)\n'
            'reached = W["canary_name"] in contents(f"/proc/{W[\'canary_pid\']}/cmdline")[0]'
        ),
    },
    "the toolhost's hidden memory": {
        "read the memory of the first process": ('reached = os.open("/proc/1/mem", os.O_RDWR) > 0'),
        "read the environment of the first process": ('reached = open("/proc/1/environ").read() is not None'),
        "open a descriptor of the first process": (
            "reached = any(os.open(path, os.O_RDONLY | os.O_NONBLOCK) > 0 for path in glob.glob('/proc/1/fd/0'))"
        ),
        "read a secret through the first process's root": (
            'reached = W["token"] in open("/proc/1/root" + W["secret_path"]).read()'
        ),
    },
    "the system-call filter": {
        "trace a process": ('reached = call("ptrace", 0, 0, 0, 0) == 0'),
        "read another process's memory": (
            "buffer = ctypes.create_string_buffer(8)\n"
            "vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)\n"
            'reached = call("process_vm_readv", os.getpid(), vector, 1, vector, 1, 0) == 8'
        ),
        "mount a file system": ('reached = call("mount", b"none", folder(), b"tmpfs", 0, 0) == 0'),
        "bind a folder": ('reached = call("mount", b"/usr", folder(), 0, 0x1000, 0) == 0'),
        "make the system folders writable": (
            'call("mount", 0, b"/usr", 0, 0x1020, 0)\nreached = os.access("/usr", os.W_OK)'
        ),
        "open a mount by descriptor": ('reached = call("open_tree", -100, b"/usr", 1) > 0'),
        "make a user namespace": ('reached = call("unshare", 0x10000000) == 0'),
        "make a mount namespace": ('reached = call("unshare", 0x20000) == 0'),
        "make a namespace by clone": (
            "pid = libc.syscall(CLONE, 0x10000000 | 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\nreached = pid > 0"
        ),
        "enter a namespace": ('reached = call("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), 0) == 0'),
        "change the root": ('os.chroot("/tmp")\nreached = True'),
        "open a raw socket": ("reached = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).fileno() > 0"),
        "open a packet socket": ("reached = socket.socket(17, socket.SOCK_RAW, 0).fileno() > 0"),
        "load a program into the kernel": ('reached = call("bpf", 0, (ctypes.c_uint32 * 12)(2, 4, 8, 1), 48) > 0'),
        "set up an io_uring": ('reached = call("io_uring_setup", 1, (ctypes.c_uint32 * 30)()) > 0'),
        "handle page faults of the kernel": ('reached = call("userfaultfd", 0) > 0'),
        "put a key into the kernel": ('reached = call("add_key", b"user", b"probe", b"x", 1, -2) > 0'),
        "measure the kernel": (
            "attributes = (ctypes.c_uint32 * 32)(1, 128)\n"
            'reached = call("perf_event_open", attributes, 0, -1, -1, 0) > 0'
        ),
        "open a file by handle": (
            "handle = (ctypes.c_uint32 * 40)(128)\n"
            'libc.name_to_handle_at(-100, b"/usr", handle, (ctypes.c_int * 1)(), 0)\n'
            'reached = call("open_by_handle_at", os.open("/usr", os.O_RDONLY), handle, 0) > 0'
        ),
        "load a kernel module": ('call("init_module", 0, 0, 0)\nreached = ctypes.get_errno() != errno.EPERM'),
        "swap to a file": ('call("swapon", b"/nowhere", 0)\nreached = ctypes.get_errno() == errno.ENOENT'),
        "account processes to a file": ('call("acct", b"/nowhere/file")\nreached = ctypes.get_errno() == errno.ENOENT'),
        "read the kernel's log": ('reached = call("syslog", 10, 0, 0) > 0'),
        "type into a terminal": (
            "main, terminal = os.openpty()\nreached = fcntl.ioctl(terminal, 0x5412, b'x') == b'x'"
        ),
        "take a descriptor of the first process": 'reached = call("pidfd_getfd", os.pidfd_open(1), 0, 0) >= 0',
        "make a namespace by clone3": (
            "arguments = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17)\n"
            "pid = libc.syscall(435, arguments, 64)\nif pid == 0: os._exit(0)\nreached = pid > 0"
        ),
        "open a socket of a virtual machine": "reached = socket.socket(40, socket.SOCK_STREAM).fileno() > 0",
        "set the clock": 'call("clock_settime", 99, 0)\nreached = ctypes.get_errno() != errno.EPERM',
        "restart the machine with a wrong word": (
            'call("reboot", 0, 0, 0, 0)\nreached = ctypes.get_errno() != errno.EPERM'
        ),
        "type into a terminal by a widened request": (
            "main, terminal = os.openpty()\n"
            "reached = libc.syscall(IOCTL, terminal, ctypes.c_long(0x100005412), b'x') == 0"
        ),
        "paste into a console": (
            "main, terminal = os.openpty()\n"
            "libc.syscall(IOCTL, terminal, ctypes.c_long(0x541C), b'\\3')\nreached = ctypes.get_errno() != errno.EPERM"
        ),
    },
    "dropped capabilities and read-only kernel files": {
        "make a device": (
            'path = folder().decode() + "/device"\nos.mknod(path, 0o60600, os.makedev(7, 99))\nreached = True'
        ),
        "write a kernel setting": ('reached = os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY) > 0'),
        "write a network setting": ('reached = os.open("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY) > 0'),
        "pull the kernel's trigger": ('reached = os.open("/proc/sysrq-trigger", os.O_WRONLY) > 0'),
        "change the host name": ('socket.sethostname("probe")\nreached = True'),
        "keep a capability over the kernel in reach": "reached = libc.prctl(23, 21, 0, 0, 0) == 1",
        "change a network interface": (
            "reached = subprocess.run(['ip', 'link', 'set', 'lo', 'mtu', '1400'], capture_output=True).returncode == 0"
        ),
        "read addresses of the kernel": (
            "reached = any(int(line.split()[0], 16) for line in open('/proc/kallsyms').readlines()[:9])"
        ),
        "read the kernel's memory": 'reached = os.open("/proc/kcore", os.O_RDONLY) > 0',
    },
    "user ids of its own and no new privileges": {
        "become root by a setuid program": (
            'path = folder().decode() + "/id"\n'
            'shutil.copy("/usr/bin/id", path)\nos.chmod(path, 0o4755)\nos.chmod(os.path.dirname(path), 0o755)\n'
            "reached = subprocess.run([path, '-u'], user=1000, capture_output=True).stdout == b'0\\n'"
        ),
    },
    "network and ipc namespaces": {
        "connect to the host's loopback": ('reached = ask(socket.AF_INET, ("127.0.0.1", W["port"]))'),
        "connect to the metadata address": ('reached = ask(socket.AF_INET, (W["address"], W["port"]))'),
        "send a datagram to the metadata address": (
            "line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nline.settimeout(5)\n"
            'line.sendto(b"?", (W["address"], W["port"]))\nreached = W["token"].encode() in line.recv(1000)'
        ),
        "connect to an abstract socket of the host": ('reached = ask(socket.AF_UNIX, "\\0" + W["abstract_name"])'),
        "connect over IPv6": 'reached = ask(socket.AF_INET6, (W["address6"], W["port"]))',
        "ask a name server": (
            "line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nline.settimeout(5)\n"
            'line.sendto(b"?", (W["address"], 53))\nreached = W["token"].encode() in line.recv(1000)'
        ),
        "open shared memory of the host": 'reached = libc.shmget(W["shared_memory_key"], 0, 0) >= 0',
    },
    "the egress proxy": {
        f"reach {what} through the proxy": f"reached = reach({host})"
        for what, host in {
            "the metadata service": 'W["address"]',
            "an address written as a number": "'2852039166'",
            "an address in hexadecimal": "'0xa9fea9fe'",
            "an address in octal": "'0251.0376.0251.0376'",
            "an address of three parts": "'169.254.43518'",
            "an address of two parts": "'169.16689662'",
            "an address mapped into IPv6": "'::ffff:169.254.169.254'",
            "an address behind a user name": "'169.254.169.254', 'user@169.254.169.254'",
            "the host's loopback": "'127.0.0.1'",
            "the host's loopback by name": "'localhost'",
            "the host's loopback by a name with a dot": "'localhost', 'localhost.'",
            "the host's loopback as zero": "'0'",
            "the metadata service over IPv6": 'W["address6"]',
        }.items()
    },
}
"""By what holds them off in the bubblewrap backend; most are held off by something else too."""

ATTACKS: dict[str, Attack] = {
    name: Attack(probe, held_by) for held_by, probes in _PROBES.items() for name, probe in probes.items()
}

_PRELUDE = """\
import ctypes, errno, fcntl, glob, json, os, shutil, socket, stat, subprocess, tempfile
W = json.loads({world!r})
NUMBERS = json.loads({numbers!r})
CLONE, IOCTL = {clone}, {ioctl}
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

def reach(host, spelling=None):
    # Through the proxy where there is one, else directly.
    if "HTTP_PROXY" not in os.environ:
        with socket.create_connection((host, W["port"]), 5) as line:
            return W["token"].encode() in line.recv(1000)
    spelling = spelling or (f"[{{host}}]" if ":" in host else host)
    with socket.create_connection(("127.0.0.1", 3128), 5) as line:
        line.sendall(f"CONNECT {{spelling}}:{{W['port']}} HTTP/1.1\\r\\nHost: {{spelling}}\\r\\n\\r\\n".encode())
        answer = b"".join(iter(lambda: line.recv(1000), b""))
    print(answer.split(b"\\r\\n")[0])
    return W["token"].encode() in answer

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
    clone, ioctl = (56, 16) if platform.machine() == "x86_64" else (220, 29)
    prelude = _PRELUDE.format(
        world=orjson.dumps(asdict(world)).decode(), numbers=orjson.dumps(known).decode(), clone=clone, ioctl=ioctl
    )
    body = "\n".join(f"    {line}" for line in ATTACKS[name].probe.splitlines())
    return prelude + body + _END.format(reached=REACHED, held=HELD)
