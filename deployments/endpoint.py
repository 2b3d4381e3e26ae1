"""One use case at the ingress: which versions answer whom now, and the way to them."""

import asyncio
import logging
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from deployments.breaker import Breaker
from deployments.cache import Cache
from deployments.coalesce import PATIENT, Coalescer, Lane, Patience
from deployments.shadows import Shadows
from deployments.trials import Trials
from forewarn import scoring
from forewarn.errors import BadInput, ForewarnError, NotReady, Overloaded
from forewarn.fields import Row
from forewarn.ledger.records import Recorder
from forewarn.releases import Releases, ReleaseState
from forewarn.releases.roles import CHALLENGER, CHAMPION, PREVIOUS, SHADOW, drawn
from forewarn.scoring import Scores
from forewarn.usecase import UseCase

log = logging.getLogger(__name__)
FOLLOW_SECONDS = 1.0
# Every replica reads of a new version within a second; by then they have loaded it too.
SETTLE_SECONDS = 1.5
PROBE_SECONDS = 2.0
# A row that failed, and nobody since who was answered: whether the version still does is found out.
DOUBT_SECONDS = 10.0
# A rehearsal waits for a version to be loaded.
REHEARSAL_SECONDS = 20.0
REHEARSAL_ROWS = 3
PURPOSE = "who answers whom"
TESTED = "override"


@dataclass(frozen=True)
class Part:
    """Rows of a request that one version is to answer.

    Attributes:
        route: why it is this version's: champion, challenger, or override.
        places: of the rows within the request.
    """

    lane: Lane
    route: str
    places: Sequence[int]


class Endpoint:
    """Follows the release state: a version takes its role over once it has answered through the whole pipeline.

    Attributes:
        state: as it is answered by; versions that do not answer are not in it.
        named: the champion by the release state, whether it answers or not.
    """

    def __init__(
        self, case: UseCase, way: Callable[[], Coalescer], releases: Releases, cache: Cache, recorder: Recorder, *,
        shadows: Shadows | None = None, patience: Patience = PATIENT,
    ):  # fmt: skip
        self.case = case
        self.cache = cache
        self.recorder = recorder
        self.shadows = shadows
        self.state = ReleaseState()
        self.named: str | None = None
        self._trials = Trials(case.name, self._prove)
        self._cards: dict[str, dict[str, Any]] = {}
        self._breakers: dict[Lane, Breaker] = {}
        self._wanted: ReleaseState | None = None
        self._way = way
        self._coalescers: dict[str, Coalescer] = {}
        self._releases = releases
        self._patience = patience
        self._secret = recorder.id_key.derived(PURPOSE)[0]
        self._probes: dict[Lane, asyncio.Task[None]] = {}

    @property
    def version(self) -> str | None:
        """The champion; None before the first one."""
        return self.state.champion

    @property
    def card(self) -> dict[str, Any]:
        """The champion's metadata."""
        return self._cards.get(self.version or "", {})

    @property
    def refused(self) -> dict[str, str]:
        """Version -> what is wrong with it."""
        return self._trials.refused

    @property
    def degraded_s(self) -> float:
        """For how long the champion has not answered, in seconds; 0 while it does."""
        return max(self.breaker(Lane(self.version or self.named or "", why)).failing_s for why in (False, True))

    def split(self, state: ReleaseState, rows: Sequence[Row], *, why: bool, wanted: str = "") -> list[Part]:
        """Which version is to answer which of these rows: the same subject the same one, for the length of a release.

        Args:
            wanted: a tester's: a role, or a version that has one.

        Raises:
            NotReady: no champion yet.
            BadInput: no such version answers here.
        """
        everybody = range(len(rows))
        if state.champion is None:
            if self.named is None:
                raise self.unready()
            return [Part(Lane(self.named, why), CHAMPION, everybody)]  # it does not answer; somebody else may
        if wanted:
            return [Part(Lane(self._meant(state, wanted), why), TESTED, everybody)]
        if not state.splits:
            return [Part(Lane(state.champion, why), CHAMPION, everybody)]
        places: dict[str, list[int]] = {CHAMPION: [], CHALLENGER: []}
        for place, row in enumerate(rows):
            places[state.answers(row, self._drawn(state, row))].append(place)
        return [Part(Lane(state.roles[role], why), role, found) for role, found in places.items() if found]

    def refuse_overload(self) -> None:
        """Before anything is read of a request.

        Raises:
            Overloaded: not one more row could wait.
        """
        if self.version is not None:
            self.coalescer(self.version).refuse_beyond(1)

    async def score(self, lane: Lane, rows: list[dict[str, Any]], *, further: bool = False) -> Scores:
        """Scores by the lane's version, which travels with the rows; `further` ones of a request are not turned away.

        Raises:
            NotReady: the version cannot answer.
            Overloaded: too many rows are waiting.
        """
        breaker = self.breaker(lane)
        if breaker.is_open or self.version is None:  # nobody answers yet
            raise self.mute()
        try:
            async with asyncio.timeout(self._patience[lane.why]):
                scores = await self.coalescer(lane.version).submit(lane, rows, further=further)
        except Overloaded:
            raise
        except Exception as error:
            self._failed(lane, error)
            raise self.mute() from error
        breaker.succeeded()
        self.cache.put(lane, rows, scores)
        return scores

    def breaker(self, lane: Lane) -> Breaker:
        """Whether that version answers; whether it also explains is another matter."""
        if lane not in self._breakers:
            self._breakers[lane] = Breaker()
        return self._breakers[lane]

    def coalescer(self, version: str) -> Coalescer:
        """Each version has its own, so that one that hangs stands in nobody's way."""
        if version not in self._coalescers:
            self._coalescers[version] = self._way()
        return self._coalescers[version]

    def unready(self) -> NotReady:
        """Why there is no answer."""
        return NotReady(
            f"{self.case.name}: no model yet; train one with `forewarn train {self.case.name}`, or try again"
        )

    def card_of(self, version: str) -> dict[str, Any]:
        """A version's metadata."""
        return self._cards.get(version) or self.card

    async def learn(self, version: str) -> bool:
        """Read a version's metadata; whether there is any."""
        if version not in self._cards:
            try:
                self._cards[version] = await asyncio.to_thread(self._releases.card, self.case, version)
            except (ForewarnError, OSError):
                return False
        return True

    async def follow(self) -> None:
        """Look every second for a new state, for as long as the replica lives."""
        while True:
            await self._look()
            await asyncio.sleep(FOLLOW_SECONDS)

    def adopt(self, state: ReleaseState) -> None:
        """From now on these answer: one assignment, so that no request sees half of it."""
        spec = self.case.by_alias
        cohorts = {spec[name].name: values for name, values in state.cohorts.items() if name in spec}
        self.state = replace(state, cohorts=cohorts)
        self._coalescers = {name: one for name, one in self._coalescers.items() if name in state.versions}

    async def _look(self) -> None:
        try:
            wanted = self._releases.state(self.case)
            self.named = wanted.champion
            passed = await self._trials.passed([one for one in wanted.versions if one not in self.state.versions])
            if passed or wanted != self._wanted:
                await self._take_over(wanted, passed)
        except Exception as error:  # noqa: BLE001 - a state that cannot be read must not end the following of the next
            self._trials.refuse("release state", error)

    async def _take_over(self, wanted: ReleaseState, passed: Set[str]) -> None:
        there = {*self.state.versions, *passed}
        kept = {role: version for role, version in wanted.roles.items() if version in there}
        champion = kept.get(CHAMPION) or self.version or kept.get(PREVIOUS)
        others = {role: kept.get(role) for role in (CHALLENGER, SHADOW, PREVIOUS)}
        usable = replace(wanted, champion=champion, **others)  # type: ignore[arg-type]
        if self.version is not None and passed:
            await asyncio.sleep(SETTLE_SECONDS)
        self.adopt(usable)
        self._wanted = wanted
        log.info("%s: now answering: %s", self.case.name, usable.roles)

    async def _prove(self, version: str) -> None:
        """That it answers through the whole pipeline, which loads and proves it there."""
        breakers = [self.breaker(Lane(version, why)) for why in (False, True)]
        try:
            await self._rehearse(Lane(version))
            self._cards[version] = await asyncio.to_thread(self._releases.card, self.case, version)
            self.cache.serves(version, await asyncio.to_thread(self._releases.digest, self.case, version))
        except Exception:
            for breaker in breakers:
                breaker.failed()
            raise
        for breaker in breakers:
            breaker.succeeded()

    async def _rehearse(self, lane: Lane) -> None:
        rows = scoring.validate(self.case, self.case.sample(REHEARSAL_ROWS, seed=0))
        async with asyncio.timeout(REHEARSAL_SECONDS):
            await self.coalescer(lane.version).apart(lane, rows.values)

    def _meant(self, state: ReleaseState, wanted: str) -> str:
        found = state.roles.get(wanted, wanted)
        if found not in state.versions:
            there = ", ".join(f"{role} {version}" for role, version in state.roles.items())
            raise BadInput(f"X-Forewarn-Version: {wanted[:40]} does not answer here; choose of {there}")
        return found

    def _drawn(self, state: ReleaseState, row: Row) -> float:
        """By subject; a row that names nobody by its content, so that asked again it goes the same way."""
        return drawn(self._secret, state.release, self.recorder.subject(row) or self.recorder.digest(row))

    def _failed(self, lane: Lane, error: Exception) -> None:
        breaker, version = self.breaker(lane), lane.version
        if breaker.is_whole:  # of those that follow in a row nothing new is to be said
            log.warning("%s %s could not score a row: %r", self.case.name, version, error)
        if lane not in self._probes:
            self._probes[lane] = asyncio.get_running_loop().create_task(self._probe(lane))
            self._probes[lane].add_done_callback(lambda _: self._probes.pop(lane))
        if breaker.failed():
            log.error("%s %s does not answer, and is not asked until it does", self.case.name, version)

    async def _probe(self, lane: Lane) -> None:
        """Where nobody asks it any more, or nobody did for a while, try it on rows of nobody until it answers."""
        breaker, version = self.breaker(lane), lane.version
        while not breaker.is_whole and version in self.state.versions:
            await asyncio.sleep(PROBE_SECONDS)
            if breaker.is_open or breaker.failing_s > DOUBT_SECONDS:
                await self._ask_again(lane, breaker)

    async def _ask_again(self, lane: Lane, breaker: Breaker) -> None:
        try:
            await self._rehearse(lane)
        except Exception as error:  # noqa: BLE001 - it does not answer yet
            log.debug("%s %s: %r", self.case.name, lane.version, error)
        else:
            breaker.succeeded()
            log.warning("%s %s answers again", self.case.name, lane.version)

    def mute(self) -> NotReady:
        """What is said where nobody can say anything."""
        return NotReady(f"{self.case.name}: the model cannot answer now; try again in a few seconds")
