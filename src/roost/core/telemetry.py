"""What the server says about itself: one line for each record on standard error, never a secret in it."""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO

_SECRETS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 [redacted]"),
    (re.compile(r"\b(?:sk|pk|rk|ghp|gho|ghs|github_pat|xox[abprs]|whsec)[-_][\w-]{8,}"), "[redacted]"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*"), "[redacted]"),
    (re.compile(r"""://[^\s/?#"'<>]+@"""), "://[redacted]@"),
    (
        re.compile(r"""(?ix)( (?:api|admin|access|secret)[-_]?(?:key|token) | x-api-key | password | authorization )
                       (["']?\s*[:=]\s*["']?) (?!bearer\b|basic\b) [^\s"',;&]{4,}"""),
        r"\1\2[redacted]",
    ),
)


def redact(text: str) -> str:
    """The text with everything that looks like a key, a token or a password replaced by `[redacted]`."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class OneLine(logging.Formatter):
    """`time level logger message`, with line breaks escaped, so that a record cannot pretend to be two."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record)).replace("\r", "\\r").replace("\n", "\\n")


def configure_logging(level: str = "info", stream: TextIO = sys.stderr) -> None:
    """Send every record at `level` (debug, info, warning, error) and above to `stream`, one line each."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The libraries' own lines at this level tell of each request and would name its address; uvicorn's repeat what
    # `roost serve` says about the start and the stop.
    for noisy in ("httpx2", "httpcore2", "asyncio", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
