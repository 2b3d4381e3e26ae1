"""How often the judge of releases errs: simulated canaries, looked at every hour of a day.

    python -m benchmarks.sequential

A/A: two versions that say nearly the same, of the same quality: how often is the new one rolled back (5 % at most is
promised)? A planted drop of three points in recall, with labels: how often is it found (90 % is asked for)?
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from forewarn import usecases
from forewarn.policy import Canary
from forewarn.releases import judge
from forewarn.releases.arms import Arm, Observed, Pairs, Truth
from forewarn.tasks import Classification

RULES = Canary()
THRESHOLD, LOOKS, HOURS = 0.3, 24, 24.0
ERRORS = 0.002
# How far two versions of one quality are apart on a row, in probability.
APART = 0.03


def canary(seed: int, rows: int, drop: float, labels: bool) -> str:
    """One canary of so many rows of the challenger, a tenth of all: what it was rolled back for; empty if it was not.

    Args:
        drop: of recall, by leaving out events that the champion finds.
    """
    random = np.random.default_rng(seed)
    truth = random.beta(0.8, 2.5, rows)
    came = (random.random(rows) < truth).astype(float)
    champion, challenger = (np.clip(truth + random.normal(0, APART, rows), 0, 1) for _ in range(2))
    found = challenger >= THRESHOLD
    lost = found & (random.random(rows) < drop / found[came == 1].mean())
    challenger = np.where(lost, np.minimum(challenger, THRESHOLD - 0.01), challenger)
    failed, others_failed = random.random(rows) < ERRORS, random.random(9 * rows) < ERRORS
    took, others_took = random.lognormal(2, 0.5, rows), random.lognormal(2, 0.5, 9 * rows)
    for look in range(1, LOOKS + 1):
        end, others = rows * look // LOOKS, 9 * rows * look // LOOKS
        pairs = Pairs(one=challenger[:end], other=champion[:end], one_events=challenger[:end] >= THRESHOLD,
                      other_events=champion[:end] >= THRESHOLD)  # fmt: skip
        seen = Observed(
            mode="canary",
            hours=HOURS * look / LOOKS,
            pairs=pairs,
            challenger=_arm("v2", failed[:end], took[:end]),
            champion=_arm("v1", others_failed[:others], others_took[:others]),
            truth=Truth(labels=came[:end], pairs=pairs) if labels else Truth(),
        )
        verdict = judge.decide(TASK, seen, RULES)
        if verdict.action == "rollback":
            return verdict.why
    return ""


def _arm(version: str, failed: "np.typing.NDArray[np.bool_]", took: "np.typing.NDArray[np.float64]") -> Arm:
    bad = int(failed.sum())
    return Arm(version=version, answered=len(failed) - bad, failed=bad, latency_ms=took)


TASK = next(case.task for case in usecases.every().values() if isinstance(case.task, Classification))


def share(runs: int, rows: int, drop: float, *, labels: bool, first: int = 0) -> float:
    """Of so many canaries how many were rolled back."""
    with ProcessPoolExecutor() as pool:
        seeds = range(first, first + runs)
        told = list(pool.map(canary, seeds, [rows] * runs, [drop] * runs, [labels] * runs, chunksize=10))
    return sum(map(bool, told)) / runs


def main(runs: Annotated[int, typer.Option(help="Canaries of each kind.")] = 1000) -> None:
    """Both questions, at several sizes."""
    table = Table(
        "canary", "rows of the challenger", "labels", "rolled back", title=f"{runs} canaries each, {LOOKS} looks"
    )
    broken = False
    for rows in (1000, 10_000):
        for labels in (False, True):
            found = share(runs, rows, 0.0, labels=labels)
            broken |= found > RULES.alpha
            table.add_row("A/A", f"{rows:,}", "yes" if labels else "no", f"{found:.1%}")
    for rows in (2500, 5000, 10_000, 20_000):
        found = share(runs, rows, 0.03, labels=True, first=10**6)
        table.add_row("recall less by 3 points", f"{rows:,}", "yes", f"{found:.1%}")
    broken |= found < 0.9
    Console().print(table)
    sys.exit(int(broken))


if __name__ == "__main__":
    typer.run(main)
