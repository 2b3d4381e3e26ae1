"""One training from raw rows to a registered version: search, prove, fit, judge, register."""

from time import monotonic

from forewarn.releases import Releases
from forewarn.settings import Settings
from training import data, fit
from training.order import Order, Trained, Watch
from training.study import Study

SHOWN_REASONS = 5


def train(order: Order, settings: Settings, watch: Watch) -> Trained:
    """Train within a connected Ray. An order whose process died goes on where it stopped.

    Raises:
        BadInput: the rows cannot be learned from.
        CannotStart: this very order is running already, or its backend cannot.
    """
    began = monotonic()
    with watch.step("Checking the rows"):
        # Better told now than after the search.
        fit.refuse_backend(order.backend, order.workers)
        fit.smoke_rows(order.case)
        found = data.trainable(data.examples(order.case, order.raw, override=order.override))
    with watch.step("Opening the registry"):
        study = Study.open(order, settings)
        study.log_table(found)
    some = data.searched(found, seed=order.seed)
    best = study.search(some, watch)
    with watch.step("Proving the best on fresh folds"):
        proof, known = study.prove(some, best)
    with watch.step("Fitting and packing"):
        package = study.pack(found, best, proof, duration_s=monotonic() - began)
    with watch.step("Judging, with pictures"):
        package, verdict = study.judge(found, some, package, proof, best, known)
    with watch.step("Registering the version"):
        version, card = study.publish(package, verdict)
    state = Releases(settings.packages).state(order.case)
    return Trained(
        use_case=order.case.name,
        version=version,
        status=verdict.status,
        reasons=verdict.reasons,
        champion=state.champion,
        role=state.role_of(version),
        rows=len(found.rows),
        rejected=len(found.rejects),
        reject_reasons=[f"row {row}: {reason}" for row, reason in found.rejects.items()][:SHOWN_REASONS],
        trials=len(best.trials),
        quality=list(found.quality.violations),
        notes=list(found.quality.notes),
        rule=proof.learned.rule,
        algorithm=package.metadata["algorithm"],
        calibration=package.metadata["calibration"],
        metrics=proof.metrics,
        known_subjects=known,
        baselines=proof.baselines,
        balances=best.balances(order.case.task),
        card=str(card),
        duration_s=round(monotonic() - began, 1),
    )
