"""One use case at the ingress: which version answers now, and the way to it."""

import asyncio
import logging
from typing import Any

from deployments.cache import Cache
from deployments.coalesce import Coalescer, Lane
from forewarn import scoring
from forewarn.errors import NotReady, Overloaded
from forewarn.ledger.records import Recorder
from forewarn.releases import Releases
from forewarn.scoring import Scores
from forewarn.usecase import UseCase

log = logging.getLogger(__name__)
FOLLOW_SECONDS = 1.0
RETRY_SECONDS = 5.0
# Below http_options.request_timeout_s, so that a slow answer is told in our own words.
ANSWER_SECONDS = 20.0
REHEARSAL_ROWS = 3


class Endpoint:
    """Follows the champion: a new one takes over once it has answered through the whole pipeline."""

    def __init__(self, case: UseCase, coalescer: Coalescer, releases: Releases, cache: Cache, recorder: Recorder):
        self.case = case
        self.cache = cache
        self.recorder = recorder
        self.version: str | None = None
        self.card: dict[str, Any] = {}
        self._before: tuple[str | None, dict[str, Any]] = (None, {})
        self._coalescer = coalescer
        self._releases = releases
        self._refused = ""

    def lane(self, *, why: bool = False) -> Lane:
        """The version that is champion now, for all rows of a request; with `why`, also what each field did.

        Raises:
            NotReady: no champion yet.
        """
        if self.version is None:
            raise self.unready()
        return Lane(self.version, why)

    def refuse_overload(self) -> None:
        """Before anything is read of a request.

        Raises:
            Overloaded: not one more row could wait.
        """
        self._coalescer.refuse_beyond(1)

    async def score(self, lane: Lane, rows: list[dict[str, Any]], *, further: bool = False) -> Scores:
        """Scores by the lane's version, which travels with the rows; `further` ones of a request are not turned away.

        Raises:
            NotReady: the pipeline cannot answer.
            Overloaded: too many rows are waiting.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                scores = await self._coalescer.submit(lane, rows, further=further)
        except Overloaded:
            raise
        except Exception as error:
            log.exception("%s %s could not score %d rows", self.case.name, lane.version, len(rows))
            raise NotReady(f"{self.case.name}: the model cannot answer now; try again in a few seconds") from error
        self.cache.put(lane, rows, scores)
        return scores

    def unready(self) -> NotReady:
        """Why there is no answer."""
        return NotReady(
            f"{self.case.name}: no model yet; train one with `forewarn train {self.case.name}`, or try again"
        )

    def card_of(self, version: str) -> dict[str, Any]:
        """A version's metadata: the champion's, or that of the one before, whose last answers may be on their way."""
        before, card = self._before
        return card if version == before else self.card

    async def follow(self) -> None:
        """Look every second for a new champion, for as long as the replica lives."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS if await self._look() else RETRY_SECONDS)

    async def _look(self) -> bool:
        """Whether all is well."""
        try:
            champion = self._releases.champion(self.case)
            if champion is not None and champion != self.version:
                await self._rehearse(champion)
                card = await asyncio.to_thread(self._releases.card, self.case, champion)
                self.cache.serves(champion, await asyncio.to_thread(self._releases.digest, self.case, champion))
                self._before = (self.version, self.card)
                self.card, self.version, self._refused = card, champion, ""
                log.info("%s %s answers now", self.case.name, champion)
        except Exception as error:  # noqa: BLE001 - a champion that fails must not end the following of the next
            self._say_once(error)
            return False
        return True

    async def _rehearse(self, version: str) -> None:
        rows = scoring.validate(self.case, self.case.sample(REHEARSAL_ROWS, seed=0))
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._coalescer.submit(Lane(version), rows.values)

    def _say_once(self, error: Exception) -> None:
        if str(error) != self._refused:
            self._refused = str(error)
            log.error("%s: the new champion does not take over: %s", self.case.name, error)
