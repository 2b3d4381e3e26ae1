"""The vocabulary in which a use case declares itself, checked when it is built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.fields import FieldInfo

from forewarn.errors import BadInput

Row = Mapping[str, Any]
Vector = NDArray[np.float64]
Feature = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]

TRUE = frozenset({1, "1", "yes", "true", "y"})  # True == 1
FALSE = frozenset({0, "0", "no", "false", "n"})


def yes_or_no(value: Any) -> Any:
    """Fold 1/0, true/false and any spelling of yes/no onto "Yes" and "No"; leave the rest to be refused."""
    folded = value.strip().lower() if isinstance(value, str) else value
    try:
        return "Yes" if folded in TRUE else "No" if folded in FALSE else value
    except TypeError:  # a list or an object cannot be looked up
        return value


YesNo = Annotated[
    Literal["Yes", "No"],
    BeforeValidator(yes_or_no, json_schema_input_type=Literal["Yes", "No"] | bool | Literal[0, 1]),
]


class RowModel(BaseModel):
    """A use case's row. Further fields are let through, and named in the answer as ignored."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """One field of the row, read off the schema: what it holds and what it may hold."""

    name: str
    kind: Literal["number", "category", "text"]
    required: bool
    levels: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, name: str, info: FieldInfo) -> "FieldSpec":
        """Read the spec off a pydantic field."""
        core, limits = _unwrap(info.annotation, list(info.metadata))
        bounds = _bounds(limits)
        return cls(
            name=name,
            kind=_kind(core),
            required=info.is_required(),
            levels=tuple(get_args(core)) if get_origin(core) is Literal else (),
            low=bounds.get("ge", bounds.get("gt")),
            high=bounds.get("le", bounds.get("lt")),
        )


def _unwrap(annotation: Any, limits: list[Any]) -> tuple[Any, list[Any]]:
    """The type inside Optional and Annotated, and every constraint met on the way to it."""
    if get_origin(annotation) is Annotated:
        inner, *notes = get_args(annotation)
        return _unwrap(inner, limits + [m for note in notes for m in getattr(note, "metadata", [note])])
    if get_origin(annotation) in (Union, UnionType):
        return _unwrap(next(part for part in get_args(annotation) if part is not NoneType), limits)
    return annotation, limits


def _bounds(limits: list[Any]) -> dict[str, float]:
    words = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt"}
    return {words[type(item)]: getattr(item, words[type(item)]) for item in limits if type(item) in words}


def _kind(core: Any) -> Literal["number", "category", "text"]:
    if get_origin(core) is Literal:
        return "category"
    if core in (int, float):
        return "number"
    if core is str:
        return "text"
    raise TypeError(f"{core}: a field is an int, a float, a str or a Literal of strings")


@dataclass(frozen=True, kw_only=True)
class Band:
    """A risk level and where it begins.

    `at_least` is on the scale on which the decision threshold lies at 0.5, so the bands move with the
    threshold and a person above it is never called "low": see `UseCase.risk_level`.
    """

    at_least: float
    level: str


LOW_MEDIUM_HIGH = (
    Band(at_least=0.0, level="low"),
    Band(at_least=0.3, level="medium"),
    Band(at_least=0.7, level="high"),
)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What Forewarn says about one row. A recommendation to people, never an act."""

    probability: float
    event: bool
    verdict: str
    confidence: float
    risk_level: str
    version: str


class Answer(BaseModel):
    """What every answer says, whatever the use case; each adds the words of its own document.

    Attributes:
        features_imputed: the model's fields that were not sent and got a stand-in learned in training.
        fields_ignored: what was sent under names that the schema does not know.
        decision_support: always true: people decide (C44).
    """

    model_version: str
    probability: float
    risk_level: str
    prediction_id: str
    request_id: str
    features_imputed: list[str]
    fields_ignored: list[str]
    served_from: Literal["champion"]
    decision_support: Literal[True]
    timestamp: str
    latency_ms: float


@dataclass(frozen=True, kw_only=True)
class Example:
    """A request that the API documentation shows and the contract tests send."""

    name: str
    row: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class UseCase:
    """One use case, whole. A new one is one new file that builds one of these.

    Attributes:
        name: as it stands in URLs, folders and the registry.
        title: one sentence for people.
        row: the schema of a row; its field names are the columns of the source.
        key: the field that names the subject; never a feature, never stored raw.
        target: the label's column in labelled files.
        event: the label's value that Forewarn warns of.
        verdicts: the answer's words for (no event, event).
        features: functions that derive a column from the row's columns. A name is a promise to old models:
            a changed meaning takes a new name.
        unused: fields that are accepted but teach nothing (constants).
        protected: fields that the model never receives; kept for fairness checks.
        sample: `sample(n, seed=..., drift=...)`: n labelled rows, made up but realistic.
        response: schema of the answer, for the API documentation.
        answer: the fields that the use case's own document gives an answer, from a decision.
    """

    name: str
    title: str
    row: type[RowModel]
    key: str
    target: str
    event: str
    verdicts: tuple[str, str]
    sample: Callable[..., list[dict[str, Any]]]
    response: type[Answer]
    answer: Callable[[Decision], dict[str, Any]]
    features: tuple[Feature, ...] = ()
    unused: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()
    algorithms: tuple[str, ...] = ("xgboost", "logistic")
    bands: tuple[Band, ...] = LOW_MEDIUM_HIGH
    examples: tuple[Example, ...] = field(default=())

    def __post_init__(self) -> None:
        unknown = ({self.key} | self.unused | self.protected) - self.row.model_fields.keys()
        if unknown:
            raise ValueError(f"{self.name}: {sorted(unknown)} are not fields of {self.row.__name__}")
        if self.target in self.row.model_fields:
            raise ValueError(f"{self.name}: the target {self.target} must not be a field of the row")
        if [band.at_least for band in self.bands] != sorted(band.at_least for band in self.bands):
            raise ValueError(f"{self.name}: bands must rise")

    @cached_property
    def fields(self) -> tuple[FieldSpec, ...]:
        """Every field of the row, in the schema's order."""
        return tuple(FieldSpec.of(name, info) for name, info in self.row.model_fields.items())

    @cached_property
    def inputs(self) -> tuple[FieldSpec, ...]:
        """The fields that a model may learn from."""
        left_out = {self.key} | self.unused | self.protected
        return tuple(spec for spec in self.fields if spec.name not in left_out and spec.kind != "text")

    def labels(self, raw: list[Any]) -> Vector:
        """1.0 where the event came true, 0.0 where not. Shape (n,).

        Raises:
            BadInput: a label that is neither the event nor its one opposite.
        """
        words = [str(value).strip() for value in raw]
        others = set(words) - {self.event}
        if len(others) > 1:
            raise BadInput(
                f"{self.name}: {self.target} holds {sorted(others)[:5]} beside {self.event!r}; "
                "mend the labels so that there is one other value"
            )
        return np.array([word == self.event for word in words], dtype=np.float64)

    def risk_level(self, probability: float, threshold: float) -> str:
        """The band of a probability, the threshold mapped piecewise linearly to 0.5 (C21)."""
        if probability < threshold:
            place = 0.5 * probability / threshold
        else:
            place = 0.5 + 0.5 * (probability - threshold) / max(1.0 - threshold, 1e-12)
        return next(band.level for band in reversed(self.bands) if place >= band.at_least)
