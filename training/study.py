"""One order's record: its run in the registry, its folder of unfinished work, and the version that comes of it."""

import fcntl
import json
import os
import shutil
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

from forewarn import approval, state
from forewarn.errors import CannotStart
from forewarn.evidence import Evidence
from forewarn.package import FORMAT, ModelPackage
from forewarn.registry import Registry
from forewarn.releases import Releases
from forewarn.settings import Settings
from training import data, exports, fit, judge, pictures, recipes, tune
from training import proof as proving
from training.judge import Verdict
from training.order import Order, Watch
from training.proof import Champion, Proof

# Fewer where folds are large: 5 × 5 folds of 20,000 rows say no more than 5 of 100,000, and take as long.
PROOF_REPEATS = ((20_000, 5), (50_000, 2), (data.MOST_SEARCHED, 1))
PARENT_RUN = "parent_run"
PACKAGE = "package"


class Study:
    """One order's record: its parent run in the registry, and its folder of unfinished work."""

    def __init__(self, order: Order, settings: Settings, registry: Registry, folder: Path, parent: str):
        self._order = order
        self._settings = settings
        self._registry = registry
        self._releases = Releases(settings.packages)
        self._folder = folder
        self._parent = parent

    @classmethod
    def open(cls, order: Order, settings: Settings) -> "Study":
        """Take up the unfinished study of the very same order, or begin a new one."""
        registry = Registry(settings)
        folder = settings.searches / f"{order.case.name}-{_identity(order)}"
        note = folder / PARENT_RUN
        _alone(folder)
        if not note.exists():
            asked = {**order.origin, **asdict(order.limits), "seed": order.seed, "preset": order.preset,
                     "balance": ",".join(order.balances), "backend": order.backend}  # fmt: skip
            tags = {"use_case": order.case.name, "git_sha": settings.git_sha, "quality_override": order.override,
                    "trained_by": order.by}  # fmt: skip
            state.write(note, registry.start_run(order.case, "search", params=asked, tags=tags))
        return cls(order, settings, registry, folder, note.read_text())

    def log_table(self, found: data.Examples) -> None:
        """Name the table in the registry."""
        origin = self._order.origin
        self._registry.log_table(
            self._parent, found.case, found.rows, found.labels, name=origin["name"], digest=origin.get("sha256", "")
        )

    def search(self, found: data.Examples, watch: Watch) -> tune.Found:
        """Search, each ended trial written to the registry as a run nested below this study's."""
        self._catch_up()
        order, plan = self._order, self._order.plan
        folds = list(data.folds(found, repeats=plan.repeats if _is_small(found) else 1, seed=order.seed))
        better = order.case.task.larger_is_better
        with watch.searching(plan.metric, order.limits.trials, larger_is_better=better) as tell:

            def heard(trial: tune.Finished) -> None:
                self._log(trial)
                tell(trial.score, trial.whole)

            return tune.search(
                folds,
                task=order.case.task,
                preset=plan,
                balances=order.balances,
                budget=order.limits,
                seed=order.seed,
                folder=self._folder,
                heard=heard,
            )

    def prove(self, found: data.Examples, best: tune.Found) -> tuple[Proof, dict[str, dict[str, float]]]:
        """On folds that the search has not seen; and where subjects repeat, also on folds that know them."""
        task, seed = self._order.case.task, self._order.seed
        repeats = next(count for rows, count in PROOF_REPEATS if len(found.rows) <= rows)
        folds = list(data.folds(found, repeats=repeats, seed=seed + 1))
        proof = proving.prove(task, folds, best, self._champion(), seed=seed)
        if not data.repeats_subjects(found) or found.case.when:
            return proof, {}
        mixed = list(data.folds(found, repeats=repeats, seed=seed + 1, known=True))
        return proof, proving.measured_again(task, mixed, proof, seed=seed)

    def pack(self, found: data.Examples, best: tune.Found, proof: Proof, *, duration_s: float) -> ModelPackage:
        """Fit on every row and put the record beside it."""
        order = self._order
        engine = fit.Engine(backend=order.backend, workers=order.workers, folder=self._folder / "checkpoints")
        features, estimator = fit.fit(found, proof, engine, seed=order.seed)
        account = {
            "parameters": {name: recipe.params for name, recipe in best.best.items()},
            "trials": len(best.trials),
            "seed": order.seed,
            "preset": order.preset,
            "git_sha": self._settings.git_sha,
            "data": {**order.origin, "rows": len(found.rows), "rejected": len(found.rejects)},
            "quality": {**found.quality.to_json(), "override": order.override},
        }
        package = fit.pack(found, features, estimator, proof, account)
        record = {
            "created": fit.now(),
            "duration_s": round(duration_s, 1),
            "mlflow_run": self._parent,
            "trained_by": order.by,
            "backend": engine.chosen(len(found.rows)),
        }
        return replace(package, record=record)

    def judge(
        self,
        found: data.Examples,
        some: data.Examples,
        package: ModelPackage,
        proof: Proof,
        best: tune.Found,
        known: dict[str, dict[str, float]],
    ) -> tuple[ModelPackage, Verdict]:
        """Gather the evidence, hold it against the gates, and put both into the package."""
        gathered = fit.evidence(some, package, proof, best, known, seed=self._order.seed)
        candidate = judge.Candidate(
            evidence=gathered,
            champion=self._releases.champion(package.case),
            violations=found.quality.violations,
            override=self._order.override,
            row_ms=fit.row_ms(package, seed=self._order.seed),
            megabytes=_megabytes(package, self._folder / "weighed"),
        )
        verdict = judge.judge(candidate, package.case.gates)
        record = {**package.record, "verdict": verdict.to_json(), "row_ms": round(candidate.row_ms, 2)}
        return replace(package, record=record, evidence=gathered.to_json()), verdict

    def publish(self, package: ModelPackage, verdict: Verdict) -> tuple[str, Path]:
        """Register, export, let in if the rule says so; then the unfinished work may go. The version and its card."""
        case, registry, settings = self._order.case, self._registry, self._settings
        folder = self._folder / PACKAGE
        shutil.rmtree(folder, ignore_errors=True)  # a half-written one of a process that died
        package.save(folder)
        version = registry.register(case, self._parent, folder, tags=self._tags(package, verdict))
        exported = settings.exports / case.name / version
        named = replace(package, version=version)
        drawn = pictures.pictures(case, Evidence.from_json(package.evidence))
        exports.export(named, folder, exported, pictures=drawn)
        if verdict.status == approval.APPROVED:
            why = "every gate was passed"
            standing = approval.approve(case, version, settings, by=approval.RULE, why=why)
            if not standing.champion:  # C25: by itself, but through a canary
                approval.bring(case, version, settings, "start", by=approval.RULE, why=why)
            exports.retell(named, exported, status=approval.APPROVED, by=approval.RULE, why=why)
        registry.log_files(self._parent, exported, below="export")
        proved = {name: value["mean"] for name, value in package.metadata["metrics"].items()}
        registry.finish_run(self._parent, metrics=proved)
        shutil.rmtree(self._folder)  # what was learned is in MLflow and in the package
        return version, exported / "card.html"

    def _tags(self, package: ModelPackage, verdict: Verdict) -> dict[str, str]:
        metric = package.case.task.metric
        return {
            "status": verdict.status,
            "trained_by": self._order.by,
            "by": "gates",
            "why": "; ".join(verdict.reasons) or "every gate was passed",
            "at": package.record["created"],
            "metric": f"{metric} {package.metadata['metrics'][metric]['mean']:.3f}",
        }

    def _champion(self) -> Champion | None:
        """The version that serves, as recipes that can be fitted on the same folds."""
        case = self._order.case
        version = self._releases.champion(case)
        if version is None:
            return None
        told = self._releases.card(case, version)
        if "parts" not in told or told.get("format") != FORMAT:
            return None  # an older release's, which says less of itself
        parts = tuple(recipes.Recipe(**part) for part in told["parts"])
        return Champion(version=version, parts=parts, first_share=told["first_share"])

    def _catch_up(self) -> None:
        """Write what a driver that was killed between its two notes of a trial left out of the registry."""
        logged = self._registry.trials(self._order.case, self._parent)
        for trial in tune.finished_before(self._folder):
            if trial.name not in logged:
                self._log(trial)

    def _log(self, trial: tune.Finished) -> None:
        self._registry.log_trial(
            self._order.case,
            self._parent,
            trial.name,
            params={"algorithm": trial.algorithm, "balance": trial.balance, **trial.params},
            metrics={self._order.plan.metric: trial.score, "folds": len(trial.seen), "seconds": trial.seconds},
            tags={"stopped_early": str(not trial.whole)},
        )


def _is_small(found: data.Examples) -> bool:
    return len(found.rows) <= PROOF_REPEATS[0][0]


def _megabytes(package: ModelPackage, folder: Path) -> float:
    shutil.rmtree(folder, ignore_errors=True)
    package.save(folder)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _alone(folder: Path) -> None:
    """Hold the study's folder until this process ends, however it ends.

    Raises:
        CannotStart: another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise CannotStart(
            "this very training, same rows and seed, is running already; wait for it, or give another --seed"
        ) from None


def _identity(order: Order) -> str:
    """The same rows, use case, seed and preset make the same study; a larger budget continues a smaller one."""
    asked = [tune.FORMAT, order.case.name, order.origin, order.seed, order.preset, order.balances, str(order.case.task)]
    return sha256(json.dumps(asked).encode()).hexdigest()[:12]
