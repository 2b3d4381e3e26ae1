import dataclasses
import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from forewarn import tables
from forewarn.answers import Batch, Told
from forewarn.features import Features
from forewarn.fields import FieldSpec
from forewarn.tasks import Verdict
from forewarn.usecase import Cleaning
from forewarn.usecases import churn
from forewarn.usecases.churn import USE_CASE, Customer

TENURE = ["is_new_customer", "loyalty_level", "tenure_months_binned", "tenure_years", "days_since_signup"]
FINANCIAL = [
    "customer_lifetime_value",
    "monthly_to_total_ratio",
    "price_per_service",
    "avg_monthly_spend",
    "payment_method_risk_score",
    "has_autopay",
    "late_payment_count",
    "billing_issues_count",
]
SERVICE = [
    "total_services_count",
    "internet_service_type_encoded",
    "has_premium_services",
    "service_adoption_rate",
    "data_usage_level",
    "phone_usage_level",
    "streaming_services_count",
]
BEHAVIOUR = [
    "support_calls_per_month",
    "contract_type_risk",
    "contract_length_months",
    "has_device_protection",
    "engagement_score",
]
ALL_25 = {*TENURE, *FINANCIAL, *SERVICE, *BEHAVIOUR}
NOT_IN_TELCO = {
    "late_payment_count",
    "billing_issues_count",
    "data_usage_level",
    "phone_usage_level",
    "support_calls_per_month",
}

# Three customers: new on DSL with few services; three years with everything; six years with a telephone only.
THREE = {
    "tenure_months": [2, 36, 72],
    "monthly_charges": [30.0, 115.0, 20.0],
    "total_charges": [15.0, 4140.0, 1400.0],
    "support_calls": [3, 9, 0],
    "internet_service": ["DSL", "Fiber", "None"],
    "contract": ["Month-to-month", "One year", "Two year"],
    "payment_method": ["Electronic check", "Credit card (automatic)", "Mailed check"],
    "phone_service": ["No", "Yes", "Yes"],
    "multiple_lines": ["No", "Yes", "No"],
    "online_security": ["No", "Yes", "No"],
    "online_backup": ["Yes", "Yes", "No"],
    "device_protection": ["No", "Yes", "No"],
    "tech_support": ["No", "Yes", "No"],
    "streaming_tv": ["No", "Yes", "No"],
    "streaming_movies": ["No", "Yes", "No"],
    "late_payment_count": [0, 2, 5],
    "billing_issues_count": [1, 0, 3],
    "data_usage_gb": [9.9, 500.0, 0.0],
    "phone_minutes": [0.0, 299.0, 900.0],
    "logins_per_month": [15.0, 60.0, 0.0],
}
PROMISED = {
    "is_new_customer": [1, 0, 0],
    "loyalty_level": [0, 3, 3],
    "tenure_months_binned": [1, 5, 6],
    "tenure_years": [1 / 6, 3, 6],
    "days_since_signup": [60.875, 1095.75, 2191.5],
    "customer_lifetime_value": [60, 4140, 1440],
    "monthly_to_total_ratio": [1, 1 / 36, 1 / 70],
    "price_per_service": [15, 115 / 9, 20],
    "avg_monthly_spend": [7.5, 115, 1400 / 72],
    "payment_method_risk_score": [1, 0, 0.25],
    "has_autopay": [0, 1, 0],
    "late_payment_count": [0, 2, 5],
    "billing_issues_count": [1, 0, 3],
    "total_services_count": [2, 9, 1],
    "internet_service_type_encoded": [1, 2, 0],
    "has_premium_services": [0, 1, 0],
    "service_adoption_rate": [1 / 7, 1, 0],
    "data_usage_level": [0, 3, 0],
    "phone_usage_level": [0, 1, 3],
    "streaming_services_count": [0, 2, 0],
    "support_calls_per_month": [1.5, 0.25, 0],
    "contract_type_risk": [2, 1, 0],
    "contract_length_months": [1, 12, 24],
    "has_device_protection": [0, 1, 0],
    "engagement_score": [(1 / 7 + 2 / 72 + 0.5) / 3, (1 + 0.5 + 1) / 3, (0 + 1 + 0) / 3],
}
LINES = [("S2-21", TENURE), ("S2-22", FINANCIAL), ("S2-23", SERVICE), ("S2-24", BEHAVIOUR)]
NAMED = [pytest.param(name, marks=pytest.mark.requirement(line)) for line, names in LINES for name in names]
UNCAPPED = dataclasses.replace(USE_CASE, cleaning=Cleaning())  # a cap would hide what the features do at the edges


def validated(raw: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [Customer.model_validate(row).__dict__ for row in raw]


def three() -> list[dict[str, Any]]:
    return validated([dict(zip(THREE, values, strict=True)) for values in zip(*THREE.values(), strict=True)])


def fitted(**lacking: None) -> Features:
    rows = validated(USE_CASE.sample(60, seed=0))
    return Features.fit(UNCAPPED, [{**row, **lacking} for row in rows])


FEATURES = fitted()


@pytest.mark.parametrize("name", NAMED)
def test_a_feature_is_what_its_formula_says(name: str) -> None:
    column = FEATURES.matrix(three())[:, FEATURES.names.index(name)]
    np.testing.assert_allclose(column, PROMISED[name], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "months", "expected"),
    [
        ("is_new_customer", [0, 2, 3], [1, 1, 0]),
        ("loyalty_level", [0, 2, 3, 11, 12, 35, 36, 1200], [0, 0, 1, 1, 2, 2, 3, 3]),
        ("tenure_months_binned", [0, 1, 2, 3, 6, 12, 24, 47, 48, 1200], [0, 1, 1, 2, 3, 4, 5, 5, 6, 6]),
    ],
)
@pytest.mark.requirement("S2-21")
def test_a_step_of_tenure_begins_at_its_cut_off(name: str, months: list[int], expected: list[int]) -> None:
    assert getattr(churn, name)({"tenure_months": np.array(months)}).tolist() == expected


@pytest.mark.parametrize(
    ("name", "field", "amounts"),
    [
        ("data_usage_level", "data_usage_gb", [9, 10, 99, 100, 499, 500]),
        ("phone_usage_level", "phone_minutes", [59, 60, 299, 300, 899, 900]),
    ],
)
@pytest.mark.requirement("S2-23")
def test_a_level_of_use_begins_at_its_cut_off(name: str, field: str, amounts: list[float]) -> None:
    assert getattr(churn, name)({field: np.array(amounts)}).tolist() == [0, 1, 1, 2, 2, 3]


@pytest.mark.requirement("S2-21")
def test_the_document_s_25_features_are_columns_of_the_matrix() -> None:
    assert len(ALL_25) == 25
    assert set(FEATURES.names) >= ALL_25
    assert len(set(FEATURES.names)) == len(FEATURES.names)


def values(spec: FieldSpec) -> st.SearchStrategy[Any]:
    if spec.kind == "number":
        whole = "int" in str(Customer.model_fields[spec.name].annotation)
        low = 5e-324 if spec.name == "monthly_charges" else spec.low
        held = st.integers(int(low), int(spec.high)) if whole else st.floats(low, spec.high)
    else:
        held = st.sampled_from(spec.levels) if spec.levels else st.text(max_size=32)
    return held if spec.required else st.none() | held


VALID = st.fixed_dictionaries({spec.name: values(spec) for spec in USE_CASE.fields})


@given(VALID)
@pytest.mark.requirement("S2-26")
def test_any_valid_row_has_finite_features_within_their_bounds(row: dict[str, Any]) -> None:
    assert np.isfinite(FEATURES.matrix(validated([row]))).all()  # bounds are checked by `matrix` itself


@pytest.mark.requirement("S2-26")
def test_features_keep_their_bounds_at_every_corner_of_what_is_allowed() -> None:
    numbers = ("tenure_months", "monthly_charges", "total_charges", "support_calls", "logins_per_month")
    ends = [
        (max(spec.low, 5e-324 if spec.name == "monthly_charges" else 0), spec.high)
        for spec in map(USE_CASE.spec.get, numbers)
    ]
    corners = itertools.product(*ends, ("DSL", "Fiber", "None"), ("Yes", "No"))
    names = [spec.name for spec in USE_CASE.fields if spec.levels == ("Yes", "No")]
    raw = [
        dict(zip((*numbers, "internet_service"), ends, strict=True))
        | dict.fromkeys(names, flag)
        | {"contract": "One year"}
        for *ends, flag in corners
    ]
    rows = validated(raw)
    assert np.isfinite(FEATURES.matrix(rows)).all()
    assert np.isfinite(Features.fit(USE_CASE, rows).matrix(rows)).all()


@pytest.mark.parametrize("absent", [spec.name for spec in USE_CASE.inputs if not spec.required])
def test_without_one_optional_column_only_what_reads_nothing_else_is_left_out(absent: str) -> None:
    needing = {
        "total_charges": {"monthly_to_total_ratio", "avg_monthly_spend"},
        "support_calls": {"support_calls_per_month"},
        "internet_service": {
            "internet_service_type_encoded",
            "has_premium_services",
            "service_adoption_rate",
            "engagement_score",
        },
        "payment_method": {"payment_method_risk_score", "has_autopay"},
        "device_protection": {"has_device_protection"},
        "data_usage_gb": {"data_usage_level"},
        "phone_minutes": {"phone_usage_level"},
    }
    features = fitted(**{absent: None})
    assert set(FEATURES.derived) - set(features.derived) == needing.get(absent, set())
    assert all(absent not in sources for sources in features.sources)


def test_with_nothing_but_what_is_required_eight_features_are_left() -> None:
    features = fitted(**{spec.name: None for spec in USE_CASE.inputs if not spec.required})
    assert set(features.derived) == {*TENURE, "customer_lifetime_value", "contract_type_risk", "contract_length_months"}


def test_the_model_never_sees_whom_it_might_discriminate_against() -> None:
    read = set(itertools.chain.from_iterable(FEATURES.sources))
    assert USE_CASE.protected == {"age", "gender", "senior_citizen", "partner", "dependents"}
    assert not read & USE_CASE.protected


@pytest.fixture(scope="module")
def telco(public_data: Path) -> list[dict[str, Any]]:
    return tables.rows_of_csv((public_data / "ibm_telco_churn.csv").read_bytes())


def test_telco_is_read_as_it_is(telco: list[dict[str, Any]]) -> None:
    models = [Customer.model_validate(row) for row in telco]
    assert len(models) == 5279
    assert all(model.model_extra == {"Churn": row["Churn"]} for model, row in zip(models, telco, strict=True))
    absent = {"age", "support_calls", "late_payment_count", "billing_issues_count"}
    absent |= {"data_usage_gb", "phone_minutes", "logins_per_month"}
    for spec in USE_CASE.fields:
        held = {getattr(model, spec.name) for model in models}
        assert (held == {None}) == (spec.name in absent), spec.name
        if spec.levels and spec.name != "payment_method":
            assert held == set(spec.levels), spec.name
    assert {model.payment_method for model in models} == set(USE_CASE.spec["payment_method"].levels) - {"Other"}
    assert USE_CASE.task.labels("Churn", [row["Churn"] for row in telco]).mean() == pytest.approx(0.2656, abs=1e-4)


def test_telco_s_blank_total_is_tenure_times_monthly_charge(telco: list[dict[str, Any]]) -> None:
    rows = validated(telco)
    totals = Features.fit(UNCAPPED, rows).cleaner.columns(rows)["total_charges"]
    blank = [place for place, row in enumerate(rows) if row["total_charges"] is None]
    assert len(blank) == 6
    assert [totals[place] for place in blank] == [rows[p]["tenure_months"] * rows[p]["monthly_charges"] for p in blank]
    gap = Features.fit(UNCAPPED, rows).cleaner.columns([{**rows[0], "total_charges": None}])["total_charges"]
    assert gap == pytest.approx([34 * 56.95])


@pytest.mark.parametrize("name", NAMED)
def test_telco_yields_20_of_the_25(name: str, telco: list[dict[str, Any]]) -> None:
    assert (name in Features.fit(USE_CASE, validated(telco[:500])).names) == (name not in NOT_IN_TELCO)


@pytest.mark.requirement("S2-46")
def test_the_document_s_request_is_a_valid_row() -> None:
    sent = dict(USE_CASE.examples[0].row)
    assert set(sent) == set(list(Customer.model_fields)[:9])
    row = Customer.model_validate(sent)
    assert (row.age, row.internet_service, row.payment_method) == (42, "Fiber", "Credit card (automatic)")
    assert row.model_extra == {}


@pytest.mark.requirement("S2-46")
def test_telco_s_names_and_the_document_s_are_one_row() -> None:
    row = Customer.model_validate(USE_CASE.examples[1].row)
    assert row.model_extra == {}
    assert (row.tenure_months, row.senior_citizen, row.multiple_lines, row.internet_service) == (1, "No", "No", "DSL")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("age", 17),
        ("age", 101),
        ("tenure_months", -1),
        ("tenure_months", None),
        ("monthly_charges", 0),
        ("monthly_charges", float("nan")),
        ("total_charges", -0.01),
        ("support_calls", -1),
        ("internet_service", "Cable"),
        ("contract", "Three year"),
        ("payment_method", 5),
    ],
)
@pytest.mark.requirement("S2-46")
def test_what_the_document_forbids_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Customer.model_validate({**USE_CASE.examples[0].row, field: value})


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("Electronic check", "Electronic check"),
        ("e-check", "Electronic check"),
        ("electronic_check", "Electronic check"),
        ("Mailed check", "Mailed check"),
        ("CHEQUE", "Mailed check"),
        ("bank transfer", "Bank transfer (automatic)"),
        ("Direct debit", "Bank transfer (automatic)"),
        ("credit_card", "Credit card (automatic)"),
        ("Credit card (automatic)", "Credit card (automatic)"),
        ("cash in a hat", "Other"),
        ("", "Other"),
    ],
)
@pytest.mark.requirement("S2-46")
def test_any_way_to_pay_folds_onto_a_level(said: str, level: str) -> None:
    assert Customer.model_validate({**USE_CASE.examples[0].row, "payment_method": said}).payment_method == level


@given(st.text())
@pytest.mark.requirement("S2-46")
def test_no_way_to_pay_is_refused(said: str) -> None:
    levels = USE_CASE.spec["payment_method"].levels
    assert TypeAdapter(churn.Payment).validate_python(said) in levels
    assert TypeAdapter(churn.Payment).json_schema() == {"type": "string"}


@pytest.mark.requirement("S2-47")
def test_an_answer_speaks_the_document_s_words() -> None:
    verdict = Verdict(
        probability=0.23, event=False, verdict="Stays", confidence=0.77, risk_level="low", version="churn-1"
    )
    told = Told(decision=verdict, row=three()[0] | {"customer_id": "C1"}, card={}, at=datetime(2026, 1, 1, tzinfo=UTC))
    assert USE_CASE.api.answer(told) == {"customer_id": "C1", "churn_probability": 0.23, "will_churn": False}
    assert USE_CASE.recommends
    document = [
        "customer_id",
        "churn_probability",
        "will_churn",
        "risk_level",
        "recommendation",
        "timestamp",
        "latency_ms",
    ]
    assert set(document) <= {name for name, info in churn.ChurnAnswer.model_fields.items() if info.is_required()}


@pytest.mark.requirement("S2-43")
def test_a_batch_counts_what_was_scored_and_what_is_at_high_risk() -> None:
    answers = [{"risk_level": "high"}, None, {"risk_level": "low"}, {"risk_level": "high"}]
    batch = Batch(answers=answers, duration_ms=12.5, card={}, at=datetime(2026, 1, 1, tzinfo=UTC))
    assert USE_CASE.api.batch(batch) == {"total_processed": 3, "high_risk_count": 2, "processing_time_ms": 12.5}


@pytest.mark.requirement("S2-20")
def test_numbers_are_capped_at_the_1st_and_99th_percentile() -> None:
    rows = validated(USE_CASE.sample(1000, seed=0))
    low, high = np.percentile([row["monthly_charges"] for row in rows], (1, 99))
    capped = Features.fit(USE_CASE, rows).cleaner.columns(rows)["monthly_charges"]
    assert (capped.min(), capped.max()) == (low, high)
