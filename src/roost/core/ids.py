"""Identifiers: a documented prefix, `01`, and 22 characters that sort by time of creation.

The form follows `sesn_011CZkZAtmR3yMPDzynEDxu7` (contract/http.md, IDs). The first eight base-58 characters count
milliseconds, the other fourteen are random (82 bits), so ids made later sort later and cannot be guessed.
"""

from __future__ import annotations

import secrets
import time

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE = len(_ALPHABET)
_RANDOM_SPACE = _BASE**14


def _digits(number: int, width: int) -> str:
    out = []
    for _ in range(width):
        number, digit = divmod(number, _BASE)
        out.append(_ALPHABET[digit])
    return "".join(reversed(out))


def new_id(prefix: str) -> str:
    """A new identifier, for example `new_id("sesn")` -> `sesn_01...`."""
    return f"{prefix}_01{_digits(time.time_ns() // 1_000_000, 8)}{_digits(secrets.randbelow(_RANDOM_SPACE), 14)}"
