"""What came true, and what people did about it, on both databases."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from forewarn import ids, usecases
from forewarn.databases import written
from forewarn.errors import BadInput, ForewarnError, MissingField, NotFound
from forewarn.ids import IdKey
from forewarn.ledger import decisions, outcomes, schema, shipper
from forewarn.ledger.decisions import NewDecision
from forewarn.ledger.records import Circumstances, Recorder
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from tests.ledger.conftest import NOW

pytest_plugins = ["tests.servers"]

CASE = usecases.get("attrition")
HOURS = usecases.get("absenteeism")
LATER = NOW + timedelta(days=30)
Predict = Callable[..., str]


@pytest.fixture
def predict(ledger: Ledger, settings: Settings) -> Predict:
    """A prediction in the ledger; its id."""
    count = 0

    def made(subject: str | None = "7", *, at: datetime = NOW, level: str = "high") -> str:
        nonlocal count
        count += 1
        row = {spec.name: None for spec in CASE.fields} | {"MonthlyIncome": 5500.0, CASE.key: subject}
        answer = {
            "prediction_id": f"{count:032}",
            "probability": 0.8,
            "event": True,
            "risk_level": level,
            "model_version": "v1",
            "served_from": "champion",
        }
        about = Circumstances(key_id="k1", at=written(at))
        line = Recorder.of(CASE, settings).line(row, answer, about, latency_ms=1.0)
        shipper.record(ledger, [orjson.dumps(line)])
        return str(line["id"])

    return made


@pytest.fixture
def id_key(settings: Settings) -> IdKey:
    return IdKey.open(settings.id_key)


def heard(
    ledger: Ledger, id_key: IdKey, raw: Mapping[str, Any], *, at: datetime = LATER, case: Any = CASE
) -> str | ForewarnError:
    read = outcomes.read(case, id_key, raw, at=at)
    (told,) = outcomes.record(ledger, case, [read], key_id="k2", at=at)
    return told


def known(ledger: Ledger, *, at: datetime = LATER) -> dict[str, tuple[float, str]]:
    found = outcomes.matured(ledger, CASE, since=NOW - timedelta(days=999), until=LATER, at=at)
    return {str(one.line["id"]): (one.label, one.known) for one in found}


def test_an_outcome_belongs_to_its_prediction_and_the_last_one_counts(
    ledger: Ledger, id_key: IdKey, predict: Predict
) -> None:
    mine = predict()
    for day, label in enumerate(["Yes", "No", "No"]):
        told = heard(ledger, id_key, {"prediction_id": mine, "outcome": label}, at=LATER + timedelta(days=day))
        assert isinstance(told, str)
    history = outcomes.of_prediction(ledger, CASE, mine)
    assert [row["label"] for row in history] == [0.0, 1.0], "a label that is known already is no further line"
    assert known(ledger) == {mine: (0.0, "prediction")}


def test_an_outcome_of_a_subject_belongs_to_the_predictions_of_the_horizon_before_it(
    ledger: Ledger, id_key: IdKey, predict: Predict
) -> None:
    early, within, after = (predict(at=NOW + timedelta(days=days)) for days in (-200, 0, 20))
    other = predict("8")
    heard(ledger, id_key, {"EmployeeNumber": 7, "date": written(NOW + timedelta(days=10)), "outcome": 1})
    assert known(ledger) == {early: (0.0, "silence"), within: (1.0, "subject")}
    late = known(ledger, at=NOW + timedelta(days=300))
    assert late == {
        early: (0.0, "silence"),
        within: (1.0, "subject"),
        after: (0.0, "silence"),
        other: (0.0, "silence"),
    }


def test_a_day_means_all_of_it(ledger: Ledger, id_key: IdKey, predict: Predict) -> None:
    mine = predict()
    heard(ledger, id_key, {"EmployeeNumber": 7, "date": NOW.date().isoformat(), "outcome": "Yes"}, at=NOW)
    assert known(ledger, at=NOW) == {mine: (1.0, "subject")}


def test_an_outcome_finds_a_prediction_under_the_secret_before(
    ledger: Ledger, settings: Settings, predict: Predict
) -> None:
    mine = predict()
    ids.rotate(settings.id_key)
    heard(ledger, IdKey.open(settings.id_key), {"subject": 7, "date": written(NOW), "outcome": "Yes"})
    assert known(ledger, at=NOW + timedelta(days=300)) == {mine: (1.0, "subject")}


@pytest.mark.parametrize("by_id", [True, False])
def test_an_outcome_reaches_the_other_profile_s_prediction(
    ledger: Ledger, settings: Settings, id_key: IdKey, by_id: bool
) -> None:
    profile = HOURS.otherwise
    assert profile
    row = {spec.name: None for spec in profile.fields} | {profile.key: "7"}
    answer = {"prediction_id": "p" * 32, "prediction": 4.0, "model_version": "v1", "served_from": "champion"}
    about = Circumstances(key_id="k1", at=written(NOW))
    shipper.record(ledger, [orjson.dumps(Recorder.of(profile, settings).line(row, answer, about, latency_ms=1.0))])
    raw = {"prediction_id": "p" * 32} if by_id else {"subject": "7", "date": written(NOW)}
    assert isinstance(heard(ledger, id_key, {**raw, "outcome": 8}, case=HOURS), str)
    found = list(outcomes.matured(ledger, profile, since=NOW, until=LATER, at=LATER))
    assert [(one.line["id"], one.label) for one in found] == [("p" * 32, 8.0)]
    made = decided("p" * 32)
    decisions.record(ledger, HOURS, made, key_id="k", at=NOW)
    assert decisions.override_rates(ledger, HOURS)["decisions"] == 1
    assert decisions.override_rates(ledger, profile)["decisions"] == 1


def test_of_an_amount_silence_says_nothing() -> None:
    line = {"id": "p", "at": written(NOW), "subject": None}
    assert outcomes._truth(HOURS, line, {}, {}, NOW + timedelta(days=999)) is None
    found = outcomes._truth(HOURS, line, {"p": 8.0}, {}, NOW)
    assert found
    assert found.label == 8.0


def test_many_pages_are_read_in_order_and_none_twice(
    ledger: Ledger, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "AT_ONCE", 3)
    made = [predict() for _ in range(8)]
    assert list(known(ledger, at=NOW + timedelta(days=300))) == made


def test_what_is_unknown_is_told_and_the_others_are_kept(ledger: Ledger, id_key: IdKey, predict: Predict) -> None:
    read = [
        outcomes.read(CASE, id_key, {"prediction_id": one, "outcome": "No"}, at=LATER) for one in (predict(), "nobody")
    ]
    good, bad = outcomes.record(ledger, CASE, read, key_id="k", at=LATER)
    assert isinstance(good, str)
    assert isinstance(bad, NotFound)
    assert "after some seconds" in str(bad)


@pytest.mark.parametrize(
    ("raw", "kind", "said"),
    [
        ([], BadInput, "is an object"),
        ({"prediction_id": "p"}, MissingField, "outcome: is missing"),
        ({"prediction_id": "p", "outcome": "perhaps"}, BadInput, "outcome"),
        ({"outcome": 1}, MissingField, "prediction_id: is missing"),
        ({"outcome": 1, "EmployeeNumber": 7}, MissingField, "date: is missing"),
        ({"outcome": 1, "subject": 7, "date": "yesterday"}, BadInput, "no ISO 8601"),
        ({"outcome": 1, "subject": 7, "date": "2099-01-01"}, BadInput, "has not come yet"),
        ({"outcome": 1, "subject": 7, "date": "0001-01-01T00:00+10:00"}, BadInput, "no ISO 8601"),
    ],
)
def test_what_is_no_outcome_is_told_with_the_remedy(raw: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        outcomes.read(CASE, IdKey(bytes(32)), raw, at=NOW)


def decided(prediction_id: str, *, overrides: bool = False) -> NewDecision:
    return NewDecision(
        prediction_id=prediction_id,
        action="talked to them",
        overrides=overrides,
        reason="  They asked for a transfer in May. ",
        person="A. Manager",
    )


@pytest.mark.requirement("S1-38")
@pytest.mark.requirement("C44")
def test_decisions_stand_with_who_when_and_why_and_how_often_people_overrule(ledger: Ledger, predict: Predict) -> None:
    high, low = predict(), predict(level="low")
    for place, (mine, overrides) in enumerate([(high, True), (high, False), (low, False)]):
        decisions.record(ledger, CASE, decided(mine, overrides=overrides), key_id="k", at=NOW + timedelta(hours=place))
    first, second, third = decisions.listed(ledger, CASE)
    assert (first["reason"], first["person"], first["key_id"]) == (
        "They asked for a transfer in May.",
        "A. Manager",
        "k",
    )
    assert [one["id"] for one in decisions.listed(ledger, CASE, after=first["id"], most=1)] == [second["id"]]
    assert decisions.listed(ledger, CASE, since=written(NOW + timedelta(hours=2))) == [third]
    rates = decisions.override_rates(ledger, CASE)
    assert (rates["decisions"], rates["override_rate"]) == (3, 1 / 3)
    assert rates["by_level"]["low"] == {"decisions": 1, "overrides": 0, "override_rate": 0.0}
    story = decisions.prediction(ledger, CASE, high)
    assert (story["version"], len(story["decisions"]), story["outcomes"]) == ("v1", 2, [])
    assert "subject" not in first


def test_nothing_is_decided_about_what_is_not_there(ledger: Ledger, predict: Predict) -> None:
    mine = predict()
    with ledger.begin() as connection:
        connection.execute(sa.update(schema.PREDICTIONS).values(erased_at=written(NOW)))
    for one in (mine, "nobody"):
        with pytest.raises(NotFound):
            decisions.record(ledger, CASE, decided(one), key_id="k", at=datetime.now(UTC))


def test_text_that_no_database_holds_is_told(ledger: Ledger, id_key: IdKey) -> None:
    if ledger.dialect == "sqlite":
        assert isinstance(heard(ledger, id_key, {"prediction_id": "\0", "outcome": 1}), NotFound)
        return
    with pytest.raises(BadInput, match="cannot be stored"):
        heard(ledger, id_key, {"prediction_id": "\0", "outcome": 1})
