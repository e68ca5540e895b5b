"""What every backend must do: small named checks, run by the tests of each backend (`CHECKS`).

A check gets a `Bench`, which makes sandboxes of one fresh session and takes its paths from the backend, and raises
`Nonconforming` with what was seen. Whoever writes a backend runs them all; none knows how the sandbox is made.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from roost.sandbox.interface import Backend, Sandbox, SandboxLost, SandboxSpec, StaleEpoch, ToolResult, Upload

Check = Callable[["Bench"], Awaitable[None]]
CHECKS: dict[str, Check] = {}

MOMENT_S = 10.0
"""How long anything that should happen at once may take on a loaded machine."""


class Nonconforming(AssertionError):
    """The backend does not do what the interface says."""


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


def expect(what: str, seen: object, wanted: object) -> None:
    """Raises Nonconforming unless the two are equal."""
    if seen != wanted:
        raise Nonconforming(f"{what}: expected {wanted!r}, saw {seen!r}")


def expect_in(what: str, part: str, whole: str) -> None:
    if part not in whole:
        raise Nonconforming(f"{what}: expected {part!r} in {whole!r}")


class Bench:
    """One session of a backend, and short ways to use its sandbox."""

    def __init__(self, backend: Backend, session_id: str, uploads: Sequence[Upload] = ()) -> None:
        self.backend = backend
        self.paths = backend.paths
        self.spec = SandboxSpec(session_id, uploads=tuple(uploads))
        self._sandbox: Sandbox | None = None
        self._making = asyncio.Lock()
        self._numbers = itertools.count()

    async def sandbox(self) -> Sandbox:
        """The session's sandbox, made at the first call and when it was ended."""
        async with self._making:
            if self._sandbox is None:
                self._sandbox = await self.backend.provision(self.spec)
            return self._sandbox

    async def end(self, *, keep_files: bool = True) -> None:
        sandbox, self._sandbox = self._sandbox, None
        if sandbox:
            await sandbox.destroy(keep_files=keep_files)

    async def call(self, name: str, *, call_id: str = "", epoch: int = 1, **input: Any) -> ToolResult:
        sandbox = await self.sandbox()
        call_id = call_id or f"call_{next(self._numbers)}"
        return await sandbox.execute(name, input, call_id=call_id, epoch=epoch, timeout_s=60)

    async def bash(self, command: str, **more: Any) -> str:
        """The text a command gives, error or not."""
        return text(await self.call("bash", command=command, **more))

    async def running(self, command: str, call_id: str, *, first: str = ":") -> asyncio.Task[ToolResult]:
        """A command that has certainly started: `first` and the making of a file, which is waited for, precede it."""
        mark = f"{self.paths.workspace}/started-{call_id}"
        task = asyncio.create_task(self.call("bash", call_id=call_id, command=f"{first}; touch {mark}; {command}"))
        async with asyncio.timeout(MOMENT_S):
            while text(await self.call("glob", pattern=f"started-{call_id}")) != mark:
                pass
        return task


def text(result: ToolResult) -> str:
    return "".join(block.get("text", "") for block in result.content)


@check
async def the_shell_keeps_directory_variables_and_functions(bench: Bench) -> None:
    await bench.bash("cd /usr; export A=1; b=2; f() { echo f; }; shopt -s nullglob")
    expect("state", await bench.bash("pwd; echo $A $b; f; shopt nullglob"), "/usr\n1 2\nf\nnullglob       \ton")


@check
async def a_failing_command_is_an_error_with_its_output(bench: Bench) -> None:
    failed = await bench.call("bash", command="echo said; exit_code() { return 3; }; exit_code")
    expect("failure", (text(failed), failed.is_error), ("said", True))
    expect("silent failure", await bench.bash("false"), "exit 1")
    fine = await bench.call("bash", command="true")
    expect("success", (text(fine), fine.is_error), ("(no output)", False))


@check
async def both_outputs_come_in_order_without_escapes(bench: Bench) -> None:
    expect("output", await bench.bash(r"echo one; echo two >&2; printf '\033[31mthree\033[0m\n\n'"), "one\ntwo\nthree")


@check
async def broken_quotes_and_tricky_commands_do_not_break_the_shell(bench: Bench) -> None:
    broken = await bench.call("bash", command="echo 'never closed")
    expect("a broken command is an error", broken.is_error, True)
    for command in ("break", "return 0", "exec 3>&1", "set -u; set +u", "cat", "read line; true"):
        await bench.bash(command)
    expect("the shell afterwards", await bench.bash("echo fine"), "fine")


@check
async def a_time_out_keeps_partial_output_and_shell_state(bench: Bench) -> None:
    await bench.bash("cd /usr; export A=1; f() { echo f; }; sleep 1000 & echo $! >/tmp/earlier")
    slow = await bench.call("bash", command="echo before; sleep 1000; echo after", timeout_ms=300)
    expect("a time-out is an error", slow.is_error, True)
    expect_in("partial output", "before\n", text(slow))
    expect_in("reason", "bash: bash command timed out after 0.3s", text(slow))
    expect("state", await bench.bash("pwd; echo $A; f; kill -0 $(cat /tmp/earlier) && echo lives"), "/usr\n1\nf\nlives")


@check
async def nothing_of_a_command_runs_after_its_time_out(bench: Bench) -> None:
    for command in ("sleep 1000; touch ran", "(sleep 1000); touch ran", "f() { sleep 1000; touch ran; }; f; touch ran"):
        await bench.bash(command, timeout_ms=200)
    expect("the rest of the command", await bench.bash("ls ran 2>/dev/null; pgrep -c sleep"), "0")


@check
async def a_shell_that_spins_is_stopped(bench: Bench) -> None:
    expect_in("spinning", "timed out", await bench.bash("A=kept; while :; do :; done", timeout_ms=200))
    expect("state", await bench.bash("echo $A"), "kept")


@check
async def an_exit_is_noticed_and_the_next_command_has_a_shell(bench: Bench) -> None:
    gone = await bench.call("bash", command="echo bye; exit 3")
    expect("exit status", gone.is_error, True)
    expect_in("output", "bye\n[the shell has exited", text(gone))
    expect("next", await bench.bash("echo here"), "here")


@check
async def a_shell_that_becomes_another_program_is_waited_for(bench: Bench) -> None:
    expect_in("exec", "replaced", await bench.bash("exec /bin/sh -c 'sleep 0.1; echo replaced'"))
    expect("next", await bench.bash("echo here"), "here")


@check
async def restart_gives_a_fresh_shell_and_ends_its_processes(bench: Bench) -> None:
    await bench.bash("A=1; cd /usr; sleep 1000 & setsid sleep 1000 &")
    expect("restart", text(await bench.call("bash", restart=True)), "bash session restarted")
    expect("afterwards", await bench.bash("echo [$A] $PWD; pgrep -c sleep"), f"[] {bench.paths.workspace}\n0")
    expect("with a command", text(await bench.call("bash", restart=True, command="echo ran")), "ran")


@check
async def a_background_process_outlives_its_call(bench: Bench) -> None:
    await bench.bash("(while [ ! -e go ]; do sleep 0.01; done; echo done >result) >/dev/null 2>&1 &")
    expect("its effect", await bench.bash("touch go; wait; cat result"), "done")


@check
async def bad_input_is_named(bench: Bench) -> None:
    expect("no command", text(await bench.call("bash")), "bash: command is required")
    expect("no path", text(await bench.call("read")), "read: file_path is required")
    expect("wrong kind", text(await bench.call("write", file_path=1, content="")), "write: file_path must be a string")
    expect("no such tool", (await bench.call("dance")).is_error, True)


@check
async def bash_calls_queue_in_order_and_file_tools_run_beside_them(bench: Bench) -> None:
    first = await bench.running("while [ ! -e go ]; do sleep 0.01; done; echo 1 >>order", "first")
    second = asyncio.create_task(bench.call("bash", command="echo 2 >>order"))
    third = asyncio.create_task(bench.call("bash", command="echo 3 >>order"))
    await bench.call("write", file_path="go", content="")
    await asyncio.gather(first, second, third)
    expect("order", await bench.bash("cat order"), "1\n2\n3")


@check
async def cancel_stops_a_running_command_at_once(bench: Bench) -> None:
    running = await bench.running("sleep 1000; touch ran", "long", first="echo partial")
    await (await bench.sandbox()).cancel("long", epoch=1)
    result = await asyncio.wait_for(running, MOMENT_S)
    expect("error", result.is_error, True)
    expect_in("partial output", "partial\n", text(result))
    expect_in("reason", "bash: bash command cancelled", text(result))
    expect(
        "processes", await bench.bash("pgrep -c sleep; ls ran"), "0\nls: cannot access 'ran': No such file or directory"
    )


@check
async def cancel_answers_a_queued_call_that_then_never_runs(bench: Bench) -> None:
    running = await bench.running("while [ ! -e go ]; do sleep 0.01; done", "front")
    queued = asyncio.create_task(bench.call("bash", call_id="queued", command="touch ran"))
    sandbox = await bench.sandbox()
    while await sandbox.lookup("queued", epoch=1) != "running":
        pass
    await sandbox.cancel("queued", epoch=1)
    expect("error", (await asyncio.wait_for(queued, MOMENT_S)).is_error, True)
    await bench.call("write", file_path="go", content="")
    await running
    expect("never ran", text(await bench.call("glob", pattern="ran")), "no matches")


@check
async def cancelling_what_is_unknown_or_over_does_nothing(bench: Bench) -> None:
    await bench.bash("echo once >>count", call_id="over")
    sandbox = await bench.sandbox()
    await sandbox.cancel("over", epoch=1)
    await sandbox.cancel("never", epoch=1)
    expect("afterwards", await bench.bash("cat count"), "once")


@check
async def a_call_id_runs_once_and_keeps_its_result(bench: Bench) -> None:
    command = "echo once >>count; cat count"
    both = await asyncio.gather(*(bench.call("bash", call_id="same", command=command) for _ in range(2)))
    again = await bench.call("bash", call_id="same", command="echo other")
    expect("three results", [text(result) for result in (*both, again)], ["once"] * 3)


@check
async def the_ledger_tells_unknown_running_and_finished_calls_apart(bench: Bench) -> None:
    sandbox = await bench.sandbox()
    expect("unknown", await sandbox.lookup("call", epoch=1), "unknown")
    running = await bench.running("while [ ! -e go ]; do sleep 0.01; done; echo over", "call")
    expect("running", await sandbox.lookup("call", epoch=1), "running")
    await bench.call("write", file_path="go", content="")
    result = await running
    expect("finished", await sandbox.lookup("call", epoch=1), result)


@check
async def a_lower_epoch_is_refused_and_has_no_effect(bench: Bench) -> None:
    await bench.bash("true", epoch=5)
    sandbox = await bench.sandbox()
    for refused in (
        bench.call("bash", epoch=4, command="touch ran"),
        sandbox.lookup("x", epoch=4),
        sandbox.cancel("x", epoch=4),
    ):
        try:
            await refused
        except StaleEpoch:
            continue
        raise Nonconforming("a lower epoch was let in")
    expect("no effect", await bench.bash("ls", epoch=5), "(no output)")


@check
async def the_whole_call_is_bounded_above_the_tools_own_time_out(bench: Bench) -> None:
    sandbox = await bench.sandbox()
    result = await sandbox.execute("bash", {"command": "sleep 1000"}, call_id="slow", epoch=1, timeout_s=0.3)
    expect("error", result.is_error, True)
    expect_in("reason", "tool 'bash' timed out", text(result))


@check
async def a_flood_of_output_keeps_its_end_and_a_file(bench: Bench) -> None:
    shown = await bench.bash("seq 3000000; echo the end")
    expect("it was shortened", len(shown) < 20_000, True)
    expect_in("the end", "the end\n[output truncated: ", shown)
    path = shown.rpartition(" are in ")[2].partition(";")[0]
    expect("the file's end", await bench.bash(f"tail -n 2 {path}"), "3000000\nthe end")
    expect("the shell afterwards", await bench.bash("echo fine"), "fine")


@check
async def output_of_many_bytes_but_few_characters_is_cut_at_the_front(bench: Bench) -> None:
    shown = await bench.bash("python3 -c \"print('first' + '€' * 60_000 + 'last')\"")
    expect("marked", shown.startswith("[output truncated]\n€"), True)
    expect("size", 102_300 < len(shown.encode()) <= 102_400 + 20, True)
    expect_in("end", "last", shown[-4:])


@check
async def write_read_and_edit_agree(bench: Bench) -> None:
    path = f"{bench.paths.workspace}/new/folder/file.txt"
    expect("write", text(await bench.call("write", file_path=path, content="a\nbä\n")), f"wrote 6 bytes to {path}")
    expect("read", text(await bench.call("read", file_path=path)), "a\nbä\n")
    edited = await bench.call("edit", file_path="new/folder/file.txt", old_string="bä", new_string="c")
    expect("edit", text(edited), "edited new/folder/file.txt (1 replacement(s))")
    expect("part", text(await bench.call("read", file_path=path, view_range=[2, 0])), "c\n")
    expect("bash sees it", await bench.bash(f"cat {path}"), "a\nc")


@check
async def edit_refuses_what_is_missing_or_not_unique(bench: Bench) -> None:
    await bench.call("write", file_path="f", content="x x")
    for old, answer in (
        ("y", "edit: old_string not found in f"),
        ("x", "edit: old_string appears 2 times in f (must be unique)"),
    ):
        expect("refusal", text(await bench.call("edit", file_path="f", old_string=old, new_string="z")), answer)
    every = await bench.call("edit", file_path="f", old_string="x", new_string="z", replace_all=True)
    expect("all", text(every), "edited f (2 replacement(s))")


@check
async def file_failures_have_the_documented_texts(bench: Bench) -> None:
    await bench.bash("mkdir folder; mkfifo pipe; head -c 300000 /dev/zero | tr '\\0' a >big; printf '\\377' >binary")
    for path, reason in (
        ("none", "read: none: no such file or directory"),
        ("folder", "read: folder: is a directory"),
        ("big/x", "read: big/x: not a directory"),
        ("pipe", "read: pipe: not a regular file"),
        ("binary", "read: binary: not valid UTF-8 text"),
    ):
        result = await bench.call("read", file_path=path)
        expect("failure", (text(result), result.is_error), (reason, True))
    expect_in("too big", "view_range", text(await bench.call("read", file_path="big")))


@check
async def pictures_and_documents_come_as_blocks(bench: Bench) -> None:
    data = base64.b64encode(b"\x89PNG...").decode()
    await bench.bash(f"echo {data} | base64 -d | tee picture.png >paper.pdf")
    for name, kind, media_type in (("picture.png", "image", "image/png"), ("paper.pdf", "document", "application/pdf")):
        result = await bench.call("read", file_path=name)
        source = {"type": "base64", "media_type": media_type, "data": data}
        expect(name, result.content, ({"type": kind, "source": source},))


@check
async def glob_lists_the_newest_first(bench: Bench) -> None:
    await bench.bash("mkdir -p a/b; touch -d @1 a/old.py; touch -d @3 a/b/new.py; touch -d @2 mid.py other.txt")
    root = bench.paths.workspace
    found = text(await bench.call("glob", pattern="**/*.py"))
    expect("order", found.split("\n"), [f"{root}/a/b/new.py", f"{root}/mid.py", f"{root}/a/old.py"])
    expect("nothing", text(await bench.call("glob", pattern="*.rs")), "no matches")
    for pattern in ("/etc/*", "../*"):
        expect("refused", (await bench.call("glob", pattern=pattern)).is_error, True)


@check
async def grep_names_file_line_and_text(bench: Bench) -> None:
    await bench.bash("printf 'one\\ntwo\\n' >a; printf 'two\\n' >b")
    found = text(await bench.call("grep", pattern="^tw.$")).split("\n")
    root = bench.paths.workspace
    expect("hits", sorted(found), [f"{root}/a:2:two", f"{root}/b:1:two"])
    expect("nothing", text(await bench.call("grep", pattern="three")), "no matches")
    expect("bad expression", (await bench.call("grep", pattern="(")).is_error, True)


@check
async def uploads_are_there_and_read_only(bench: Bench) -> None:
    upload = bench.spec.uploads[0]
    expect("content", text(await bench.call("read", file_path=upload.mount_path)), "uploaded")
    changes: dict[str, dict[str, Any]] = {"write": {"content": "x"}, "edit": {"old_string": "up", "new_string": "down"}}
    for name, more in changes.items():
        refused = await bench.call(name, file_path=upload.mount_path, **more)
        expect_in("refusal", f"{name}: {upload.mount_path} is inside read-only directory", text(refused))
    await bench.bash(f"rm -f {upload.mount_path}; echo x >{upload.mount_path}; chmod 777 {upload.mount_path}")
    expect("afterwards", text(await bench.call("read", file_path=upload.mount_path)), "uploaded")


@check
async def outputs_are_listed_and_read(bench: Bench) -> None:
    await bench.bash(f"cd {bench.paths.outputs}; mkdir -p a; printf 12345 >a/report.txt; : >empty")
    sandbox = await bench.sandbox()
    expect(
        "listing",
        [(file.path, file.size_bytes) for file in await sandbox.outputs()],
        [("a/report.txt", 5), ("empty", 0)],
    )
    expect("bytes", b"".join([chunk async for chunk in sandbox.read_output("a/report.txt")]), b"12345")


@check
async def outputs_never_lead_out_of_their_folder(bench: Bench) -> None:
    await bench.bash(
        f"cd {bench.paths.outputs}; ln -s /etc/passwd link; ln -s /etc folder; mkfifo pipe; ln -s . self; mkdir real;"
        "ln -s ../../../../etc real/up"
    )
    sandbox = await bench.sandbox()
    expect("listing", list(await sandbox.outputs()), [])
    for path in (
        "link",
        "folder/passwd",
        "pipe",
        "self/link",
        "../spec.json",
        "/etc/passwd",
        "real/up/passwd",
        "",
        ".",
    ):
        try:
            _ = [chunk async for chunk in sandbox.read_output(path)]
        except FileNotFoundError:
            continue
        raise Nonconforming(f"{path!r} could be read")


@check
async def files_are_kept_and_processes_are_not(bench: Bench) -> None:
    await bench.bash(f"echo kept >{bench.paths.workspace}/a; echo kept >{bench.paths.outputs}/b; A=1; sleep 1000 &")
    expect("new", (await bench.sandbox()).renewed, False)
    await bench.end()
    expect("renewed", (await bench.sandbox()).renewed, True)
    seen = await bench.bash(f"cat {bench.paths.workspace}/a {bench.paths.outputs}/b; echo [$A]; pgrep -c sleep")
    expect("afterwards", seen, "kept\nkept\n[]\n0")


@check
async def forgetting_leaves_nothing(bench: Bench) -> None:
    await bench.bash("echo x >file")
    session_id = bench.spec.session_id
    expect("listed", session_id in await bench.backend.living(), True)
    await bench.end(keep_files=False)
    expect("not listed", session_id in await bench.backend.living(), False)
    expect("files", await bench.bash("ls"), "(no output)")


@check
async def a_released_sandbox_is_found_as_it_was(bench: Bench) -> None:
    await bench.bash("A=1; sleep 1000 &", call_id="before")
    await (await bench.sandbox()).release()
    found = await bench.backend.attach(bench.spec.session_id)
    if found is None:
        raise Nonconforming("the sandbox was not found")
    seen = await found.execute("bash", {"command": "echo $A; pgrep -c sleep"}, call_id="after", epoch=1, timeout_s=60)
    expect("state", text(seen), "1\n1")
    expect("the ledger", await found.lookup("before", epoch=1) != "unknown", True)
    await found.destroy(keep_files=False)
    expect("gone", await bench.backend.attach(bench.spec.session_id), None)


@check
async def ending_a_sandbox_tells_whoever_waits(bench: Bench) -> None:
    running = await bench.running("sleep 1000", "lost")
    other = await bench.backend.attach(bench.spec.session_id)
    if other is None:
        raise Nonconforming("the sandbox was not found")
    await other.destroy(keep_files=True)
    try:
        await asyncio.wait_for(running, MOMENT_S)
    except SandboxLost:
        expect("known", (await bench.sandbox()).lost, True)
        return
    raise Nonconforming("a lost call had a result")


@check
async def two_sessions_share_nothing(bench: Bench) -> None:
    other = Bench(bench.backend, f"{bench.spec.session_id}-other")
    try:
        for each, word in ((bench, "one"), (other, "two")):
            await each.bash(f"echo {word} | tee file /tmp/file ~/file; sleep 1000 & export W={word}")
        for each, word in ((bench, "one"), (other, "two")):
            seen = await each.bash("cat file /tmp/file ~/file; echo $W; pgrep -c sleep")
            expect("own things", seen, f"{word}\n{word}\n{word}\n{word}\n1")
    finally:
        await other.end(keep_files=False)
