"""How one estimator is made: its algorithm, its hyperparameters, and what is done about rare events."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from forewarn.errors import BadInput
from forewarn.estimators import FITTERS, Estimator
from forewarn.features import Matrix
from forewarn.tasks import Classification, Task, Vector
from forewarn.trees import OBJECTIVES, settled

Balance = Literal["none", "scale_pos_weight", "smote"]
BALANCES: tuple[Balance, ...] = get_args(Balance)
NEIGHBOURS = 5


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a trial tries, and what the champion is compared by.

    Attributes:
        balance: `scale_pos_weight` counts each event as often as there are others for one; `smote` makes events up
            between neighbouring ones until both are equally many (S2-29). Both only see training rows.
    """

    algorithm: str
    params: dict[str, float]
    balance: Balance = "none"

    def fit(self, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int) -> Estimator:
        """Fit on rows of shape (n, columns) with labels of shape (n,)."""
        matrix, labels, params = self.balanced(matrix, labels, levels, seed=seed)
        return FITTERS[self.algorithm](matrix, labels, levels, seed=seed, **params)

    def balanced(
        self, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int
    ) -> tuple[Matrix, Vector, dict[str, float]]:
        """What the fit is given: rows, labels and parameters after balancing.

        When to stop boosting is settled before, on real rows: made-up ones lie between those that are learned from.
        """
        params = self.weighted(labels)
        if self.algorithm in OBJECTIVES:
            params = settled(OBJECTIVES[self.algorithm], matrix, labels, levels, seed=seed, **params)
        return *self.evened(matrix, labels, levels, seed=seed), params

    def weighted(self, labels: Vector) -> dict[str, float]:
        """The parameters, and what an event counts among these labels."""
        if self.balance != "scale_pos_weight":
            return dict(self.params)
        return {**self.params, "scale_pos_weight": float((len(labels) - labels.sum()) / labels.sum())}

    def evened(self, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int) -> tuple[Matrix, Vector]:
        """The rows and labels, and the events that SMOTE makes up."""
        return oversampled(matrix, labels, levels, seed=seed) if self.balance == "smote" else (matrix, labels)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def oversampled(matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int) -> tuple[Matrix, Vector]:
    """SMOTE with five neighbours to 50/50 (Chawla et al. 2002); SMOTE-NC where there are categories."""
    from imblearn.over_sampling import SMOTE, SMOTENC  # 1 s to import

    codes = [place for place, count in enumerate(levels) if count]
    rarer = int(min(labels.sum(), len(labels) - labels.sum()))
    neighbours = min(NEIGHBOURS, rarer - 1)
    maker = SMOTENC(codes, k_neighbors=neighbours, random_state=seed) if codes else SMOTE(
        k_neighbors=neighbours, random_state=seed
    )  # fmt: skip
    wide, events = maker.fit_resample(matrix, labels.astype(np.int64))
    return np.asarray(wide, dtype=np.float32), np.asarray(events, dtype=np.float64)


def check(task: Task, balances: Sequence[str]) -> tuple[Balance, ...]:
    """The ways to balance that this task can be searched over.

    Raises:
        BadInput: an unknown way; amounts have no rare label.
    """
    if unknown := [way for way in balances if way not in BALANCES]:
        raise BadInput(f"--balance {unknown[0]}: there is {', '.join(BALANCES)}")
    for_events = [way for way in balances if way != "none"]
    if for_events and not isinstance(task, Classification):
        raise BadInput(f"--balance {for_events[0]} is for events; amounts have no rare label, leave it out")
    return tuple(way for way in BALANCES if way in balances)
