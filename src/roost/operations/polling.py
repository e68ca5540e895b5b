"""Which workers poll: known to this process only, since nothing but the statistics depends on it."""

from __future__ import annotations

from roost.core.clock import Clock

WINDOW_S = 30.0
"""How long a worker counts as polling after its last poll (contract/work-queue.md, Stats)."""
WORKERS_MAX = 10_000
"""How many are remembered at most; beyond it the ones that were silent longest are forgotten."""


class Polling:
    """When each worker last polled its environment's queue."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_s: dict[tuple[str, str], float] = {}

    def seen(self, environment_id: str, worker_id: str) -> None:
        self._last_s.pop((environment_id, worker_id), None)
        self._last_s[environment_id, worker_id] = self._clock.monotonic_s()
        if len(self._last_s) > WORKERS_MAX:
            del self._last_s[next(iter(self._last_s))]

    def count(self, environment_id: str) -> int:
        since_s = self._clock.monotonic_s() - WINDOW_S
        return sum(place == environment_id and at_s >= since_s for (place, _), at_s in self._last_s.items())
