"""`glob` and `grep` (contract/tools.md, Python reference; where ours differs it is said here).

`glob` understands doublestar: `**`, `*`, `?`, `[...]`, `{a,b}` and `\\` before a special character; hidden names match
like others. `grep` is ripgrep where the sandbox has it, else the walk in `walkgrep`; both end after `GREP_TIMEOUT_S`
with the hits so far and a note, as TypeScript does, where Python gives them up.
"""

from __future__ import annotations

import os
import re
from heapq import nlargest
from itertools import pairwise
from select import POLLIN, poll
from time import monotonic

from .calls import ToolError, text_result
from .files import failure
from .text import SPILL_LIMIT_CHARS, spill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .calls import Call, Result
    from .processes import Child, Children

    Rule = list[re.Pattern[str] | None]
    State = tuple[int, int]

GLOB_RESULTS = 200
WALK_LIMIT = 50_000
GREP_LIMIT_BYTES = 102_400
GREP_TIMEOUT_S = 60.0

_RIPGREP = ("/usr/local/bin/rg", "/usr/bin/rg")
_PYTHON = "/usr/bin/python3"
_STDERR_LIMIT_BYTES = 4_000
_MAX_ALTERNATIVES = 256


def glob(call: Call, input: dict[str, Any]) -> Result:
    """At most 200 paths, newest first."""
    pattern, root = input["pattern"], os.path.abspath(input.get("path") or ".")
    if pattern.startswith("/"):
        raise ToolError("glob: absolute pattern not permitted; pass the folder as path")
    if ".." in pattern.split("/"):
        raise ToolError("glob: '..' is not permitted in the pattern")
    try:
        os.scandir(root).close()
        found = nlargest(GLOB_RESULTS, ((_modified_ns(path), path) for path in matches(call, root, pattern)))
    except OSError as error:
        raise failure("glob", input.get("path") or ".", error) from None
    return text_result("\n".join(path for _, path in found) or "no matches")


def matches(call: Call, root: str, pattern: str) -> Iterator[str]:
    """Every path below `root` that the pattern matches, whole, in one walk of at most 50,000 entries."""
    rules = [compile_pattern(alternative) for alternative in expand_braces(pattern)[:_MAX_ALTERNATIVES]]
    entries_left = WALK_LIMIT
    folders = [(root, {(rule, 0) for rule in range(len(rules))})]
    canonical_root = os.path.realpath(root)
    while folders and not call.cancelled:
        folder, states = folders.pop()
        for entry in _scan(folder):
            entries_left -= 1
            if entries_left < 0:
                return
            matched, below = _step(rules, states, entry.name, entry.is_symlink())
            if matched and (not entry.is_symlink() or _lies_in(entry.path, canonical_root)):
                yield entry.path
            if below and entry.is_dir() and (not entry.is_symlink() or _lies_in(entry.path, canonical_root)):
                folders.append((entry.path, below))


def expand_braces(pattern: str) -> list[str]:
    """`{a,b}c` -> `ac`, `bc`; nested ones too. A brace that is not closed stands for itself."""
    depth, start, cuts = 0, -1, []
    escaped = False
    for at, char in enumerate(pattern):
        if escaped or char == "\\":
            escaped = not escaped
        elif char == "{":
            depth += 1
            if depth == 1:
                start, cuts = at, [at]
        elif char == "," and depth == 1:
            cuts.append(at)
        elif char == "}" and depth:
            depth -= 1
            if depth == 0:
                cuts.append(at)
                pieces = [pattern[a + 1 : b] for a, b in pairwise(cuts)]
                return [
                    whole for piece in pieces for whole in expand_braces(pattern[:start] + piece + pattern[at + 1 :])
                ]
    return [pattern]


def compile_pattern(pattern: str) -> Rule:
    """One expression for each segment; None stands for `**`, any number of folders. Raises ToolError."""
    segments = [segment for segment in pattern.split("/") if segment not in ("", ".")]
    try:
        return [None if segment == "**" else re.compile(_segment(segment), re.DOTALL) for segment in segments]
    except re.error as error:
        raise ToolError(f"glob: invalid pattern: {error}") from None


def _segment(segment: str) -> str:
    """The expression of one segment. `*` and `?` never match a slash, since names have none."""
    tokens = re.findall(r"\\.|\[[!^]?\]?[^\]]*\]|.", segment, re.DOTALL)
    return "".join(map(_token, tokens)) + r"\Z"


def _token(token: str) -> str:
    if token == "*":
        return ".*"
    if token == "?":
        return "."
    if token[0] != "[" or len(token) == 1:
        return re.escape(token[-1])
    negated = token[1] in "!^"
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", token[1 + negated : -1])
    return "[" + "^" * negated + members + "]"


def _step(rules: list[Rule], states: set[State], name: str, is_link: bool) -> tuple[bool, set[State]]:
    """Whether an entry of this name is matched, and what may match below it. `**` follows no links."""
    matched, below = False, set()
    waiting = list(states)
    while waiting:
        rule, at = waiting.pop()
        rest = rules[rule][at:]
        if not rest:
            continue
        if rest[0] is None:
            matched |= len(rest) == 1
            waiting.append((rule, at + 1))
            if not is_link:
                below.add((rule, at))
        elif rest[0].match(name):
            # What is left may be nothing, or a `**` that stands for no folder at all.
            matched |= not any(rest[1:])
            below.add((rule, at + 1))
    return matched, below


def _scan(folder: str) -> list[os.DirEntry[str]]:
    """A folder's entries; one that cannot be read, or is gone by now, has none."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _lies_in(path: str, root: str) -> bool:
    return (os.path.realpath(path) + "/").startswith(root.rstrip("/") + "/")


def _modified_ns(path: str) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0


class Grep:
    """`grep`: hits as `path:line:text`, at most 102,400 bytes of them."""

    def __init__(self, children: Children) -> None:
        self._children = children

    def run(self, call: Call, input: dict[str, Any]) -> Result:
        """Raises ToolError."""
        path = input.get("path") or "."
        root = os.path.abspath(path)
        try:
            os.stat(root)
        except OSError as error:
            raise failure("grep", path, error) from None
        ripgrep = next((found for found in _RIPGREP if os.access(found, os.X_OK)), None)
        walk = (_PYTHON, "-IS", os.path.join(os.path.dirname(__file__), "walkgrep.py"), input["pattern"], root)
        rg = (ripgrep or "", "--no-config", "-n", "--no-heading", "-e", input["pattern"], "--", root)
        search = _Search(self._children, rg if ripgrep else walk, call)
        hits, errors = search.collect(monotonic() + GREP_TIMEOUT_S)
        return _grep_result(call.id, hits, errors, search.process.exit_code, "grep: rg failed" if ripgrep else "grep")


def _grep_result(call_id: str, hits: bytes, errors: bytes, exit_code: int | None, prefix: str) -> Result:
    """Exit codes are ripgrep's: 0 with hits, 1 without; anything else did not finish."""
    finished = exit_code in (0, 1)
    text = hits[:GREP_LIMIT_BYTES].decode(errors="replace").rstrip("\n")
    why = errors.decode(errors="replace").strip() or f"time was up after {GREP_TIMEOUT_S:g}s"
    if not text and not finished:
        raise ToolError(f"{prefix}: {why}")
    if len(hits) > GREP_LIMIT_BYTES:
        text += f"\n[output truncated at {GREP_LIMIT_BYTES} bytes]"
    elif not finished:
        text += f"\n[the search did not finish: {why}]"
    return text_result(spill(call_id, text) if len(text) > SPILL_LIMIT_CHARS else text or "no matches")


class _Search:
    """A searching process, killed by cancel, by its deadline and when it has found enough."""

    def __init__(self, children: Children, argv: tuple[str, ...], call: Call) -> None:
        self._hits, hits = os.pipe()
        self._errors, errors = os.pipe()
        try:
            self.process: Child = children.spawn(argv, {1: hits, 2: errors})
        except OSError as error:
            raise ToolError(f"grep: {argv[0]} could not be started: {error.strerror}") from None
        finally:
            os.close(hits)
            os.close(errors)
        self._answer = call.stop
        call.stop = self._stop
        if call.cancelled:
            self.process.kill()

    def _stop(self) -> None:
        self.process.kill()
        self._answer()

    def collect(self, deadline_s: float) -> tuple[bytes, bytes]:
        """What it wrote to its two outputs. Both are read side by side, so that neither fills up."""
        got = {self._hits: bytearray(), self._errors: bytearray()}
        poller = poll()
        for fd in got:
            poller.register(fd, POLLIN)
        still_open = set(got)
        while still_open and len(got[self._hits]) <= GREP_LIMIT_BYTES:
            ready = poller.poll(max(0, (deadline_s - monotonic()) * 1000))
            if not ready:
                break
            for fd, _ in ready:
                chunk = os.read(fd, 1 << 16)
                got[fd] += chunk
                if not chunk:
                    poller.unregister(fd)
                    still_open.discard(fd)
        if still_open:
            self.process.kill()
        self.process.wait()
        os.close(self._hits)
        os.close(self._errors)
        return bytes(got[self._hits]), bytes(got[self._errors][:_STDERR_LIMIT_BYTES])
