"""The following of champions, against a real package store and the real deployment classes, in one process."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from deployments.cache import Cache
from deployments.coalesce import Coalescer, Lane, Send
from deployments.endpoint import REHEARSAL_SECONDS, Endpoint
from deployments.loaded import KEPT, LoadedVersions
from deployments.model import Model
from forewarn import scoring
from forewarn.errors import NotFound, NotReady, PackageDamaged
from forewarn.ids import IdKey
from forewarn.ledger.records import Recorder
from forewarn.ledger.seals import Seal
from forewarn.package import ModelPackage
from forewarn.releases import Releases, ReleaseState
from forewarn.scoring import Scores
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from tests.conftest import CASES, fitted


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    """One use case will do: nothing here hangs on which."""
    return fitted(CASES[0], seed=1)


@pytest.fixture
def releases(package: ModelPackage, tmp_path: Path) -> Releases:
    store = Releases(tmp_path / "packages")
    for version in range(1, KEPT + 3):
        store.admit(package.case, f"v{version}", saved(package, tmp_path))
    store.put_up(package.case, ReleaseState(champion="v1"))
    return store


def saved(package: ModelPackage, tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    return folder if folder.exists() else package.save(folder)


def spoil(releases: Releases, package: ModelPackage, version: str) -> None:
    (releases.folder(package.case, version) / "contract.json").write_text("{}")


def test_the_champion_is_there_from_the_start(package: ModelPackage, releases: Releases) -> None:
    async def story() -> None:
        loaded = LoadedVersions(package.case, releases, releases.load)
        spoil(releases, package, "v1")  # a loaded that read it again would notice
        assert (await loaded.get("v1")).version == "v1"

    asyncio.run(story())


def test_callers_share_one_load_and_old_versions_make_room(
    package: ModelPackage, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    real = Releases.load

    def counted(self: Releases, case: Any, version: str) -> ModelPackage:
        loads.append(version)
        return real(self, case, version)

    monkeypatch.setattr(Releases, "load", counted)

    async def story() -> None:
        loaded = LoadedVersions(package.case, releases, releases.load)
        one, two = await asyncio.gather(loaded.get("v2"), loaded.get("v2"))
        assert one is two
        for version in ("v3", "v4", "v5", "v6", "v6"):
            await loaded.get(version)
        assert loads == [f"v{number}" for number in range(1, KEPT + 2)]
        await loaded.get("v1")
        assert loads[-1] == "v6", "whatever has a role stays"
        await loaded.get("v2")
        assert loads[-1] == "v2"

    asyncio.run(story())


def test_a_damaged_version_changes_nothing_and_may_be_mended(package: ModelPackage, releases: Releases) -> None:
    folder = releases.folder(package.case, "v2")
    whole = (folder / "contract.json").read_bytes()
    spoil(releases, package, "v2")

    async def story() -> None:
        loaded = LoadedVersions(package.case, releases, releases.load)
        with pytest.raises(PackageDamaged):
            await loaded.get("v2")
        with pytest.raises(NotFound):
            await loaded.get("v99")
        assert (await loaded.get("v1")).version == "v1"
        (folder / "contract.json").write_bytes(whole)
        assert (await loaded.get("v2")).version == "v2"

    asyncio.run(story())


def endpoint_of(case: UseCase, send: Send, releases: Releases) -> Endpoint:
    coalescer = Coalescer(send, max_group=9, max_explained=9, groups_in_flight=1, max_waiting=99)
    key = IdKey(bytes(32))
    recorder = Recorder(case, key, Seal(key.derived("tests")))
    return Endpoint(case, lambda: coalescer, releases, Cache(recorder, seconds=0, rows=0), recorder)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.slow
def test_a_desk_follows_the_champion_and_stays_when_the_next_one_fails(
    package: ModelPackage, releases: Releases, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        loaded = LoadedVersions(package.case, releases, releases.load)

        async def send(lane: Lane, rows: list[dict[str, Any]]) -> Scores:
            return scoring.score(await loaded.get(lane.version), rows)

        endpoint = endpoint_of(package.case, send, releases)
        rows = scoring.validate(package.case, package.case.sample(2, seed=0)).values
        with pytest.raises(NotReady, match="no model yet"):
            endpoint.split(endpoint.state, rows, why=False)
        following = asyncio.create_task(endpoint.follow())
        await until(lambda: endpoint.version == "v1")
        spoil(releases, package, "v2")
        releases.put_up(package.case, ReleaseState(champion="v2"))
        await until(lambda: "does not take over" in caplog.text)
        assert endpoint.version == "v1"
        releases.put_up(package.case, ReleaseState(champion="v3"))
        await until(lambda: endpoint.version == "v3")
        assert (await endpoint.score(Lane("v3"), rows)).version == "v3"
        following.cancel()

    asyncio.run(story())


def test_a_version_that_hangs_keeps_no_other_from_its_role(package: ModelPackage, releases: Releases) -> None:
    async def story() -> None:
        loaded = LoadedVersions(package.case, releases, releases.load)

        async def send(lane: Lane, rows: list[dict[str, Any]]) -> Scores:
            if lane.version == "v2":
                await asyncio.Event().wait()
            return scoring.score(await loaded.get(lane.version), rows)

        endpoint = endpoint_of(package.case, send, releases)
        following = asyncio.create_task(endpoint.follow())
        releases.put_up(package.case, ReleaseState(champion="v1", challenger="v2", share=50, number=1))
        await until(lambda: endpoint.version == "v1")
        releases.put_up(package.case, ReleaseState(champion="v3", challenger="v2", share=50, number=2))
        began = monotonic()
        await until(lambda: endpoint.version == "v3")
        assert monotonic() - began < REHEARSAL_SECONDS / 2, "it is still on trial"
        assert endpoint.state.roles == {"champion": "v3"}
        following.cancel()

    asyncio.run(story())


def test_one_slow_version_does_not_keep_the_champion_waiting(
    package: ModelPackage, releases: Releases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREWARN_HOME", str(releases._store.parent))
    releases.put_up(package.case, ReleaseState(champion="v1", challenger="v2", number=1))
    real, slow, go_on = scoring.scores, threading.Event(), threading.Event()

    def scores(of: ModelPackage, *rest: Any) -> Scores:
        if of.version == "v2":
            slow.set()
            go_on.wait(10)
        return real(of, *rest)

    monkeypatch.setattr("deployments.model.scoring.scores", scores)
    rows = scoring.validate(package.case, package.case.sample(2, seed=0)).values
    matrix = package.features.matrix(rows)

    async def story() -> None:
        model = Model(package.case.name)
        waiting = [asyncio.create_task(model("v2", matrix, None)) for _ in range(20)]
        await until(slow.is_set)
        assert (await model("v1", matrix, None)).version == "v1"
        assert (await model("v3", matrix, None)).version == "v3", "nor any other"
        go_on.set()
        assert {one.version for one in await asyncio.gather(*waiting)} == {"v2"}

    asyncio.run(story())


def test_a_pipeline_that_breaks_is_not_ready_rather_than_an_error(package: ModelPackage, releases: Releases) -> None:
    async def story() -> None:
        async def send(lane: Lane, rows: list[dict[str, Any]]) -> Scores:
            raise ConnectionError("the replica is gone")

        endpoint = endpoint_of(package.case, send, releases)
        endpoint.adopt(ReleaseState(champion="v1"))
        with pytest.raises(NotReady, match="cannot answer now"):
            await endpoint.score(Lane("v1"), [{}])

    asyncio.run(story())


def test_versions_fitted_apart_score_apart(package: ModelPackage) -> None:
    other = fitted(package.case, seed=2)
    rows = scoring.validate(package.case, package.case.sample(5, seed=0)).values
    ours, theirs = scoring.score(package, rows), scoring.score(other, rows)
    assert (ours.values != theirs.values).any()
