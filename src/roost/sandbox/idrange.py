"""One range of user ids for each sandbox of a root server: what is root inside is nobody's user outside."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from pathlib import Path

IDS_PER_SANDBOX = 65_536
FIRST_ID = 100_000
LAST_ID = 2**31 - 1
"""Above it, ids are negative to programs that keep them in 32 signed bits."""


def choose_base(taken: Collection[int], reserved: Collection[range]) -> int:
    """The first id of a range that no other sandbox and nobody else on this machine has.

    Drawn at random, so that two servers on one machine are unlikely to meet. Raises RuntimeError when all are taken.
    """
    count = (LAST_ID - FIRST_ID) // IDS_PER_SANDBOX
    start = secrets.randbelow(count)
    for slot in range(count):
        base = FIRST_ID + (start + slot) % count * IDS_PER_SANDBOX
        last = base + IDS_PER_SANDBOX - 1
        if base not in taken and not any(other.start <= last and base < other.stop for other in reserved):
            return base
    raise RuntimeError("every range of user ids is taken")


def reserved_ranges(etc: Path = Path("/etc")) -> list[range]:
    """The ids this machine has given away: subordinate ranges, and users and groups of its own."""
    ranges = []
    for name, id_field, count_field in (("subuid", 1, 2), ("subgid", 1, 2), ("passwd", 2, None), ("group", 2, None)):
        try:
            lines = (etc / name).read_text(errors="replace").splitlines()
        except OSError:
            continue
        for fields in (line.split(":") for line in lines):
            try:
                first = int(fields[id_field])
                ranges.append(range(first, first + (int(fields[count_field]) if count_field else 1)))
            except (IndexError, ValueError):
                continue
    return ranges
