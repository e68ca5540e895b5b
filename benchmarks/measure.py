"""Runs of ours and of the floor, one after the other in turn, and what comes of them: the median ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

RUNS = 5

Run = Callable[[], Awaitable[float]]
"""Does the work once and returns what it cost (seconds), or what it reached (a rate)."""


@dataclass
class Finding:
    """One line of the report."""

    name: str
    goal: str
    value: float
    unit: str
    met: bool
    notes: list[str] = field(default_factory=list)

    def line(self) -> str:
        mark = "ok    " if self.met else "MISSED"
        notes = f"  ({'; '.join(self.notes)})" if self.notes else ""
        return f"{mark} {self.name:<58} {self.value:8.2f} {self.unit:<10} goal {self.goal}{notes}"


async def against(name: str, ours: Run, floor: Run, *, at_most: float, runs: int = RUNS) -> Finding:
    """How many times the floor's cost ours is: the median over interleaved runs, after one run of each to warm up."""
    await ours()
    await floor()
    ratios, own = [], []
    for _ in range(runs):
        base = await floor()
        own.append(await ours())
        ratios.append(own[-1] / base)
    value = statistics.median(ratios)
    notes = [f"ours {statistics.median(own) * 1000:.2f} ms, worst run {max(own) * 1000:.2f} ms"]
    return Finding(name, f"<= {at_most:g}x", value, "x floor", value <= at_most, notes)


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await work()
    return time.perf_counter() - begun
