"""Identifiers: a documented prefix, `01`, and 22 characters that sort by time of creation.

The form follows `sesn_011CZkZAtmR3yMPDzynEDxu7` (contract/http.md, IDs). The first eight base-58 characters count
milliseconds, the other fourteen are random (82 bits), so ids made later sort later and cannot be guessed.
"""

from __future__ import annotations

import os
import time

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE = len(_ALPHABET)
_RANDOM_DIGITS = 14
_RANDOM_BYTES = 16
"""More than the digits hold, so that what is cut off leaves no digit likelier than another."""


def _digits(number: int, width: int) -> str:
    out = []
    for _ in range(width):
        number, digit = divmod(number, _BASE)
        out.append(_ALPHABET[digit])
    return "".join(reversed(out))


def new_id(prefix: str) -> str:
    """A new identifier, for example `new_id("sesn")` -> `sesn_01...`."""
    drawn = int.from_bytes(os.urandom(_RANDOM_BYTES), "big")
    return f"{prefix}_01{_digits(time.time_ns() // 1_000_000, 8)}{_digits(drawn, _RANDOM_DIGITS)}"
