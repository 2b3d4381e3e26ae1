"""Who lets a version in, against a real MLflow on SQLite."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from forewarn import approval, state, usecases
from forewarn.approval import Standing
from forewarn.errors import BadInput, LedgerUnavailable, NotAllowed, NotFound
from forewarn.ledger import audit
from forewarn.ledger.store import Ledger
from forewarn.registry import Registry
from forewarn.releases import STATE, Releases, ReleaseState
from forewarn.settings import Settings
from tests.conftest import fitted

pytestmark = pytest.mark.slow

PACKAGE = fitted(usecases.get("attrition"), seed=1)
CASE = PACKAGE.case
Register = Callable[..., str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One for all tests here: each registers versions of its own."""
    return Settings(home=tmp_path_factory.mktemp("approval"))


@pytest.fixture(scope="module")
def register(home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Register:
    registry = Registry(home)
    run = registry.start_run(CASE, "search", params={}, tags={})
    given: list[str] = []

    def registered(status: str = approval.PENDING) -> str:
        folder = tmp_path_factory.mktemp("saved") / "package"
        package = replace(PACKAGE, record={"place": len(given)})
        tags = {"status": status, "trained_by": "ada", "by": "gates", "why": "roc_auc 0.600", "metric": "roc_auc 0.847"}
        given.append(registry.register(CASE, run, package.save(folder), tags=tags))
        return given[-1]

    return registered


def champions(home: Settings) -> tuple[str | None, str | None]:
    """As the store says that answers, and as the registry does."""
    return Releases(home.packages).champion(CASE), Registry(home).aliased(CASE, "champion")


def test_whom_a_person_lets_in_becomes_champion_with_who_why_and_when(home: Settings, register: Register) -> None:
    version = register()
    before = datetime.now(UTC).replace(microsecond=0)
    found = approval.approve(CASE, version, home, by="grace", why="looked at the card")
    (act,) = audit.entries(Ledger.open(home), act="release.approve")
    about = {"use_case": CASE.name, "version": found.version, "from": None, "why": "looked at the card",
             "roles": {"champion": version}, "share": 0.0}  # fmt: skip
    assert (act["actor"], act["about"]) == ("grace", about)
    assert champions(home) == (version, version)
    assert found == Standing(
        version=version, status="approved", trained_by="ada", by="grace", why="looked at the card", at=found.at,
        metric="roc_auc 0.847", role="champion",
    )  # fmt: skip
    assert before <= datetime.fromisoformat(found.at) <= datetime.now(UTC)
    assert ReleaseState.of(state.read_json(home.packages / CASE.name / STATE)).roles == {"champion": version}
    assert Releases(home.packages).load(CASE, version).record == {"place": int(version[1:]) - 1}


def test_a_later_one_may_serve_and_does_once_it_is_brought(home: Settings, register: Register) -> None:
    earlier, later = register(), register()
    before = champions(home)
    for version in (earlier, later):
        told = approval.approve(CASE, version[1:], home, by="grace", why=f"for {version}")  # 3 is v3
        assert (told.status, told.role, champions(home)) == ("approved", "", before)
    for version in (earlier, later, earlier):
        assert approval.bring(CASE, version, home, "promote", by="grace", why="it is good")
        assert champions(home) == (version, version)
    assert approval.bring(CASE, later, home, "start", by="rule", why="every gate was passed")
    assert Registry(home).aliased(CASE, "challenger") == later
    waits = register()
    approval.approve(CASE, waits, home, by="grace", why="fine")
    assert not approval.bring(CASE, waits, home, "start", by="rule", why="one is on its way")
    with pytest.raises(NotAllowed, match=f"{later} is challenger; give that role to another version first"):
        approval.reject(CASE, later, home, by="grace", why="not so fine")
    assert approval.bring(CASE, later, home, "promote", by="grace", why="it is good")


def test_an_approved_version_that_has_no_role_can_still_be_rejected(home: Settings, register: Register) -> None:
    version = register()
    approval.approve(CASE, version, home, by="grace", why="fine")
    assert version in Releases(home.packages).versions(CASE)
    assert approval.reject(CASE, version, home, by="grace", why="not so fine").status == "rejected"
    assert version not in Releases(home.packages).versions(CASE)


def test_what_was_rejected_cannot_be_approved_and_is_not_in_the_store(home: Settings, register: Register) -> None:
    by_gates, by_person, before = register(approval.REJECTED), register(), champions(home)
    told = approval.reject(CASE, by_person, home, by="grace", why="wrong table")
    assert (told.status, told.by, told.why, told.champion) == ("rejected", "grace", "wrong table", False)
    with pytest.raises(NotAllowed, match=r"was rejected by gates: roc_auc 0\.600; train another version"):
        approval.approve(CASE, by_gates, home, by="grace", why="but I like it")
    with pytest.raises(NotAllowed, match="was rejected by grace: wrong table; train another version"):
        approval.approve(CASE, by_person, home, by="ada", why="but I like it")
    assert champions(home) == before
    assert not {by_gates, by_person} & set(Releases(home.packages).versions(CASE))


def test_with_four_eyes_the_trainer_may_not_approve(home: Settings, register: Register) -> None:
    version, strict = register(), home.model_copy(update={"four_eyes": True})
    with pytest.raises(NotAllowed, match="was trained by ada, and FOREWARN_FOUR_EYES asks for another person"):
        approval.approve(CASE, version, strict, by="ada", why="it is mine")
    assert approval.approve(CASE, version, strict, by="grace", why="it is hers").status == "approved"
    assert approval.approve(CASE, version, home, by="ada", why="two eyes will do").status == "approved"


@pytest.mark.parametrize("decide", [approval.approve, approval.reject])
@pytest.mark.parametrize("why", ["", "  \n"])
def test_a_decision_needs_a_reason(
    home: Settings, register: Register, decide: Callable[..., Standing], why: str
) -> None:
    if not approval.standings(CASE, home):
        register()
    version, before = approval.standings(CASE, home)[-1], champions(home)
    with pytest.raises(BadInput, match="why is empty; say in a sentence why"):
        decide(CASE, version.version, home, by="grace", why=why)
    assert approval.standings(CASE, home)[-1] == version
    assert champions(home) == before


def test_the_champion_cannot_be_rejected(home: Settings, register: Register) -> None:
    version = champions(home)[0] or register()
    approval.approve(CASE, version, home, by="grace", why="fine")
    with pytest.raises(NotAllowed, match=f"{version} is champion; give that role to another version first"):
        approval.reject(CASE, version, home, by="grace", why="not so fine")
    assert champions(home) == (version, version)


@pytest.mark.parametrize("decide", [approval.approve, approval.reject])
def test_a_version_that_there_is_not_is_named(
    home: Settings, register: Register, decide: Callable[..., Standing]
) -> None:
    with pytest.raises(NotFound, match="no registered version v999"):
        decide(CASE, "v999", home, by="grace", why="fine")


@pytest.mark.requirement("S1-29")
def test_every_version_is_listed_with_where_it_stands_oldest_first(home: Settings, register: Register) -> None:
    pending, rejected = register(), register(approval.REJECTED)
    found = approval.standings(CASE, home)
    assert [one.version for one in found] == [f"v{place + 1}" for place in range(len(found))]
    assert [(one.version, one.status, one.by) for one in found[-2:]] == [
        (pending, "pending_approval", "gates"),
        (rejected, "rejected", "gates"),
    ]
    assert [one.version for one in found if one.champion] == [champions(home)[0]]


def test_without_a_version_there_is_nothing_to_list(settings: Settings) -> None:
    assert approval.standings(CASE, settings) == []


def test_nothing_changes_where_it_could_not_be_told(home: Settings, register: Register) -> None:
    version = register(approval.PENDING)
    away = home.model_copy(update={"ledger_uri": "postgresql://me@127.0.0.1:1/none"})
    with pytest.raises(LedgerUnavailable):
        approval.approve(CASE, version, away, by="grace", why="looked at the card")
    standing = next(one for one in approval.standings(CASE, home) if one.version == version)
    assert (standing.status, standing.champion) == (approval.PENDING, False)
