"""`make bench`: every measurement, one line each; exits with 1 when a goal is missed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from benchmarks import hands, logs, turns
from benchmarks.measure import Finding
from benchmarks.rig import own_process, same_process


async def findings() -> list[Finding]:
    found: list[Finding] = []

    def report(*more: Finding) -> None:
        for finding in more:
            print(finding.line(), flush=True)
        found.extend(more)

    with TemporaryDirectory(prefix="roost-bench-") as folder:
        async for finding in hands.all_of_them(Path(folder)):
            report(finding)
    async with own_process() as rig:
        report(await turns.text_turn(rig))
        report(await turns.bash_call(rig))
        report(await turns.first_result(rig))
        report(*await turns.many_sessions(rig))
    async with same_process() as (rig, server):
        report(await logs.spread(rig, server))
        report(*await logs.growth(rig, server))
    return found


if __name__ == "__main__":
    raise SystemExit(0 if all(finding.met for finding in uvloop.run(findings())) else 1)
