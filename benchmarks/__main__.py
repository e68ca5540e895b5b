"""`make bench`: every measurement, one line each; exits with 1 when a goal is missed."""

from __future__ import annotations

import uvloop

from benchmarks import logs, turns
from benchmarks.measure import Finding
from benchmarks.rig import rig


async def findings() -> list[Finding]:
    found: list[Finding] = []
    async with rig() as server:
        for measure in (turns.text_turn, turns.bash_call, turns.first_result, logs.spread):
            found.append(await measure(server))
            print(found[-1].line(), flush=True)
        for measures in (logs.growth, turns.many_sessions):
            for finding in await measures(server):
                found.append(finding)
                print(finding.line(), flush=True)
    return found


if __name__ == "__main__":
    raise SystemExit(0 if all(finding.met for finding in uvloop.run(findings())) else 1)
