"""What another version would have said of rows that are answered already: nobody waits for it, nobody hears it."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from deployments.coalesce import Coalescer, Lane
from deployments.ids import new_id
from forewarn import scoring
from forewarn.errors import NotRecorded, Overloaded
from forewarn.fields import Row
from forewarn.ledger.records import Circumstances, Line, Recorder
from forewarn.ledger.spool import Spool
from forewarn.scoring import Scores
from forewarn.usecase import UseCase

log = logging.getLogger(__name__)
SHADOW = "shadow"
Count = Callable[[str, str, int], None]


@dataclass(frozen=True)
class Answered:
    """A row that was answered."""

    row: Row
    prediction_id: str
    about: Circumstances


class Shadows:
    """Scores rows again, a group at a time, and rests as long as that took: at most half of a pipeline's place is a
    shadow's. What comes while too many wait is left out, and counted.
    """

    def __init__(self, case: UseCase, recorder: Recorder, coalescer: Coalescer, spool: Spool, count: Count):
        self._case, self._recorder, self._coalescer = case, recorder, coalescer
        self._spool, self._count = spool, count
        self._under_way: set[asyncio.Task[None]] = set()

    def offer(self, version: str, answered: Sequence[Answered]) -> None:
        """Rows that were just answered, for that version to say something of."""
        task = asyncio.get_running_loop().create_task(self._score(version, answered))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _score(self, version: str, answered: Sequence[Answered]) -> None:
        try:
            result = await self._recorded(version, answered)
        except (Overloaded, NotRecorded):
            result = "left out"
        self._count(self._case.name, result, len(answered))

    async def _recorded(self, version: str, answered: Sequence[Answered]) -> str:
        began = perf_counter()
        try:
            scores = await self._coalescer.submit(Lane(version), [dict(one.row) for one in answered])
            said, result = self._said(scores), "scored"
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - it is nobody's answer; the judge reads of it in the ledger
            log.debug("%s: the shadow %s: %r", self._case.name, version, error)
            said, result = [{"model_version": version, "instead_of": version}] * len(answered), "failed"
        latency_ms = round((perf_counter() - began) * 1000, 3)
        self._spool.append([self._line(one, told, latency_ms) for one, told in zip(answered, said, strict=True)])
        return result

    def _said(self, scores: Scores) -> list[dict[str, Any]]:
        decisions = scoring.decide(self._case, scores)
        return [{"model_version": scores.version, **self._case.task.says(one)} for one in decisions]  # type: ignore[arg-type]

    def _line(self, one: Answered, told: Mapping[str, Any], latency_ms: float) -> Line:
        told = {**told, "prediction_id": new_id(), "served_from": SHADOW, "shadow_of": one.prediction_id}
        line = self._recorder.line(one.row, told, one.about, latency_ms=latency_ms)
        return {**line, "fields": None, "sealed": None, "digest": None}  # the row stands in the answer's own line


def at_leisure(send: Callable[[Lane, list[dict[str, Any]]], Any]) -> Callable[[Lane, list[dict[str, Any]]], Any]:
    """The same way, and as long a rest after it."""

    async def sent(lane: Lane, rows: list[dict[str, Any]]) -> Scores:
        began = perf_counter()
        try:
            scores: Scores = await send(lane, rows)
            return scores
        finally:
            await asyncio.sleep(perf_counter() - began)

    return sent
