"""The history of releases, what may be asked of it, and the judge's acts, on both databases."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import orjson
import pytest

from forewarn import usecases
from forewarn.databases import written
from forewarn.errors import BadInput, MissingField, NotAllowed, NotFound, PackageDamaged
from forewarn.ledger import audit, nightly, outcomes, shipper, steps
from forewarn.ledger.alerts import Alerts
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.nightly import NightlyScore
from forewarn.ledger.observed import observed
from forewarn.ledger.privacy import Privacy
from forewarn.ledger.records import Circumstances, Recorder
from forewarn.ledger.releases import History
from forewarn.ledger.steps import NewStep
from forewarn.ledger.store import Ledger
from forewarn.releases import Releases, ReleaseState
from forewarn.settings import Settings
from jobs.judge import Judge, _step_of
from tests.conftest import admitted
from tests.ledger.conftest import BY, NOW

pytestmark = pytest.mark.slow

pytest_plugins = ["tests.servers"]

CASE = usecases.get("attrition")
BY_RULE = usecases.get("churn")
LATER = NOW + timedelta(hours=25)
Answer = Callable[..., list[str]]


@pytest.fixture
def releases(settings: Settings) -> Releases:
    return admitted(settings, CASE, "v1", "v2", "v3")


@pytest.fixture
def history(settings: Settings, ledger: Ledger, releases: Releases) -> History:
    return History.of(settings, ledger)


def take(history: History, *, at: datetime = NOW, why: str = "because", by: By = BY, **asked: Any) -> Any:
    return steps.take(history, CASE, NewStep(why=why, **asked), by, at=at)


@pytest.mark.requirement("S2-66")
def test_which_version_served_when_who_let_it_and_why(history: History, releases: Releases, ledger: Ledger) -> None:
    hours = [NOW + timedelta(hours=one) for one in range(4)]
    take(history, act="start", version="2", share=10, at=hours[0], why="Recall is up.")
    take(history, act="share", share=50, at=hours[1])
    take(history, act="promote", at=hours[2], why="A good day.")
    assert take(history, act="rollback", at=hours[3]).roles == {"champion": "v1"}
    assert releases.state(CASE) == history.state(CASE)
    lines = history.listed(CASE)
    assert [line["act"] for line in lines] == ["rollback", "promote", "share", "start"]
    assert [(line["from_version"], line["to_version"]) for line in lines] == [
        ("v2", "v1"), ("v1", "v2"), ("v1", "v2"), ("v1", "v2"),
    ]  # fmt: skip
    assert (lines[3]["actor"], lines[3]["key_id"], lines[3]["why"]) == ("auditor", "k1", "Recall is up.")
    then = history.at(CASE, written(hours[2] + timedelta(minutes=1)))
    assert then
    assert (then["state"]["champion"], then["state"]["previous"]) == ("v2", "v1")
    assert history.at(CASE, written(NOW - timedelta(days=1))) is None
    assert [line["number"] for line in history.listed(CASE, after=lines[1]["number"], most=1)] == [lines[2]["number"]]
    assert {line["act"] for line in audit.entries(ledger)} == {
        f"release.{act}" for act in ("start", "share", "promote", "rollback")
    }


def test_what_is_not_whole_or_not_approved_takes_no_role(history: History, releases: Releases) -> None:
    before = releases.state(CASE)
    with pytest.raises(NotFound, match="v9 is not in the package store"):
        take(history, act="start", version="v9")
    damaged = releases.folder(CASE, "v2") / "features.json"
    content = bytearray(damaged.read_bytes())
    content[10] ^= 1  # one flipped bit
    damaged.write_bytes(content)
    for act in ("start", "promote", "shadow"):
        with pytest.raises(PackageDamaged, match=r"features\.json has changed"):
            take(history, act=act, version="v2")
    assert (history.state(CASE), history.listed(CASE), releases.state(CASE)) == (before, [], before)


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"act": "start"}, MissingField, "version"),
        ({"act": "share"}, MissingField, "share"),
        ({"act": "promote"}, MissingField, "no challenger"),
        ({"act": "start", "version": "v2", "cohorts": {"Colour": ["red"]}}, BadInput, "no field Colour"),
        ({"act": "start", "version": "v2", "cohorts": {"Gender": ["Female"]}}, NotAllowed, "Gender is protected"),
        ({"act": "start", "version": "v2", "cohorts": {"EmployeeNumber": ["7"]}}, BadInput, "no field EmployeeNumber"),
        ({"act": "start", "version": "v2", "cohorts": {"Department": ["Moon"]}}, BadInput, "Moon"),
    ],
)
def test_a_step_that_makes_no_sense_is_told_and_leaves_nothing(
    history: History, asked: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        take(history, **asked)
    assert history.listed(CASE) == []


def test_a_state_that_was_not_put_up_is_put_up_by_the_next_who_looks(history: History, releases: Releases) -> None:
    take(history, act="start", version="v2")
    state = history.state(CASE)
    (releases.folder(CASE, "v1").parent / "release.json").write_text('{"champion": "v1"}')
    assert history.mend(CASE) == releases.state(CASE) == state


def test_a_previous_version_that_the_store_has_lost_is_dropped_and_a_lost_champion_is_told(
    history: History, releases: Releases
) -> None:
    take(history, act="promote", version="v2")
    releases.expel(CASE, "v1")
    started = take(history, act="start", version="v3")
    assert started.roles == {"champion": "v2", "challenger": "v3"}
    assert releases.state(CASE) == history.state(CASE) == started
    releases.expel(CASE, "v2")
    with pytest.raises(NotFound, match="v2 is not in the package store"):
        take(history, act="share", share=50)
    assert releases.state(CASE) == history.state(CASE) == started


def test_a_ledger_that_began_anew_counts_on_from_what_replicas_know(
    history: History, releases: Releases, settings: Settings
) -> None:
    take(history, act="start", version="v2")
    take(history, act="promote")
    fresh = settings.model_copy(update={"home": settings.home, "ledger_uri": f"sqlite:///{settings.home}/fresh.db"})
    again = History.of(fresh, Ledger.open(fresh))
    assert again.state(CASE).roles == {"champion": "v2", "previous": "v1"}
    assert take(again, act="rollback").roles == releases.state(CASE).roles == {"champion": "v1"}


# --- what the ledger knows of a release, and what the judge does about it


@pytest.fixture
def answer(ledger: Ledger, settings: Settings) -> Answer:
    numbers = count(1)

    def made(
        version: str, route: str, *, at: datetime = NOW, scores: Sequence[float] = (0.4,), **more: Any
    ) -> list[str]:
        row = {spec.name: None for spec in CASE.fields}
        beside, about = more.pop("shadow_of", None), Circumstances(key_id="k", at=written(at))
        lines = []
        for place, score in enumerate(scores):
            told = {"prediction_id": f"{next(numbers):032}", "probability": score, "event": score > 0.3,
                    "risk_level": "high", "model_version": version, "served_from": route,
                    "shadow_of": beside and beside[place], **more}  # fmt: skip
            lines.append(Recorder.of(CASE, settings).line(row, told, about, latency_ms=5.0))
        shipper.record(ledger, [orjson.dumps(line) for line in lines])
        return [str(line["id"]) for line in lines]

    return made


def test_each_version_s_rows_are_counted_once_and_only_what_was_drawn(
    ledger: Ledger, history: History, answer: Answer
) -> None:
    take(history, act="start", version="v2", share=10, at=NOW - timedelta(hours=1))
    answer("v1", "champion", scores=[0.4] * 3)
    mine = answer("v2", "challenger", scores=[0.5] * 2)
    answer("v1", "champion", instead_of="v2")
    answer("v1", "shadow", shadow_of=mine[:1], scores=[0.2])
    answer("v2", "override")
    answer("v2", "cache")
    answer("v1", "champion", at=NOW - timedelta(hours=2))
    found = observed(ledger, CASE, history.state(CASE), at=NOW + timedelta(hours=1))
    assert (found.challenger.answered, found.challenger.failed) == (2, 1)
    assert (found.champion.answered, found.champion.failed) == (3, 0)
    assert (found.pairs.one.tolist(), found.pairs.other.tolist()) == ([0.5], [0.2])
    assert (found.pairs.one_events.tolist(), found.pairs.other_events.tolist()) == ([True], [False])
    shallow = observed(ledger, CASE, history.state(CASE), at=NOW + timedelta(hours=1), deep=False)
    assert (shallow.challenger.failed, len(shallow.pairs.one)) == (1, 0)


def test_outcomes_are_joined_to_what_both_have_said(
    ledger: Ledger, history: History, answer: Answer, settings: Settings
) -> None:
    take(history, act="shadow", version="v2", at=NOW - timedelta(hours=1))
    ids = answer("v1", "champion", scores=(0.1, 0.9))
    answer("v2", "shadow", shadow_of=ids, scores=(0.2, 0.8))
    key = Recorder.of(CASE, settings).id_key
    read = [outcomes.read(CASE, key, {"prediction_id": one, "outcome": "Yes"}, at=NOW) for one in ids[:1]]
    outcomes.record(ledger, CASE, read, key_id="k", at=NOW)
    found = observed(ledger, CASE, history.state(CASE), at=NOW + timedelta(hours=1))
    assert (found.mode, found.challenger.answered) == ("shadow", 2)
    assert found.truth.labels.tolist() == [1.0]
    assert (found.truth.pairs.one.tolist(), found.truth.pairs.other.tolist()) == ([0.2], [0.1])


@pytest.mark.requirement("S2-74")
def test_a_version_that_cannot_answer_is_rolled_back_by_itself_and_cools_down(
    ledger: Ledger, history: History, answer: Answer, settings: Settings, releases: Releases
) -> None:
    take(history, act="start", version="v2", at=NOW - timedelta(minutes=1))
    answer("v2", "challenger", scores=[0.4] * 40)
    answer("v1", "champion", scores=[0.4] * 20, instead_of="v2")
    answer("v1", "champion", scores=[0.4] * 60)
    judge = Judge(settings, ledger)
    verdict = judge.glance(CASE, at=NOW + timedelta(seconds=1))
    assert verdict
    assert verdict.action == "rollback"
    assert releases.state(CASE).roles == {"champion": "v1"}
    (line,) = history.since(CASE, ["rollback"])
    assert (line["actor"], line["to_version"], line["verdict"]["action"]) == ("judge", "v2", "rollback")
    assert line["verdict"]["seen"]["challenger"] == {"version": "v2", "answered": 40, "failed": 20}
    assert judge.glance(CASE, at=NOW + timedelta(seconds=2)) is None
    (alert,) = Alerts.of(settings, ledger).open(CASE.name)
    assert (alert["name"], alert["severity"], "20 of 60 rows" in alert["text"]) == ("release:v2", "critical", True)
    with pytest.raises(NotAllowed, match="was rolled back by itself"):
        take(history, act="start", version="v2", at=NOW + timedelta(hours=1))
    assert take(history, act="start", version="v2", at=NOW + timedelta(hours=1), again=True).challenger == "v2"
    take(history, act="rollback", at=NOW + timedelta(hours=2))
    assert take(history, act="start", version="v2", at=NOW + timedelta(hours=49)).challenger == "v2"


def test_a_version_that_breaks_after_a_good_day_is_gone_as_soon(
    ledger: Ledger, history: History, answer: Answer, settings: Settings, releases: Releases
) -> None:
    take(history, act="start", version="v2", at=NOW - timedelta(hours=20))
    answer("v2", "challenger", at=NOW - timedelta(hours=10), scores=[0.4] * 700)
    answer("v1", "champion", scores=[0.4] * 60, instead_of="v2")
    answer("v1", "champion", scores=[0.4] * 60)
    verdict = Judge(settings, ledger).glance(CASE, at=NOW + timedelta(seconds=1))
    assert verdict
    assert "60 of 60 rows" in verdict.why
    assert releases.state(CASE).challenger is None


def test_a_package_that_replicas_refuse_is_an_alert_until_it_is_whole_again(
    ledger: Ledger, history: History, settings: Settings, releases: Releases
) -> None:
    take(history, act="start", version="v2", at=NOW)
    spoilt = releases.folder(CASE, "v2") / "contract.json"
    whole, judge = spoilt.read_bytes(), Judge(settings, ledger)
    for content, names in ((b"{}", ["damaged:v2"]), (whole, [])):
        spoilt.write_bytes(content)
        judge.look(CASE, at=NOW + timedelta(minutes=1))
        assert [one["name"] for one in Alerts.of(settings, ledger).open(CASE.name)] == names
    assert history.state(CASE).challenger == "v2", "nothing else changes"


def busy(answer: Answer, rows: int, *, at: datetime) -> None:
    scores = np.random.default_rng(0).random(rows).tolist()
    mine = answer("v2", "challenger", scores=scores, at=at)
    answer("v1", "shadow", shadow_of=mine, scores=scores, at=at)
    answer("v1", "champion", scores=scores, at=at)


@pytest.mark.requirement("C25")
def test_a_good_version_waits_for_its_day_and_then_for_a_person(
    ledger: Ledger, history: History, answer: Answer, settings: Settings
) -> None:
    take(history, act="start", version="v2", at=NOW)
    busy(answer, 520, at=NOW + timedelta(minutes=1))
    judge = Judge(settings, ledger)
    for minutes in (2, 3, 4):
        verdict = judge.look(CASE, at=NOW + timedelta(minutes=minutes))
        assert verdict
        assert verdict.action == "extend"
    verdict = judge.look(CASE, at=LATER)
    assert verdict
    assert verdict.action == "promote"
    lines = history.listed(CASE)
    assert [line["act"] for line in lines] == ["verdict", "verdict", "start"], "said once, not at every look"
    assert "a person may promote it" in lines[0]["why"]
    assert history.state(CASE).challenger == "v2"


def test_by_rule_it_is_promoted_and_outcomes_may_still_take_it_back(
    ledger: Ledger, answer: Answer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted(settings, BY_RULE, "v1", "v2")
    history = History.of(settings, ledger)
    steps.take(history, BY_RULE, NewStep(act="start", version="v2", why="rule"), BY, at=NOW)
    recorder, numbers, key = Recorder.of(BY_RULE, settings), count(1), Recorder.of(BY_RULE, settings).id_key
    row = {spec.name: None for spec in BY_RULE.fields}
    lines, sent = [], []
    for number in range(900):
        gone = number % 2 == 0
        for version, route in (("v2", "challenger"), ("v1", "shadow"), ("v1", "champion")):
            caught = gone and (version == "v1" or number % 20 != 0)
            told = {"prediction_id": f"c{next(numbers):031}", "probability": 0.8 if caught else 0.2, "event": caught,
                    "risk_level": "high", "model_version": version, "served_from": route}  # fmt: skip
            if route == "shadow":
                told["shadow_of"] = lines[-1]["id"]
            else:
                sent.append({"prediction_id": told["prediction_id"], "outcome": "Yes" if gone else "No"})
            about = Circumstances(key_id="k", at=written(NOW + timedelta(minutes=number % 60)))
            lines.append(recorder.line(row, told, about, latency_ms=5.0))
    shipper.record(ledger, [orjson.dumps(line) for line in lines])
    judge = Judge(settings, ledger)
    assert judge.look(BY_RULE, at=LATER)
    assert history.state(BY_RULE).roles == {"champion": "v2", "previous": "v1"}
    waiting = judge.confirm(BY_RULE, at=LATER + timedelta(hours=1))
    assert waiting
    assert waiting.action == "extend"
    for number in range(210):  # more lines than anybody would read of the history
        history.note(BY_RULE, "verdict", BY, "extend", version="v2", at=LATER + timedelta(hours=number))
    known = [outcomes.read(BY_RULE, key, one, at=LATER) for one in sent]
    outcomes.record(ledger, BY_RULE, known, key_id="k", at=LATER)
    verdict = judge.confirm(BY_RULE, at=LATER + timedelta(days=20))
    assert verdict
    assert (verdict.action, "recall lost" in verdict.why) == ("rollback", True), verdict
    assert history.state(BY_RULE).roles == {"champion": "v1"}
    assert judge.confirm(BY_RULE, at=LATER + timedelta(days=21)) is None


# --- nightly scores


def test_nightly_scores_are_replaced_age_and_leave_with_their_people(
    ledger: Ledger, settings: Settings, chain: Chain
) -> None:
    people = Privacy(settings, ledger)
    names = {one: people.person(one, CASE.name).known_as[CASE.name][0] for one in ("anna", "bert", "carl")}
    people.opt_out(people.person("carl"), BY, at=NOW)
    nightly.keep(ledger, CASE, "v1", dict.fromkeys(names.values(), 0.1), at=NOW)
    nightly.keep(ledger, CASE, "v2", {names["anna"]: 0.9}, at=LATER)
    found = nightly.of(ledger, CASE, list(names.values()), since=NOW)
    assert found == {
        names["anna"]: NightlyScore(version="v2", score=0.9, scored_at=written(LATER)),
        names["bert"]: NightlyScore(version="v1", score=0.1, scored_at=written(NOW)),
    }
    assert list(nightly.of(ledger, CASE, list(names.values()), since=LATER)) == [names["anna"]]
    people.erase(people.person("anna"), BY, at=LATER)
    people.opt_out(people.person("bert"), BY, at=LATER)
    assert nightly.of(ledger, CASE, list(names.values()), since=NOW) == {}


def test_what_people_did_meanwhile_is_not_undone_by_the_judge(
    ledger: Ledger, history: History, settings: Settings, releases: Releases
) -> None:
    take(history, act="promote", version="v2")
    take(history, act="start", version="v3")
    step = _step_of("v3", "challenger", ReleaseState.rolled_back)
    take(history, act="rollback")
    with pytest.raises(NotAllowed, match="v3 is no longer challenger"):
        history.change(CASE, "rollback", BY, "it fails", step, at=NOW)
    assert releases.state(CASE).roles == {"champion": "v2", "previous": "v1"}


@pytest.mark.parametrize("name", ["v2/", "v1/../v2", "two", "v"])
def test_a_name_that_is_no_version_s_is_refused(history: History, name: str) -> None:
    with pytest.raises(BadInput, match="is none; give it as v2"):
        take(history, act="start", version=name)
