"""How many hours an absence will last. Rows are those of the UCI data set "Absenteeism at work".

Two profiles (C41): `absenteeism` knows the reason that was reported, and reproduces S3; `absenteeism_forecast` looks
ahead, when nothing is known yet, and does without health and habits. A request without the reason is answered by it.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from forewarn.answers import AmountAnswer, Api, Batch, Card, Example, Told, passes_on
from forewarn.fields import CODES, RowModel, called
from forewarn.policy import Expectation, Gates
from forewarn.sampling import Columns, pick, rows_of, shift, standard, whole
from forewarn.tasks import Regression, Vector
from forewarn.usecase import Advice, Cleaning, UseCase, bounded

YEAR_HOURS = 8784
Flag = Annotated[int, Field(ge=0, le=1)]


class Worker(RowModel):
    """What is known before anybody is absent."""

    employee: Annotated[
        str | None, Field(validation_alias=called("ID", "employee_id"), coerce_numbers_to_str=True, max_length=64)
    ] = None
    age: Annotated[int, Field(validation_alias=called("Age"), ge=14, le=100, description="years")]
    distance: Annotated[
        float, Field(validation_alias=called("Distance from Residence to Work"), ge=0, le=10_000, description="km")
    ]
    service: Annotated[float, Field(validation_alias=called("Service time"), ge=0, le=80, description="years")]
    workload: Annotated[float, Field(validation_alias=called("Work load Average/day"), ge=0, le=1_000_000)]
    hit_target: Annotated[float, Field(validation_alias=called("Hit target"), ge=0, le=1000, description="%")]
    transport: Annotated[float, Field(validation_alias=called("Transportation expense"), ge=0, le=1_000_000)]
    education: Annotated[
        int, Field(validation_alias=called("Education"), ge=1, le=4, description="1 high school … 4 doctor")
    ]
    children: Annotated[int, Field(validation_alias=called("Son"), ge=0, le=30)]
    pets: Annotated[int, Field(validation_alias=called("Pet"), ge=0, le=100)]
    height: Annotated[float, Field(validation_alias=called("Height"), ge=50, le=260, description="cm")]
    month: Annotated[int, Field(validation_alias=called("Month of absence"), ge=0, le=12), CODES]
    weekday: Annotated[
        int, Field(validation_alias=called("Day of the week"), ge=1, le=7, description="2 Monday … 6 Friday"), CODES
    ]
    season: Annotated[int, Field(validation_alias=called("Seasons"), ge=1, le=4), CODES]


class Absence(Worker):
    """What is known once an absence is reported (S3-04). Health and habits are asked for only here (C41)."""

    body_mass: Annotated[float, Field(validation_alias=called("Body mass index"), ge=5, le=150, description="kg/m²")]
    drinker: Annotated[Flag, Field(validation_alias=called("Social drinker"))]
    smoker: Annotated[Flag, Field(validation_alias=called("Social smoker"))]
    weight: Annotated[float, Field(validation_alias=called("Weight"), ge=20, le=500, description="kg")]
    reason: Annotated[
        int,
        Field(
            validation_alias=called("Reason for absence"),
            ge=0,
            le=28,
            description="0 none, 1–21 chapters of ICD-10, 22–28 visits, donations, examinations and unexcused",
        ),
        CODES,
    ]
    disciplinary: Annotated[Flag, Field(validation_alias=called("Disciplinary failure"))]


Fields = Mapping[str, NDArray[Any]]
# Consultations, examinations, physiotherapy, the dentist: mostly over within hours.
VISITS = (23, 25, 27, 28)


def reason_code(rows: Fields) -> NDArray[Any]:
    """The reason as a number: trees cut its order, which runs from diseases to visits, as well as its levels."""
    return rows["reason"].astype(np.float64)


def month_code(rows: Fields) -> NDArray[Any]:
    """The month as a number, 0 to 12."""
    return rows["month"].astype(np.float64)


def weekday_code(rows: Fields) -> NDArray[Any]:
    """The weekday as a number, 2 Monday to 6 Friday."""
    return rows["weekday"].astype(np.float64)


def season_code(rows: Fields) -> NDArray[Any]:
    """The season as a number, 1 to 4."""
    return rows["season"].astype(np.float64)


@bounded(0, 1)
def is_visit(rows: Fields) -> NDArray[Any]:
    """1 for consultations, examinations, physiotherapy and the dentist."""
    return np.isin(rows["reason"], VISITS)


class AbsenteeismAnswer(AmountAnswer):
    """S3-06."""

    model: str
    confidence: Annotated[str, Field(description="the model's mean error over all; `interval` is about this row")]


class AbsenteeismBatch(BaseModel):
    """S3-07: the bare numbers, null where a row was bad; `results` has the whole answers."""

    predictions: list[float | None]
    count: int
    model: str
    timestamp: str
    confidence: str


# The document's word for its model; the others in its manner.
NAMES = {"svr": "SVR_RBF", "xgboost_absolute": "XGBOOST_MAE"}


@passes_on
def answer(told: Told) -> dict[str, Any]:
    """The hours, and how far off the model is on average."""
    return {
        "model": model_name(told.card),
        "confidence": confidence(told.card),
    }


def batch(given: Batch) -> dict[str, Any]:
    """The document's batch: bare numbers."""
    return {
        "predictions": [None if one is None else one["prediction"] for one in given.answers],
        "count": len(given.answers),
        "model": model_name(given.card),
        "timestamp": without_zone(given.at),
        "confidence": confidence(given.card),
    }


def about(card: Card) -> dict[str, Any]:
    """S3-08. Every row is a test row in one fold of five, and a training row in the others."""
    metrics, rows = card["metrics"], card["data"]["rows"]
    return {
        "model_type": model_type(card),
        "test_mae": metrics["mae"]["mean"],
        "test_median_mae": metrics["median_mae"]["mean"],
        "test_rmse": metrics["rmse"]["mean"],
        "test_r2": metrics["r2"]["mean"],
        "train_date": trained(card),
        "features_count": len(card["fields"]),
        "training_samples": rows,
        "test_samples": rows,
    }


def health(card: Card) -> dict[str, Any]:
    """S3-05."""
    return {
        "model_type": model_type(card),
        "test_mae": card["metrics"]["mae"]["mean"],
        "training_date": trained(card),
    }


def model_name(card: Card) -> str:
    """Such as SVR_RBF; of a blend, both."""
    return "+".join(NAMES[part] for part in card["algorithm"].split("+"))


def model_type(card: Card) -> str:
    """Such as SVR; of a blend, both."""
    return "+".join(NAMES[part].split("_")[0] for part in card["algorithm"].split("+"))


def confidence(card: Card) -> str:
    """As the document words it; held-out folds, in hours."""
    return f"MAE ± {card['metrics']['mae']['mean']:.2f}"


def trained(card: Card) -> str:
    """Day and time, UTC."""
    return str(card["created"])[:19].replace("T", " ")


def without_zone(at: datetime) -> str:
    """S3-04b: UTC to the second, with no zone behind it."""
    return at.replace(tzinfo=None).isoformat(timespec="seconds")


# Reason -> how often it is given, and its median hours: visits are short, injuries and operations long.
REASONS: dict[int, tuple[float, float]] = {
    0: (6, 0), 1: (2, 8), 6: (1, 10), 7: (2, 6), 8: (1, 8), 9: (0.5, 30), 10: (3, 10), 11: (3.5, 8), 12: (1, 24),
    13: (7, 16), 14: (2.5, 8), 18: (3, 8), 19: (5, 20), 21: (1, 6), 22: (5, 8), 23: (20, 2), 24: (0.5, 8),
    25: (4, 3), 26: (4.5, 8), 27: (9, 2), 28: (15, 2),
}  # fmt: skip
CREW = 15


def sample(n: int, seed: int = 0, drift: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """n made-up absences with their hours, of n/15 workers. `drift` moves fields: see `forewarn.sampling.shift`."""
    random = np.random.default_rng(seed)
    crew = _crew(max(3, n // CREW), random)
    place = random.integers(0, len(crew["ID"]), n)
    columns = {name: values[place] for name, values in crew.items()} | _occasion(n, random)
    shift(columns, drift or {}, random)
    columns["Absenteeism time in hours"] = _hours(columns, random)
    return rows_of(columns)


def _crew(n: int, random: np.random.Generator) -> Columns:
    age = whole(random.normal(37, 7, n), 22, 60)
    height = whole(random.normal(172, 6, n), 155, 198)
    body_mass = whole(random.normal(26.5, 4, n), 18, 40)
    return {
        "ID": np.arange(1, n + 1).astype(str),
        "Age": age,
        "Distance from Residence to Work": whole(random.gamma(3.5, 8.5, n), 1, 60),
        "Service time": whole((age - 20) * random.beta(4, 2, n), 1, 35),
        "Body mass index": body_mass,
        "Transportation expense": whole(random.normal(220, 65, n), 110, 390),
        "Education": pick(random, {"1": 82, "2": 6, "3": 11, "4": 1}, n).astype(np.int64),
        "Son": whole(random.exponential(1.1, n), 0, 4),
        "Social drinker": (random.random(n) < 0.57).astype(np.int64),
        "Social smoker": (random.random(n) < 0.08).astype(np.int64),
        "Pet": whole(random.exponential(0.8, n), 0, 8),
        "Height": height,
        "Weight": whole(body_mass * (height / 100) ** 2, 45, 130),
    }


def _occasion(n: int, random: np.random.Generator) -> Columns:
    month = random.integers(1, 13, n)
    reason = pick(random, {str(code): often for code, (often, _) in REASONS.items()}, n).astype(np.int64)
    return {
        "Month of absence": month,
        "Day of the week": random.integers(2, 7, n),
        "Seasons": (month % 12) // 3 + 1,
        "Work load Average/day": random.normal(271, 39, n).round(3).clip(150, 400),
        "Hit target": whole(random.normal(94.6, 3.8, n), 80, 100),
        "Reason for absence": reason,
        "Disciplinary failure": ((reason == 0) & (random.random(n) < 0.9)).astype(np.int64),
    }


def _hours(columns: Columns, random: np.random.Generator) -> Vector:
    usual = np.array([REASONS.get(int(code), (0, 8))[1] for code in columns["Reason for absence"]], dtype=float)
    factor = np.exp(
        0.30 * standard(columns["Age"])
        + 0.25 * standard(columns["Son"])
        - 0.30 * standard(columns["Distance from Residence to Work"])
        + 0.15 * (columns["Social drinker"] == 1)
        + 0.08 * standard(columns["Work load Average/day"])
        - 0.10 * (columns["Day of the week"] == 6)
        + random.normal(0, 0.45, len(usual))
    )
    hours = np.where(usual * factor > 6, np.rint(usual * factor / 8).clip(1) * 8, np.rint(usual * factor).clip(1))
    return np.where(usual > 0, hours.clip(0, 120), 0.0)


HEALTH = frozenset({"body_mass", "weight", "drinker", "smoker"})
SAMPLE_ROW = {
    "Age": 35, "Distance from Residence to Work": 15, "Service time": 10, "Body mass index": 25.5,
    "Work load Average/day": 250, "Hit target": 95, "Transportation expense": 200, "Disciplinary failure": 0,
    "Education": 1, "Son": 1, "Social drinker": 1, "Social smoker": 0, "Pet": 1, "Weight": 75, "Height": 175,
    "Reason for absence": 0, "Month of absence": 7, "Day of the week": 3, "Seasons": 1,
}  # fmt: skip
NOT_AHEAD = {
    "Reason for absence",
    "Disciplinary failure",
    "Body mass index",
    "Weight",
    "Social drinker",
    "Social smoker",
}

FORECAST = UseCase(
    name="absenteeism_forecast",
    title="How many hours an absence will last, before anything is known of it",
    row=Worker,
    key="employee",
    target="Absenteeism time in hours",
    # Long absences vary more. Measured on UCI: 15.5 h wide instead of 20.3 h, at the same coverage of 90 %.
    task=Regression(unit="hours", low=0, high=YEAR_HOURS, steady=1),
    sample=sample,
    api=Api(
        answer=answer,
        response=AbsenteeismAnswer,
        batch=batch,
        batch_response=AbsenteeismBatch,
        about=about,
        health=health,
        timestamp=without_zone,
        strict_401=True,
    ),
    features=(month_code, weekday_code, season_code),
    occasion=frozenset({"month", "weekday", "season", "workload", "hit_target"}),
    # One worker is absent more than once: rows repeat their subject, and that is no mistake.
    cleaning=Cleaning(unique_key=False),
    slices=("weekday", "season"),
    gates=Gates(approval="person"),  # C25
    horizon_days=31,
    advice=(
        Advice(field="workload", says="Look at the work load of these days."),
        Advice(field="distance", says="Offer work from home or a nearer site, where the work allows it."),
        Advice(field="transport", says="Look at how this person gets to work."),
    ),
    calm="No more cover than usual is needed.",
    alarm="Plan cover for the hours of the interval.",
    examples=(
        Example(
            name="Ahead of time (C41)",
            row={name: value for name, value in SAMPLE_ROW.items() if name not in NOT_AHEAD},
        ),
    ),
)

USE_CASE = replace(
    FORECAST,
    name="absenteeism",
    title="How many hours a reported absence will last",
    row=Absence,
    features=(reason_code, is_visit, *FORECAST.features),
    sensitive=HEALTH | {"reason", "disciplinary"},
    occasion=FORECAST.occasion | {"reason", "disciplinary"},
    # Consultations (23) are over in hours; the musculoskeletal system (13) takes days.
    expects=(Expectation(field="reason", low=23, high=13),),
    otherwise=FORECAST,
    hinge="reason",
    examples=(
        Example(name="Shift planner (S3-04b)", row=SAMPLE_ROW),
        Example(name="Without the reason, answered by the forecast (C41)", row=FORECAST.examples[0].row),
    ),
)
