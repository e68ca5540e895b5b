"""The system-call filter of a sandbox, as classic BPF (sandbox.md section 5).

A deny list: what is refused answers EPERM, so that programs see an ordinary failure. What cannot be told by its number
(a flag, a socket family, a terminal request) is told by its argument. A program of another architecture is killed.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass
from typing import Literal

Machine = Literal["x86_64", "aarch64"]

_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
_X32_BIT = 0x40000000
_NAMESPACE_FLAGS = 0x7E020080
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
_TERMINAL_REQUESTS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: they type into somebody else's terminal."""
_FAMILIES = (1, 2, 10, 16)
"""unix, inet, inet6, netlink."""

_DENIED: dict[str, tuple[int | None, int | None]] = {
    # name: (x86_64, aarch64); None where the architecture has no such call
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_tree_attr": (467, 467),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "_sysctl": (156, None),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "fanotify_init": (300, 262),
}


@dataclass(frozen=True)
class _Numbers:
    architecture: int
    clone: int
    clone3: int
    socket: int
    socketpair: int
    ioctl: int


_NUMBERS: dict[str, _Numbers] = {
    "x86_64": _Numbers(0xC000003E, clone=56, clone3=435, socket=41, socketpair=53, ioctl=16),
    "aarch64": _Numbers(0xC00000B7, clone=220, clone3=435, socket=198, socketpair=199, ioctl=29),
}


def denied_calls(machine: Machine) -> dict[str, int]:
    """The calls that are refused whatever their arguments, by name."""
    column = 0 if machine == "x86_64" else 1
    return {name: number for name, row in _DENIED.items() if (number := row[column]) is not None}


def this_machine() -> Machine:
    """Raises ValueError on an architecture without a table."""
    machine = platform.machine()
    if machine == "x86_64":
        return "x86_64"
    if machine == "aarch64":
        return "aarch64"
    raise ValueError(f"no system-call table for {machine}")


def sandbox_filter(machine: Machine) -> bytes:
    """The program that bubblewrap's `--seccomp` takes."""
    numbers = _NUMBERS[machine]
    refuse = _answer(_EPERM)
    program = [
        _op(_LOAD, _ARCHITECTURE),
        *_unless(_JUMP_EQUAL, numbers.architecture, [_op(_RETURN, _KILL)]),
        _op(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        program += _when(_JUMP_AT_LEAST, _X32_BIT, [_answer(_ENOSYS)])
    program += _when(_JUMP_EQUAL, numbers.clone3, [_answer(_ENOSYS)])
    for number in denied_calls(machine).values():
        program += _when(_JUMP_EQUAL, number, [refuse])
    program += _when(
        _JUMP_EQUAL, numbers.clone, [_op(_LOAD, _FIRST), *_when(_JUMP_ANY_BIT, _NAMESPACE_FLAGS, [refuse]), _allow()]
    )
    for number in (numbers.socket, numbers.socketpair):
        families = [op for family in _FAMILIES for op in _when(_JUMP_EQUAL, family, [_allow()])]
        program += _when(_JUMP_EQUAL, number, [_op(_LOAD, _FIRST), *families, _answer(_EAFNOSUPPORT)])
    requests = [op for request in _TERMINAL_REQUESTS for op in _when(_JUMP_EQUAL, request, [refuse])]
    program += _when(_JUMP_EQUAL, numbers.ioctl, [_op(_LOAD, _SECOND), *requests, _allow()])
    return b"".join([*program, _allow()])


def _op(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, operand)


def _when(test: int, operand: int, then: list[bytes]) -> list[bytes]:
    return [_op(test, operand, 0, len(then)), *then]


def _unless(test: int, operand: int, then: list[bytes]) -> list[bytes]:
    return [_op(test, operand, len(then), 0), *then]


def _allow() -> bytes:
    return _op(_RETURN, _ALLOW)


def _answer(errno: int) -> bytes:
    return _op(_RETURN, _ERRNO | errno)
