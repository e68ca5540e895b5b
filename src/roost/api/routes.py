"""From a method and a path to a row of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roost.operations.resource import Endpoint
from roost.wire.errors import ApiError


class Routes:
    """Endpoints by the number of their path's parts and then by place in the table: a literal part stands before an
    id in the same place, so the first match is the right one."""

    def __init__(self, table: Sequence[Endpoint]) -> None:
        self._by_length: dict[int, list[tuple[list[str], Endpoint]]] = {}
        for endpoint in table:
            parts = endpoint.path.split("/")
            self._by_length.setdefault(len(parts), []).append((parts, endpoint))

    def match(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
        """The endpoint and the ids in the path. Raises ApiError: 404, or 405 where only the method is wrong."""
        parts = path.split("/")
        wrong_method = False
        for pattern, endpoint in self._by_length.get(len(parts), ()):
            ids = _ids(pattern, parts)
            if ids is not None and endpoint.method == method:
                return endpoint, ids
            wrong_method = wrong_method or ids is not None
        if wrong_method:
            raise ApiError(405, f"{method} is not a method of this path.")
        raise ApiError(404, "There is nothing at this path.")


def _ids(pattern: Sequence[str], parts: Sequence[str]) -> Mapping[str, str] | None:
    ids = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            if not part:
                return None
            ids[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return ids
