"""`grep` for a sandbox without ripgrep: a program of its own, so that a slow expression can be killed.

`python3 -IS walkgrep.py PATTERN ROOT` prints `path:line:text` and exits like ripgrep: 0 with hits, 1 without, 2 with a
reason on standard error. Python's regular expressions; ignore files do not count. Skipped, as in the reference:
`.git`, `node_modules`, symbolic links, what is no regular file, files with a NUL in the first 512 bytes, and lines over
2,000 bytes.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from itertools import islice

SKIPPED_FOLDERS = {".git", "node_modules"}
FILE_LIMIT = 50_000
LINE_LIMIT_BYTES = 2_000
_PROBE_BYTES = 512


def main(pattern: str, root: str) -> int:
    try:
        expression = re.compile(pattern.encode())
    except re.error as error:
        sys.stderr.write(f"invalid regex: {error}")
        return 2
    found = False
    for path in islice(files_below(root), FILE_LIMIT):
        for number, line in hits(expression, path):
            sys.stdout.buffer.write(b"%s:%d:%s\n" % (os.fsencode(path), number, line))
            found = True
    return 0 if found else 1


def files_below(root: str) -> Iterator[str]:
    if not os.path.isdir(root):
        yield root
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - SKIPPED_FOLDERS)
        for name in sorted(names):
            yield os.path.join(folder, name)


def hits(expression: re.Pattern[bytes], path: str) -> Iterator[tuple[int, bytes]]:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return
        with open(path, "rb") as file:
            if b"\0" in file.read(_PROBE_BYTES):
                return
            file.seek(0)
            for number, line in enumerate(file, 1):
                line = line.rstrip(b"\n")
                if len(line) <= LINE_LIMIT_BYTES and expression.search(line):
                    yield number, line
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
