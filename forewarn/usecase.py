"""The vocabulary in which a use case declares itself, checked when it is built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from numpy.typing import NDArray

from forewarn.answers import Api, Example
from forewarn.fields import FieldSpec, Row, RowModel
from forewarn.policy import Canary, Expectation, Fairness, Gates, Retention, Watching
from forewarn.tasks import Task

Columns = Mapping[str, NDArray[Any]]
Feature = Callable[[Columns], NDArray[Any]]


def bounded(low: float, high: float) -> Callable[[Feature], Feature]:
    """Promise that a feature stays within [low, high], whatever valid row it is given (S2-26)."""

    def promise(function: Feature) -> Feature:
        function.bounds = (low, high)  # type: ignore[attr-defined]
        return function

    return promise


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """How columns are mended, and what the quality gate lets through (S2-15 to S2-20).

    Attributes:
        numbers: what stands in for a missing number; the commonest level stands in for a missing category.
        outliers: where numbers are capped: 1.5 interquartile ranges beyond the quartiles, 3 standard deviations
            from the mean, or the 1st and 99th percentile.
        drop_above: share of missing values above which an optional column is left out.
        max_missing: share of missing values in a column that the gate lets through.
        unique_key: whether a subject may be there once only.
    """

    numbers: Literal["median", "mean"] = "median"
    outliers: Literal["none", "iqr", "zscore", "percentile"] = "none"
    drop_above: float = 0.5
    max_missing: float = 0.05
    unique_key: bool = True


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What people may do when this field is what speaks most for the event."""

    field: str
    says: str


@dataclass(frozen=True, kw_only=True, eq=False)
class UseCase:
    """One use case, whole. A new one is one new file that builds one of these.

    Attributes:
        name: as it stands in URLs, folders and the registry.
        title: one sentence for people.
        row: the schema of a row; its fields' first aliases are the names in answers, all of them columns of a source.
        target: the label's column in labelled files.
        task: what is asked of the model, and how its scores become decisions.
        sample: `sample(n, seed=..., drift=...)`: n labelled rows, made up but realistic.
        api: what the use case's own document prescribes over HTTP.
        key: the field that names the subject; never a feature, never stored raw. Empty if rows have no subject.
        features: functions that derive a column from the row's columns. A name is a promise to old models:
            a changed meaning takes a new name.
        stand_ins: field -> function that estimates it from the others where it was not sent; else the column's
            median or commonest level stands in.
        unused: fields that are accepted but teach nothing (constants).
        protected: fields that the model never receives; kept for fairness checks.
        sensitive: fields about health or private life; the model may use them, no sentence or log repeats them.
        advice: what to do about a field that raises the score, in the order of preference among equals.
        calm, alarm: the recommendation where there is nothing to do, and where no advice fits.
        recommends: whether every answer carries a recommendation, and not only an explained one.
        occasion: fields about the occasion and not the subject, which the feature store therefore does not keep.
        otherwise, hinge: the profile that answers where the field `hinge` was not sent.
        refresh_hours: how often the feature store is to be refreshed; twice that is stale.
        when: the field that says when a row was seen; validation then trains on what came before. Empty: no time.
        slices: fields by whose groups quality is reported; protected ones are reported by `fairness` anyway.
        edges: number field -> where its bands begin, for slices and fairness; else its tertiles.
        expects: directional tests.
        gates, fairness: what a version must pass.
        retention: what is kept of predictions, and for how long.
        canary: how a new version earns its traffic; watching: when one that serves is to be replaced.
        horizon_days: an outcome belongs to the predictions of so many days before it; one that is older, and of whose
            subject nothing was heard, is mature: it did not come true.
    """

    name: str
    title: str
    row: type[RowModel]
    target: str
    task: Task
    sample: Callable[..., list[dict[str, Any]]]
    api: Api = field(default_factory=Api)
    key: str = ""
    features: tuple[Feature, ...] = ()
    stand_ins: Mapping[str, Feature] = field(default_factory=dict)
    unused: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()
    sensitive: frozenset[str] = frozenset()
    cleaning: Cleaning = Cleaning()
    advice: tuple[Advice, ...] = ()
    calm: str = "Nothing to do now."
    alarm: str = "Look at this case; a person decides what to do."
    recommends: bool = False
    occasion: frozenset[str] = frozenset()
    otherwise: "UseCase | None" = None
    hinge: str = ""
    refresh_hours: float = 24.0
    when: str = ""
    slices: tuple[str, ...] = ()
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    expects: tuple[Expectation, ...] = ()
    gates: Gates = field(default_factory=Gates)
    fairness: Fairness = field(default_factory=Fairness)
    retention: Retention = field(default_factory=Retention)
    canary: Canary = field(default_factory=Canary)
    watching: Watching = field(default_factory=Watching)
    horizon_days: float = 90.0
    examples: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        named = {self.key, self.hinge, self.when} - {""} | self.unused | self.protected | self.sensitive | self.occasion
        named |= self.stand_ins.keys() | {advice.field for advice in self.advice}
        named |= {*self.slices, *self.edges, *(expected.field for expected in self.expects)}
        if unknown := named - self.row.model_fields.keys():
            raise ValueError(f"{self.name}: {sorted(unknown)} are not fields of {self.row.__name__}")
        if not self.examples:
            raise ValueError(f"{self.name}: give at least one example; the API documentation and the proofs need it")
        if endless := [spec.name for spec in self.inputs if spec.kind == "number" and None in (spec.low, spec.high)]:
            raise ValueError(f"{self.name}: {endless} need a lower and an upper limit, so that no input can overflow")
        if any(self.target in spec.aliases for spec in self.fields):
            raise ValueError(f"{self.name}: the target {self.target} must not be a field of the row")

    @cached_property
    def fields(self) -> tuple[FieldSpec, ...]:
        """Every field of the row, in the schema's order."""
        return tuple(FieldSpec.of(name, info) for name, info in self.row.model_fields.items())

    @cached_property
    def spec(self) -> dict[str, FieldSpec]:
        """Every field by its Python name."""
        return {spec.name: spec for spec in self.fields}

    @cached_property
    def inputs(self) -> tuple[FieldSpec, ...]:
        """The fields that a model may learn from."""
        left_out = {self.key} | self.unused | self.protected
        return tuple(spec for spec in self.fields if spec.name not in left_out and spec.kind != "text")

    @cached_property
    def by_alias(self) -> dict[str, FieldSpec]:
        """Every field by every name it is accepted under."""
        return {alias: spec for spec in self.fields for alias in (*spec.aliases, spec.name)}

    @property
    def profiles(self) -> tuple["UseCase", ...]:
        """This one, and those that answer in its place where the hinge was not sent."""
        return (self, *(self.otherwise.profiles if self.otherwise else ()))

    def holds(self, raw: Row, field: str) -> bool:
        """Whether a raw row was sent with a value for this field, under whatever name."""
        return any(raw.get(name) is not None for name in (*self.spec[field].aliases, field))

    @property
    def untold(self) -> frozenset[str]:
        """Fields whose values no sentence repeats."""
        return self.protected | self.sensitive | {self.key}

    def anonymous(self, row: Row) -> dict[str, Any]:
        """The row without its subject."""
        return {**row, self.key: None} if self.key else dict(row)
