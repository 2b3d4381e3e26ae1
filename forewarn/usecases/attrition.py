"""Which employees may leave. The row is the 35-column IBM HR layout; its column names are the field names."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forewarn.answers import Api, EventAnswer, Example, Told, passes_on
from forewarn.fields import RowModel, YesNo
from forewarn.policy import Expectation, Gates
from forewarn.sampling import Columns, chances, pick, rows_of, shift, standard, whole
from forewarn.tasks import Classification
from forewarn.usecase import Advice, UseCase

Count = Annotated[int, Field(ge=0, le=80)]
Grade = Annotated[int, Field(ge=1, le=4)]
Rate = Annotated[float, Field(ge=0, le=1_000_000)]


class Employee(RowModel):
    """One employee as HR sees them today. What is not sent is imputed and named in the answer."""

    MonthlyIncome: Annotated[float, Field(gt=0, le=1_000_000, description="gross, per month")]
    OverTime: Annotated[YesNo, Field(description="works overtime")]
    EmployeeNumber: Annotated[str, Field(coerce_numbers_to_str=True, max_length=64)] | None = None
    Age: Annotated[int | None, Field(ge=16, le=100, description="years")] = None
    BusinessTravel: Literal["Non-Travel", "Travel_Rarely", "Travel_Frequently"] | None = None
    DailyRate: Rate | None = None
    Department: Literal["Human Resources", "Research & Development", "Sales"] | None = None
    DistanceFromHome: Annotated[float | None, Field(ge=0, le=1000)] = None
    Education: Annotated[int | None, Field(ge=1, le=5)] = None
    EducationField: (
        Literal["Human Resources", "Life Sciences", "Marketing", "Medical", "Other", "Technical Degree"] | None
    ) = None
    EmployeeCount: Count | None = None
    EnvironmentSatisfaction: Grade | None = None
    Gender: Annotated[str | None, Field(max_length=32)] = None
    HourlyRate: Rate | None = None
    JobInvolvement: Grade | None = None
    JobLevel: Annotated[int | None, Field(ge=1, le=5)] = None
    JobRole: (
        Literal[
            "Healthcare Representative",
            "Human Resources",
            "Laboratory Technician",
            "Manager",
            "Manufacturing Director",
            "Research Director",
            "Research Scientist",
            "Sales Executive",
            "Sales Representative",
        ]
        | None
    ) = None
    JobSatisfaction: Grade | None = None
    MaritalStatus: Annotated[str | None, Field(max_length=32)] = None
    MonthlyRate: Rate | None = None
    NumCompaniesWorked: Count | None = None
    Over18: Annotated[str | None, Field(max_length=8)] = None
    PercentSalaryHike: Annotated[float | None, Field(ge=-100, le=1000, description="last raise, %")] = None
    PerformanceRating: Grade | None = None
    RelationshipSatisfaction: Grade | None = None
    StandardHours: Annotated[int | None, Field(ge=0, le=400)] = None
    StockOptionLevel: Annotated[int | None, Field(ge=0, le=3)] = None
    TotalWorkingYears: Count | None = None
    TrainingTimesLastYear: Annotated[int | None, Field(ge=0, le=50)] = None
    WorkLifeBalance: Grade | None = None
    YearsAtCompany: Count | None = None
    YearsInCurrentRole: Count | None = None
    YearsSinceLastPromotion: Count | None = None
    YearsWithCurrManager: Count | None = None


class AttritionAnswer(EventAnswer):
    """S0-16."""

    prediction: Literal["Attrition", "No Attrition"]
    confidence_score: Annotated[
        float, Field(description="Probability of the prediction. Below 0.5 where the threshold for Attrition is.")
    ]


@passes_on
def answer(told: Told) -> dict[str, Any]:
    """The document's own words: the verdict, and how sure the model is of it."""
    return {"prediction": told.decision.verdict, "confidence_score": told.decision.confidence}


SURVEY = ("EnvironmentSatisfaction", "JobSatisfaction", "RelationshipSatisfaction", "WorkLifeBalance", "JobInvolvement")
Fields = Mapping[str, NDArray[np.float64]]


def log_income(rows: Fields) -> NDArray[Any]:
    """Natural logarithm of the monthly income: a raise counts by its share, not by its amount."""
    return np.log(rows["MonthlyIncome"])


def income_per_level(rows: Fields) -> NDArray[Any]:
    """Monthly income against the job level: who is paid below their grade."""
    return rows["MonthlyIncome"] / rows["JobLevel"]


def years_per_company(rows: Fields) -> NDArray[Any]:
    """How long this person has stayed with an employer so far, in years."""
    return rows["TotalWorkingYears"] / (rows["NumCompaniesWorked"] + 1)


def tenure_share(rows: Fields) -> NDArray[Any]:
    """Share of the working life spent here, 0 to 1."""
    return rows["YearsAtCompany"] / (rows["TotalWorkingYears"] + 1)


def promotion_wait(rows: Fields) -> NDArray[Any]:
    """Share of the time here since the last promotion, 0 to 1."""
    return rows["YearsSinceLastPromotion"] / (rows["YearsAtCompany"] + 1)


def contentment(rows: Fields) -> NDArray[Any]:
    """Mean of the four survey answers and of involvement, 1 to 4."""
    return sum(rows[name] for name in SURVEY) / len(SURVEY)  # type: ignore[return-value]


def new_here(rows: Fields) -> NDArray[Any]:
    """In the first year here: most who leave do so early, and a straight line over the years cannot say it."""
    return np.asarray(rows["YearsAtCompany"] <= 1, dtype=np.float64)


def entry_level(rows: Fields) -> NDArray[Any]:
    """On the lowest grade."""
    return np.asarray(rows["JobLevel"] == 1, dtype=np.float64)


def no_stake(rows: Fields) -> NDArray[Any]:
    """Without stock options."""
    return np.asarray(rows["StockOptionLevel"] == 0, dtype=np.float64)


def hops_often(rows: Fields) -> NDArray[Any]:
    """Five employers or more before this one."""
    return np.asarray(rows["NumCompaniesWorked"] >= 5, dtype=np.float64)


def untrained(rows: Fields) -> NDArray[Any]:
    """No training last year."""
    return np.asarray(rows["TrainingTimesLastYear"] == 0, dtype=np.float64)


def new_manager(rows: Fields) -> NDArray[Any]:
    """Less than a year under the present manager."""
    return np.asarray(rows["YearsWithCurrManager"] == 0, dtype=np.float64)


def grievances(rows: Fields) -> NDArray[Any]:
    """How many of the five survey answers are the lowest there is, 0 to 5."""
    return np.asarray(np.sum([rows[name] == 1 for name in SURVEY], axis=0), dtype=np.float64)


ROLES: dict[str, dict[str, float]] = {
    "Sales": {"Sales Executive": 7, "Sales Representative": 2, "Manager": 1},
    "Human Resources": {"Human Resources": 5, "Manager": 1},
    "Research & Development": {
        "Research Scientist": 6,
        "Laboratory Technician": 5,
        "Manufacturing Director": 3,
        "Healthcare Representative": 3,
        "Research Director": 1.5,
        "Manager": 1,
    },
}
STUDIES: dict[str, float] = {
    "Life Sciences": 41,
    "Medical": 32,
    "Marketing": 11,
    "Technical Degree": 9,
    "Other": 5,
    "Human Resources": 2,
}
LEAVING_RATE = 0.16


def sample(n: int, seed: int = 0, drift: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """n made-up employees with their label. `drift` moves fields: see `forewarn.sampling.shift`."""
    random = np.random.default_rng(seed)
    columns = _career(n, random) | _work(n, random) | _survey(n, random)
    columns["EmployeeNumber"] = np.array([f"E{seed}-{i}" for i in range(n)])
    _pay(columns, random)
    shift(columns, drift or {}, random)
    left = random.random(n) < chances(_pull(columns, random), LEAVING_RATE)
    columns["Attrition"] = np.where(left, "Yes", "No")
    return rows_of(columns)


def _career(n: int, random: np.random.Generator) -> Columns:
    age = whole(random.normal(37, 9, n), 18, 60)
    worked = whole((age - 18) * random.beta(5, 2, n), 0, 42)
    here = whole(worked * random.beta(1.4, 1.2, n), 0, worked.max())
    return {
        "Age": age,
        "Gender": pick(random, {"Male": 6, "Female": 4}, n),
        "MaritalStatus": pick(random, {"Married": 46, "Single": 32, "Divorced": 22}, n),
        "Education": whole(random.normal(2.9, 1.0, n), 1, 5),
        "EducationField": pick(random, STUDIES, n),
        "TotalWorkingYears": worked,
        "YearsAtCompany": here,
        "YearsInCurrentRole": whole(here * random.beta(2, 2, n), 0, 40),
        "YearsSinceLastPromotion": whole(here * random.beta(1, 3, n), 0, 40),
        "YearsWithCurrManager": whole(here * random.beta(2, 2, n), 0, 40),
        "NumCompaniesWorked": whole(random.poisson(0.8 + (worked - here) / 6), 0, 9),
    }


def _work(n: int, random: np.random.Generator) -> Columns:
    department = pick(random, {"Research & Development": 65, "Sales": 31, "Human Resources": 4}, n)
    role = np.empty(n, dtype=object)
    for name, roles in ROLES.items():
        here = department == name
        role[here] = pick(random, roles, int(here.sum()))
    return {
        "Department": department,
        "JobRole": role.astype(str),
        "BusinessTravel": pick(random, {"Travel_Rarely": 71, "Travel_Frequently": 19, "Non-Travel": 10}, n),
        "OverTime": pick(random, {"No": 72, "Yes": 28}, n),
        "DistanceFromHome": whole(random.gamma(1.3, 7, n) + 1, 1, 29),
        "TrainingTimesLastYear": whole(random.normal(2.8, 1.3, n), 0, 6),
        "EmployeeCount": np.ones(n, dtype=np.int64),
        "StandardHours": np.full(n, 80, dtype=np.int64),
        "Over18": np.full(n, "Y"),
    }


def _survey(n: int, random: np.random.Generator) -> Columns:
    mood = random.normal(0, 1, n)  # the answers of one person hang together
    return {name: whole(2.75 + 0.35 * mood + random.normal(0, 0.95, n), 1, 4) for name in SURVEY}


def _pay(columns: Columns, random: np.random.Generator) -> None:
    n = len(columns["Age"])
    chief = np.isin(columns["JobRole"], ["Manager", "Research Director"])
    junior = np.isin(columns["JobRole"], ["Sales Representative", "Laboratory Technician", "Research Scientist"])
    level = whole(1.2 + columns["TotalWorkingYears"] / 9 + 1.6 * chief - 0.6 * junior + random.normal(0, 0.5, n), 1, 5)
    columns["JobLevel"] = level
    columns["MonthlyIncome"] = whole(1400 + 3000 * level**1.12 * random.lognormal(0, 0.18, n), 1000, 25000)
    columns["StockOptionLevel"] = whole(random.exponential(0.8, n), 0, 3)
    columns["PercentSalaryHike"] = whole(random.gamma(2.5, 2, n) + 10, 11, 25)
    columns["PerformanceRating"] = np.where(columns["PercentSalaryHike"] >= 20, 4, 3)
    columns["DailyRate"] = random.integers(100, 1500, n)
    columns["HourlyRate"] = random.integers(30, 101, n)
    columns["MonthlyRate"] = random.integers(2000, 27000, n)


def _pull(columns: Columns, random: np.random.Generator) -> NDArray[np.float64]:
    """Log-odds of leaving, up to a constant."""
    overtime = columns["OverTime"] == "Yes"
    frequent = columns["BusinessTravel"] == "Travel_Frequently"
    underpaid = -standard(np.log(columns["MonthlyIncome"].clip(1)) - 0.35 * columns["JobLevel"])
    return np.asarray(
        1.5 * overtime
        + 0.7 * frequent
        + 0.9 * overtime * (columns["JobLevel"] == 1)
        + 0.55 * underpaid
        - 0.5 * standard(columns["JobLevel"])
        - 0.45 * standard(columns["YearsAtCompany"])
        - 0.35 * (columns["StockOptionLevel"] > 0)
        + 0.3 * standard(columns["DistanceFromHome"])
        + 0.35 * standard(columns["NumCompaniesWorked"])
        + 0.3 * standard(columns["YearsSinceLastPromotion"])
        - 0.35 * standard(columns["JobSatisfaction"])
        - 0.3 * standard(columns["EnvironmentSatisfaction"])
        - 0.3 * standard(columns["JobInvolvement"])
        - 0.2 * standard(columns["WorkLifeBalance"])
        + 0.3 * (columns["MaritalStatus"] == "Single")
        + random.normal(0, 0.6, len(overtime)),
        dtype=np.float64,
    )


USE_CASE = UseCase(
    name="attrition",
    title="Which employees may leave",
    row=Employee,
    key="EmployeeNumber",
    target="Attrition",
    task=Classification(event="Yes", verdicts=("No Attrition", "Attrition")),
    # The seven thresholds take logistic regression from 0.828 to 0.856 ROC-AUC on the IBM file (docs/decisions/0009).
    features=(
        log_income,
        income_per_level,
        years_per_company,
        tenure_share,
        promotion_wait,
        contentment,
        new_here,
        entry_level,
        no_stake,
        hops_often,
        untrained,
        new_manager,
        grievances,
    ),
    unused=frozenset({"EmployeeCount", "Over18", "StandardHours"}),
    protected=frozenset({"Age", "Gender", "MaritalStatus"}),
    sample=sample,
    slices=("Department", "JobLevel", "OverTime", "YearsAtCompany"),
    edges={"Age": (30, 40, 50), "JobLevel": (2, 3, 4), "YearsAtCompany": (2, 5, 10)},
    expects=(
        Expectation(field="OverTime", low="No", high="Yes"),
        Expectation(field="JobSatisfaction", low=4, high=1),
        Expectation(field="BusinessTravel", low="Non-Travel", high="Travel_Frequently"),
    ),
    # The risk of a person: somebody looks before a new version speaks (C25).
    gates=Gates(floors={"roc_auc": 0.7}, approval="person"),
    horizon_days=180,
    api=Api(answer=answer, response=AttritionAnswer),
    advice=(
        Advice(field="OverTime", says="Talk about workload: overtime speaks most for leaving."),
        Advice(field="MonthlyIncome", says="Compare the pay with the grade and the market."),
        Advice(field="StockOptionLevel", says="Look at the long-term part of the pay."),
        Advice(field="YearsSinceLastPromotion", says="Talk about the next step: the last promotion is long ago."),
        Advice(field="BusinessTravel", says="Look at how much travel the work really needs."),
        Advice(field="DistanceFromHome", says="Talk about remote days: the way to work is long."),
        Advice(field="JobSatisfaction", says="Ask what would make the work better."),
        Advice(field="EnvironmentSatisfaction", says="Ask what is wrong with the surroundings."),
        Advice(field="WorkLifeBalance", says="Look at working hours and planning together."),
    ),
    alarm="Have a conversation about what would make this person stay.",
    examples=(
        Example(name="HR portal (S0-15)", row={"MonthlyIncome": 5500, "JobLevel": 2, "OverTime": 1, "Age": 34}),
        Example(
            name="Manager dashboard (S1-19)",
            row={
                "Age": 35,
                "JobRole": "Sales Executive",
                "MonthlyIncome": 5500,
                "YearsAtCompany": 5,
                "OverTime": "Yes",
            },
        ),
    ),
)
