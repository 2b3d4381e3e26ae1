"""Scores of rows that were asked for a moment ago. A row scores to the same bits each time, so none is stale."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import orjson
from cachetools import TTLCache

from deployments.coalesce import Lane
from forewarn.fields import Row
from forewarn.scoring import Scores
from forewarn.usecase import UseCase

DIGEST_BYTES = 16


class Cache:
    """One use case's scores for so many seconds (S2-09), in this replica's memory.

    A row is known by a digest of what a model may read of it, with the use case and the version (C11): neither its
    subject nor its values can be read here. Requests of one row are remembered; a batch costs too little per row.
    """

    def __init__(self, case: UseCase, *, seconds: float, rows: int):
        self._case = case
        self._inputs = [spec.name for spec in case.inputs]
        self._known: TTLCache[bytes, Scores] | None = TTLCache(rows, seconds) if seconds and rows else None

    def keeps(self, rows: Sequence[Row]) -> bool:
        """Whether these are rows that are remembered."""
        return self._known is not None and len(rows) == 1

    def get(self, lane: Lane, rows: Sequence[Row]) -> Scores | None:
        """What was remembered of this one row."""
        return self._known.get(self._key(lane, rows[0])) if self._known is not None and self.keeps(rows) else None

    def put(self, lane: Lane, rows: Sequence[Row], scores: Scores) -> None:
        """Remember it."""
        if self._known is not None and self.keeps(rows):
            self._known[self._key(lane, rows[0])] = scores

    def _key(self, lane: Lane, row: Row) -> bytes:
        values: list[Any] = [row[name] for name in self._inputs]
        known_by = orjson.dumps([self._case.name, lane.version, lane.why, values])
        return blake2b(known_by, digest_size=DIGEST_BYTES).digest()
