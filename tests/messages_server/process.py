"""The server in a process of its own, for tests that kill the one under test or that have no event loop."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from tests.messages_server.replies import Answer, dump_answers

ROOT = Path(__file__).parents[2]


class MessagesProcess:
    """Answers by the number of the model's replies in the conversation, so that it needs no memory.

        with MessagesProcess([reply("Hello")]) as server:
            start_roost(ANTHROPIC_BASE_URL=server.url)

    Leaving the block ends the process and raises AssertionError where it refused a request.
    """

    def __init__(self, answers: Sequence[Answer], *, expect_refusals: bool = False) -> None:
        self._answers = answers
        self._expect_refusals = expect_refusals
        self._folder = tempfile.TemporaryDirectory(prefix="messages-server-")
        self._record = Path(self._folder.name, "requests.jsonl")
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> MessagesProcess:
        script = Path(self._folder.name, "script.json")
        script.write_bytes(dump_answers(self._answers))
        command = [
            sys.executable,
            "-m",
            "tests.messages_server",
            "--script",
            str(script),
            "--record",
            str(self._record),
        ]
        self._child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        self.url = self._child.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the model server did not start")
        return self

    def __exit__(
        self, type: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._child is not None
        self._child.communicate()
        refusals = [entry["refusal"] for entry in self._entries() if entry["refusal"]]
        self._folder.cleanup()
        if failure is None and refusals and not self._expect_refusals:
            raise AssertionError(f"the model server refused a request: {refusals[0]}")

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests so far, in order."""
        return [entry["body"] for entry in self._entries()]

    def _entries(self) -> list[dict[str, Any]]:
        lines = self._record.read_bytes().splitlines() if self._record.exists() else []
        return [orjson.loads(line) for line in lines]
