"""What a model is worth: measured on folds that the search has not seen, beside everything it has to beat.

What turns margins into decisions (the blend's share, the calibration, the threshold) is learned too, so each fold is
decided on by what its repeat's other folds taught, and measured by that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ray

from forewarn import calibration, intervals, performance
from forewarn.calibration import NONE, Calibration
from forewarn.errors import ForewarnError
from forewarn.estimators import blended
from forewarn.evidence import Comparison
from forewarn.tasks import Classification, Task, Vector
from training.data import Fold, Places
from training.recipes import Recipe
from training.tune import CPUS_PER_TRIAL, Found

# 0 is the second algorithm alone, 1 the first alone; a finer grid would fit the folds' noise.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
# Stands in every report of an event, whatever was searched.
BASELINE = "logistic"
BASELINE_PARAMS = {"C": 0.1}


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version that serves, as far as it can be trained again on other rows."""

    version: str
    parts: tuple[Recipe, ...]
    first_share: float


@dataclass(frozen=True, kw_only=True)
class Learned:
    """How margins become decisions.

    Attributes:
        share: weight of the first part, in margins.
        losses: calibration method -> cross-validated log loss; empty for amounts.
    """

    share: float
    calibration: Calibration
    losses: dict[str, float]
    rule: dict[str, float]

    def margins(self, part: "HeldOut") -> Vector:
        """Blended, and calibrated."""
        return self.calibration(blended(part.first, part.second, self.share))


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The test rows of one fold, and what the two parts say of them (twice the same if there is one)."""

    labels: Vector
    first: Vector
    second: Vector
    places: Places
    repeat: int


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What repeated cross-validation says of the chosen model.

    Attributes:
        parts: the recipes that make up the model: one, or two that are blended.
        learned: from all held-out rows: what the package decides by.
        metrics: metric -> mean and standard deviation over folds.
        baselines: "majority" or "median", and each algorithm alone -> mean selection metric over the same folds.
        places, labels, scores: the first repeat's rows, each with the score that it got out of fold.
        raw: the same rows' scores before calibration.
    """

    parts: tuple[Recipe, ...]
    learned: Learned
    metrics: dict[str, dict[str, float]]
    baselines: dict[str, float]
    comparisons: list[Comparison]
    places: Places
    labels: Vector
    scores: Vector
    raw: Vector


def prove(task: Task, folds: list[Fold], found: Found, champion: Champion | None, *, seed: int) -> Proof:
    """Choose the blend, the calibration and the rule, and measure what that is worth. Runs as parallel Ray tasks.

    Raises:
        ForewarnError: the search found no parameters at all.
    """
    if not found.best:
        raise ForewarnError("the search found nothing to fit")
    alone = dict(found.best)
    if isinstance(task, Classification):
        alone.setdefault(BASELINE, Recipe(algorithm=BASELINE, params=BASELINE_PARAMS))
    former = champion.parts if champion else ()
    margins = _margins_of(folds, [*alone.values(), *former], seed)
    own = dict(zip(alone, margins, strict=False))
    parts = [name for name in task.algorithms if name in found.best]
    held = _held(folds, own[parts[0]], own[parts[-1]])
    decided = [_learn(task, _others(held, part)) for part in held]
    rivals = {name: _selections(task, folds, given) for name, given in own.items()}
    if champion:
        then = _mixes(margins[len(alone)], margins[-1], champion.first_share)
        rivals[champion.version] = _selections(task, folds, then)
    return _proof(task, folds, [alone[name] for name in parts], held, decided, rivals)


def measured_again(task: Task, folds: list[Fold], proof: Proof, *, seed: int) -> dict[str, dict[str, float]]:
    """The same model's metrics on other folds, decided on by what was learned before."""
    margins = _margins_of(folds, list(proof.parts), seed)
    held = _held(folds, margins[0], margins[-1])
    return performance.over_folds([_measure(task, part, proof.learned) for part in held])


def _proof(
    task: Task,
    folds: list[Fold],
    parts: list[Recipe],
    held: list[HeldOut],
    decided: list[Learned],
    rivals: Mapping[str, list[float]],
) -> Proof:
    learned = _learn(task, held)
    pairs = list(zip(held, decided, strict=True))
    first = [(part, by) for part, by in pairs if part.repeat == 0]
    own = [performance.selection(task, part.labels, by.margins(part)) for part, by in pairs]
    trivial, comparison = _against_trivial(task, folds, pairs)
    kept = {1.0: parts[:1], 0.0: parts[-1:]}.get(learned.share, parts)
    return Proof(
        parts=tuple(kept),
        learned=learned,
        metrics=performance.over_folds([_measure(task, part, by) for part, by in pairs]),
        baselines={**trivial, **{name: float(np.mean(given)) for name, given in rivals.items()}},
        comparisons=[comparison, *(_against(task, folds, name, own, given) for name, given in rivals.items())],
        places=np.concatenate([part.places for part, _ in first]),
        labels=np.concatenate([part.labels for part, _ in first]),
        scores=np.concatenate([task.scores(by.margins(part)) for part, by in first]),
        raw=np.concatenate([task.scores(blended(part.first, part.second, by.share)) for part, by in first]),
    )


def _learn(task: Task, held: Sequence[HeldOut]) -> Learned:
    """From held-out rows: the share that ranks best, the calibration that loses least, the rule."""
    share = max(SHARES, key=lambda share: _mean_rank(task, held, share))
    labels = np.concatenate([part.labels for part in held])
    margins = np.concatenate([blended(part.first, part.second, share) for part in held])
    losses, calibrated = _calibrated(task, held, share, labels, margins)
    rule = performance.learn_rule(task, labels, task.scores(calibrated(margins)))
    return Learned(share=share, calibration=calibrated, losses=losses, rule=rule)


def _calibrated(
    task: Task, held: Sequence[HeldOut], share: float, labels: Vector, margins: Vector
) -> tuple[dict[str, float], Calibration]:
    if not isinstance(task, Classification):
        return {}, NONE
    # Within a repeat no row comes twice; across repeats the same row would teach what it is tried on.
    by_repeat = [
        calibration.losses([(p.labels, blended(p.first, p.second, share)) for p in held if p.repeat == repeat])
        for repeat in sorted({part.repeat for part in held})
    ]
    losses = {method: float(np.mean([found[method] for found in by_repeat])) for method in calibration.METHODS}
    return losses, Calibration.fit(calibration.chosen(losses), labels, margins)


def _mean_rank(task: Task, held: Sequence[HeldOut], share: float) -> float:
    """Higher is better, whatever the metric; where both parts are one, the share that keeps the first."""
    mixes = [blended(part.first, part.second, share) for part in held]
    found = float(np.mean([performance.selection(task, p.labels, mix) for p, mix in zip(held, mixes, strict=True)]))
    return found if task.larger_is_better else -found


def _others(held: Sequence[HeldOut], one: HeldOut) -> list[HeldOut]:
    """The other folds of the same repeat: not one of their rows is in this fold."""
    return [part for part in held if part.repeat == one.repeat and part is not one] or [one]


def _measure(task: Task, part: HeldOut, by: Learned) -> dict[str, float]:
    return performance.measure(task, part.labels, task.scores(by.margins(part)), by.rule)


def _against_trivial(
    task: Task, folds: list[Fold], pairs: Sequence[tuple[HeldOut, Learned]]
) -> tuple[dict[str, float], Comparison]:
    """Against always answering the training rows' base rate, in nats; or their median, in the label's unit."""
    if isinstance(task, Classification):
        rates = [float(np.log(fold.train_labels.mean() / (1 - fold.train_labels.mean()))) for fold in folds]
        gains = [
            calibration.log_loss(part.labels, np.full(len(part.labels), rate))
            - calibration.log_loss(part.labels, by.margins(part))
            for (part, by), rate in zip(pairs, rates, strict=True)
        ]
        return {"majority": 0.5}, intervals.compare("majority", "log_loss", gains, test_share=_test_share(folds))
    errors = [float(np.abs(fold.test_labels - np.median(fold.train_labels)).mean()) for fold in folds]
    own = [performance.selection(task, part.labels, by.margins(part)) for part, by in pairs]
    return {"median": float(np.mean(errors))}, _against(task, folds, "median", own, errors)


def _against(task: Task, folds: list[Fold], name: str, own: Sequence[float], given: Sequence[float]) -> Comparison:
    sign = 1 if task.larger_is_better else -1
    gains = [sign * (mine - theirs) for mine, theirs in zip(own, given, strict=True)]
    return intervals.compare(name, task.metric, gains, test_share=_test_share(folds))


def _test_share(folds: Sequence[Fold]) -> float:
    return float(np.mean([len(fold.test) / len(fold.train) for fold in folds]))


def _selections(task: Task, folds: list[Fold], margins: Sequence[Vector]) -> list[float]:
    return [performance.selection(task, fold.test_labels, given) for fold, given in zip(folds, margins, strict=True)]


def _held(folds: list[Fold], first: Sequence[Vector], second: Sequence[Vector]) -> list[HeldOut]:
    return [
        HeldOut(labels=fold.test_labels, first=one, second=other, places=fold.places, repeat=fold.repeat)
        for fold, one, other in zip(folds, first, second, strict=True)
    ]


def _mixes(first: Sequence[Vector], second: Sequence[Vector], share: float) -> list[Vector]:
    return [blended(one, other, share) for one, other in zip(first, second, strict=True)]


def _margins_of(folds: list[Fold], recipes: Sequence[Recipe], seed: int) -> list[list[Vector]]:
    """Per recipe and fold, the held-out margins; one Ray task each."""
    task = ray.remote(num_cpus=CPUS_PER_TRIAL)(_margins)
    shared = [ray.put(fold) for fold in folds]
    pending = [[task.remote(fold, recipe, seed) for fold in shared] for recipe in recipes]
    return [ray.get(refs) for refs in pending]


def _margins(fold: Fold, recipe: Recipe, seed: int) -> Vector:
    return recipe.fit(fold.train, fold.train_labels, fold.levels, seed=seed).margins(fold.test)
