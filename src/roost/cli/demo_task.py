"""The demo's task: in words for a Claude model, as a plan for the scripted one."""

from __future__ import annotations

import json

from roost.cli.proof import NAMESPACES, REPORT_PATH

PROGRAM_PATH = "/workspace/report.py"
PROGRAM = f'''\
"""Hash the number of this run together with the namespaces this program runs in."""

import hashlib
import json
import os
import sys

nonce = sys.argv[1]
kinds = {NAMESPACES!r}
namespaces = {{kind: os.readlink(f"/proc/self/ns/{{kind}}") for kind in kinds}}
text = "\\n".join([nonce, *(namespaces[kind] for kind in kinds)])
report = {{"namespaces": namespaces, "sha256": hashlib.sha256(text.encode()).hexdigest()}}
with open("{REPORT_PATH}", "w") as file:
    json.dump(report, file, indent=2)
print("hashed in", namespaces["pid"])
'''
"""What the scripted model writes; a Claude model writes its own from the task."""


def task(nonce: str) -> str:
    """The task in words."""
    return f"""\
Write a Python program {PROGRAM_PATH} and run it once with the argument {nonce}. It reads the links
/proc/self/ns/pid, /proc/self/ns/net, /proc/self/ns/mnt and /proc/self/ns/user (each reads like `pid:[4026531836]`),
joins its argument and these four texts, in this order, with single line breaks and none at the end, and takes the
SHA-256 of that as hex digits. It writes {REPORT_PATH}, a JSON object with `namespaces` (an object with
the keys pid, net, mnt and user and the texts that were read) and `sha256`. Then say in one sentence what the program
did."""


def scripted_task(nonce: str, program: str = PROGRAM) -> str:
    """The task with its plan: write the program, run it, say what it said."""
    write = {"name": "write", "input": {"file_path": PROGRAM_PATH, "content": program}}
    execute = {"name": "bash", "input": {"command": f"python3 {PROGRAM_PATH} {nonce}"}}
    plan = [
        {"text": "I write the program.", "tools": [write]},
        {"text": "Now I run it.", "tools": [execute]},
        {"text": "The program left its report in the outputs folder. It said: {{last_result}}"},
    ]
    steps = "\n".join(json.dumps(step) for step in plan)
    return f"Hash the number {nonce} together with the namespaces of your sandbox.\n\n```roost-script\n{steps}\n```"
