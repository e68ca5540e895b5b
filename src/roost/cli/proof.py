"""The proof that a program ran in a sandbox: made inside by the agent's program, checked outside by the demo.

The demo draws a number at run time and puts it into the task. The program hashes it together with the ids of the kernel
namespaces it finds itself in. The demo hashes the same from the downloaded report, and the ids must be others than the
server's: then the program ran, after the task was set, and somewhere apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping

NAMESPACES = ("pid", "net", "mnt", "user")
REPORT_NAME = "report.json"
REPORT_PATH = f"/mnt/session/outputs/{REPORT_NAME}"

_ID = re.compile(r"(pid|net|mnt|user):\[[0-9]+\]")


class BrokenProof(Exception):
    """A link that does not hold; the message says which and why."""


def digest(nonce: str, namespaces: Mapping[str, str]) -> str:
    """SHA-256 of the nonce and the ids in their order, one to a line, without a last line break."""
    return hashlib.sha256("\n".join([nonce, *(namespaces[kind] for kind in NAMESPACES)]).encode()).hexdigest()


def namespaces_of(pid: int) -> dict[str, str]:
    """The ids of a process's namespaces, as the kernel writes them (namespaces(7))."""
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in NAMESPACES}


def check(report: bytes, nonce: str, server: Mapping[str, str]) -> dict[str, str]:
    """The namespace ids of the sandbox, once everything holds. Raises BrokenProof."""
    try:
        said = json.loads(report)
        namespaces = {kind: str(said["namespaces"][kind]) for kind in NAMESPACES}
        claimed = str(said["sha256"])
    except (ValueError, TypeError, KeyError):
        raise BrokenProof(f"{REPORT_NAME} is not the report that the task asked for") from None
    if not all(_ID.fullmatch(value) and value.startswith(kind) for kind, value in namespaces.items()):
        raise BrokenProof(f"{REPORT_NAME} holds no namespace ids")
    if claimed != digest(nonce, namespaces):
        raise BrokenProof("the hash in the report is not that of this run's number: the program did not run now")
    shared = [kind for kind in NAMESPACES if namespaces[kind] == server[kind]]
    if shared:
        raise BrokenProof(f"the program shared the server's {', '.join(shared)} namespace: it was not in a sandbox")
    return namespaces
