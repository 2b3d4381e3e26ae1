"""What is answered at once is written down together; whoever left, or a full spool, leaves nobody waiting."""

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest

from deployments.scribe import Entry, Scribe
from forewarn import scoring, usecases
from forewarn.errors import NotRecorded
from forewarn.ledger import spool
from forewarn.ledger.records import Circumstances, Recorder
from forewarn.ledger.spool import Spool
from forewarn.settings import Settings

ANSWER: dict[str, Any] = {"prediction": 1.5, "model_version": "v1", "served_from": "champion", "prediction_id": "p"}
ABOUT = Circumstances(key_id="k", at="2026-11-27T09:00:00.000000Z")


@pytest.fixture
def entry(settings: Settings) -> Entry:
    case = usecases.get("absenteeism")
    row = scoring.validate(case, case.sample(1, seed=1)).values[0]
    return Recorder.of(case, settings), row, ANSWER, ABOUT


@pytest.fixture
def own(settings: Settings) -> Iterator[Spool]:
    made = Spool(settings.spools, most_bytes=2**20)
    yield made
    made.close()


def written(own: Spool) -> list[bytes]:
    own.turn()
    return [line for file in spool.segments(own._folder) for line in file.read_bytes().splitlines()]


def test_answers_wait_until_they_are_on_the_disk(own: Spool, entry: Entry) -> None:
    async def story() -> None:
        scribe = Scribe(own)
        await asyncio.gather(*(scribe.record([entry] * 3, perf_counter()) for _ in range(20)))
        assert len(written(own)) == 60
        await scribe.record([], perf_counter())

    asyncio.run(story())


@pytest.mark.parametrize("come", [20, 12])
def test_the_last_of_those_expected_writes_for_all_and_nobody_waits_for_one_who_never_comes(
    own: Spool, entry: Entry, come: int
) -> None:
    async def story() -> None:
        scribe, writes = Scribe(own), list[int]()
        append = own.append
        own.append = lambda lines: (writes.append(len(lines)), append(lines))[1]  # type: ignore[method-assign]
        scribe.expect(20)
        await asyncio.gather(*(scribe.record([entry], perf_counter()) for _ in range(come)))
        assert writes == [come]

    asyncio.run(story())


def test_a_client_that_left_holds_up_nobody(own: Spool, entry: Entry) -> None:
    async def story() -> None:
        scribe = Scribe(own)
        scribe.expect(9)
        asked = [asyncio.ensure_future(scribe.record([entry], perf_counter())) for _ in range(3)]
        await asyncio.sleep(0)
        asked[1].cancel()
        done = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in done] == [type(None), asyncio.CancelledError, type(None)]
        assert len(written(own)) == 3

    asyncio.run(story())


def test_a_full_spool_is_told_to_all(settings: Settings, entry: Entry) -> None:
    async def story() -> None:
        full = Spool(settings.spools, most_bytes=1)
        full.append([{"a": 1}])
        scribe = Scribe(full)
        asked = [scribe.record([entry], perf_counter()) for _ in range(2)]
        for one in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(one, NotRecorded)
        full.close()

    asyncio.run(story())


def test_a_row_that_cannot_be_told_leaves_nobody_waiting(
    own: Spool, entry: Entry, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        scribe = Scribe(own)
        with pytest.raises(NotRecorded):
            await asyncio.wait_for(scribe.record([(entry[0], {}, ANSWER, ABOUT)], perf_counter()), 5)
        assert "could not be written down" in caplog.text
        await scribe.record([entry], perf_counter())
        assert len(written(own)) == 1

    asyncio.run(story())
