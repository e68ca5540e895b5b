"""The launcher: a small process that starts sandboxes, so that nothing of the server is ever in one.

It is started once, with an empty environment and no descriptor but one socket, and it forks for each request: a fork of
this process costs a millisecond where a fresh Python would cost ten, and it holds no secret that a sandbox could find.
Run by the server's own interpreter as `python -IS launch.py FD`; it imports nothing of Roost.

A request is one message of JSON with four descriptors: the toolhost's listening socket, the system-call filter, a pipe
for what goes wrong, and a pipe whose end of file says that the launcher has done its part. For each request a child
makes, in this order (sandbox.md section 0):

1. as root, a user namespace of the sandbox's own uid range, made by a process that is only that range's first uid;
2. as a plain user, a user namespace with that user alone;
3. a mount namespace in which the session's folders are bound below `/tmp`. bubblewrap finds them there as the sandbox's
   user, so no folder on the way to the server's data needs to be open to that user;
4. a pid namespace whose first process is bubblewrap itself, without any privilege: the **keeper**. Killing it ends
   everything in the sandbox at once, and nothing but killing it does. It outlives this process and the server.

The keeper waits until its pid is written down (`keeper` in its folder: pid and start time), so none can live unknown.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import sys
from typing import Any

REQUEST_LIMIT_BYTES = 1 << 20
STAGE = "/tmp"
"""Where the launcher binds what bubblewrap is to find. bubblewrap itself relies on this folder to exist."""

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x2, 0x4, 0x8
_PR_SET_CHILD_SUBREAPER = 36
_FDS = 4
_BWRAP_MISSING = 127

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> None:
    """A libc function that answers 0. Raises OSError naming it."""
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def serve(requests: socket.socket) -> None:
    """Start one sandbox for each request until the server is gone."""
    while True:
        message, ancillary, _, _ = requests.recvmsg(REQUEST_LIMIT_BYTES, socket.CMSG_SPACE(_FDS * 4))
        if not message:
            return
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data)
        if os.fork() == 0:
            _start(json.loads(message), *fds)
        for fd in fds:
            os.close(fd)


def _start(request: dict[str, Any], listener: int, seccomp: int, report: int, _done: int) -> None:
    """In the child: start the sandbox and end, which closes `_done`. What went wrong is written to `report`."""
    status = 1
    try:
        os.setsid()
        for fd in (1, 2):
            os.dup2(report, fd)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        launch(request, listener, seccomp)
        status = 0
    except BaseException as error:
        os.write(report, f"roost: {error}\n".encode())
    finally:
        os._exit(status)


def launch(request: dict[str, Any], listener: int, seccomp: int) -> None:
    """Start the sandbox that the request describes. Raises OSError."""
    folder = lock_folder(request["folder"], request["ticket"])
    base, processes = request["base"], request["rlimits"].pop("NPROC")
    fds = {"listener": listener, "seccomp": seccomp}
    if base:
        fds["userns"] = user_namespace(base, request["ids"], processes)
        call("unshare", _CLONE_NEWNS | _CLONE_NEWPID)
    else:
        enter_own_user_namespace(_CLONE_NEWNS | _CLONE_NEWPID)
    groups = [os.open(path, os.O_WRONLY) for path in request["cgroups"]]
    stage(request["stage"])
    # Only now: a plain user's processes outside the namespace must not count against the sandbox's limit.
    request["rlimits"]["NPROC"] = processes
    for name, value in request["rlimits"].items():
        limit_resource(name, value)
    argv = [word.format_map(fds) if word.startswith("{") else word for word in request["argv"]]
    gate, go = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(go)
        _become_keeper(argv, base, gate, list(fds.values()))
    write_pid_file(folder, keeper)
    fcntl.flock(folder, fcntl.LOCK_UN)
    os.write(go, b"!")
    for group in groups:
        join_group(group, keeper)


def _become_keeper(argv: list[str], base: int, gate: int, inherited: list[int]) -> None:
    """Wait for the word, give up every privilege, become bubblewrap. Without the word, end."""
    try:
        if os.read(gate, 1):
            # bubblewrap looks itself up by the numbers of this pid namespace.
            call("unshare", _CLONE_NEWNS)
            call("mount", b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)
            if base:
                drop_to(base)
            close_all_but({0, 1, 2, *inherited})
            for fd in inherited:
                os.set_inheritable(fd, True)
            os.chdir("/")
            os.execve(argv[0], argv, {})
    except BaseException as error:
        os.write(2, f"roost: {error}\n".encode())
    finally:
        os._exit(_BWRAP_MISSING)


def user_namespace(base: int, ids: int, processes: int) -> int:
    """A descriptor of a new user namespace in which 0..ids are base..base+ids, and no further one can be made.

    Its owner is `base`, not root: whoever holds the descriptor and is `base` has power in it and nowhere else.
    """
    made_r, made_w = os.pipe()
    mapped_r, mapped_w = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            os.close(mapped_w)
            limit_resource("NPROC", processes)
            drop_to(base)
            call("unshare", _CLONE_NEWUSER)
            os.write(made_w, b"!")
            if os.read(mapped_r, 1):
                with open("/proc/sys/user/max_user_namespaces", "w") as file:
                    file.write("0")
                os.write(made_w, b"!")
                os.read(mapped_r, 1)
        finally:
            os._exit(0)
    os.close(made_w)
    os.close(mapped_r)
    try:
        _expect(made_r)
        for table in ("uid_map", "gid_map"):
            with open(f"/proc/{helper}/{table}", "w") as file:
                file.write(f"0 {base} {ids}\n")
        os.write(mapped_w, b"!")
        _expect(made_r)
        return os.open(f"/proc/{helper}/ns/user", os.O_RDONLY)
    finally:
        os.close(made_r)
        os.close(mapped_w)
        os.waitpid(helper, 0)


def _expect(pipe: int) -> None:
    if not os.read(pipe, 1):
        raise OSError("the user namespace could not be made")


def enter_own_user_namespace(flags: int) -> None:
    """As a plain user: a user namespace with that user alone, and the other namespaces inside it."""
    uid, gid = os.getuid(), os.getgid()
    call("unshare", _CLONE_NEWUSER | flags)
    for table, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{table}", "w") as file:
            file.write(content)


def stage(bindings: list[list[str]]) -> None:
    """Bind each source, a folder, below STAGE, in a mount namespace of our own.

    All sources are opened before anything is mounted over, since they may themselves lie below STAGE.
    """
    call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    sources = [os.open(source, os.O_PATH | os.O_CLOEXEC) for source, _ in bindings]
    call("mount", b"tmpfs", STAGE.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=755,size=1m")
    for fd, (_, name) in zip(sources, bindings, strict=True):
        target = f"{STAGE}/{name}"
        os.mkdir(target)
        call("mount", f"/proc/self/fd/{fd}".encode(), target.encode(), None, _MS_BIND | _MS_REC, None)
        os.close(fd)


def lock_folder(path: str, ticket: str) -> int:
    """The sandbox's folder, locked until its keeper is written down. Raises OSError when the ticket is void.

    A server that was killed may have left a request behind, and the next one have made another sandbox or none.
    Everything in the folder is reached by this descriptor, since staging may hide its path.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with open(f"/proc/self/fd/{folder}/ticket") as file:
        if file.read() != ticket:
            raise OSError("another sandbox has taken this one's place")
    return folder


def join_group(group: int, keeper: int) -> None:
    """Put the keeper, and what it has started meanwhile, into a control group.

    The kernel takes ten milliseconds and more for the first, as long as the sandbox needs to come up: so it is done
    beside that, and the server lets no call in before it is done.
    """
    moved: set[int] = set()
    while missing := set(descendants(keeper)) - moved:
        for pid in missing:
            with contextlib.suppress(ProcessLookupError):
                os.write(group, str(pid).encode())
        moved |= missing


def descendants(pid: int) -> list[int]:
    """A process and everything below it; nothing once it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = map(int, file.read().split())
    except OSError:
        return []
    return [pid, *(below for child in children for below in descendants(child))]


def close_all_but(kept: set[int]) -> None:
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in kept:
            with contextlib.suppress(OSError):  # the listing's own descriptor
                os.close(fd)


def drop_to(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def limit_resource(name: str, value: int) -> None:
    """Both limits, never above what this process has itself."""
    kind = getattr(resource, f"RLIMIT_{name}")
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def write_pid_file(folder: int, pid: int) -> None:
    """The pid and its start time, whole or not at all. Together they name a process for as long as the host is up."""
    with open(f"/proc/{pid}/stat") as file:
        started = file.read().rpartition(")")[2].split()[19]
    with open("keeper.new", "w", opener=lambda name, flags: os.open(name, flags, 0o600, dir_fd=folder)) as file:
        file.write(f"{pid} {started}\n")
    os.rename("keeper.new", "keeper", src_dir_fd=folder, dst_dir_fd=folder)


def main(fd: int) -> None:
    os.umask(0o022)
    # Keepers whose launcher has ended come to this process, which buries them, so that none stays as a zombie under a
    # server that is itself the first process of a container. When this process ends, they go to the host's first.
    call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    serve(socket.socket(fileno=fd))


if __name__ == "__main__":
    main(int(sys.argv[1]))
