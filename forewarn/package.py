"""A model package: features, estimator, rule, contract, reference and metrics as one verified folder.

manifest.json      sha256 of every other file
metadata.yaml      use case, rule, metrics, parameters, data hash, git sha, environment
evidence.json      what is known of it: comparisons, fairness, slices, curves
record.json        when it was trained, how long that took, what was judged: the one file that a second training of the
                   same rows with the same seed writes differently
features.json      fitted cleaning, derived features         estimator/   native files: UBJ, JSON
contract.json      what each field may hold and held in training
reference.json     the training rows' distributions
smoke.json         made-up rows and the scores that this package must give them
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from forewarn import estimators
from forewarn.errors import PackageDamaged
from forewarn.estimators import Estimator
from forewarn.features import Features, Matrix
from forewarn.fields import FieldSpec, Row
from forewarn.tasks import Rule, Vector
from forewarn.usecase import UseCase

MANIFEST = "manifest.json"
# Counts up when what a package holds changes, so that another release's is told and not misread.
FORMAT = 3


@dataclass(frozen=True, kw_only=True)
class ModelPackage:
    """One version, whole. What it was trained with is what it scores with.

    Attributes:
        version: the registry's name for it, such as "v3"; "unregistered" before that.
        rule: by which scores become decisions: the threshold from which the answer is the event, or how far the
            interval reaches below and above a forecast.
        smoke: rows with the scores they must get, checked at every load.
        record: what a clock or a judge said: see the module.
        evidence: `Evidence.to_json()`.
    """

    case: UseCase
    features: Features
    estimator: Estimator
    rule: Rule
    metadata: dict[str, Any]
    contract: dict[str, Any]
    reference: dict[str, Any]
    smoke: Sequence[Row] = field(default_factory=tuple)
    version: str = "unregistered"
    record: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def card(self) -> dict[str, Any]:
        """What is known of it besides what it scores with, as answers quote it."""
        return {**self.metadata, **self.record}

    def prepare(self, rows: Sequence[Row]) -> Matrix:
        """Validated rows to this version's matrix, float32, shape (n, columns)."""
        return self.features.matrix(rows)

    def predict(self, matrix: Matrix) -> Vector:
        """Matrix to scores: probabilities of the event, or amounts; float64, shape (n,)."""
        return self.case.task.scores(self.estimator.margins(matrix))

    def save(self, folder: Path) -> Path:
        """Write the package; the manifest last, so that a torn write is no package.

        Raises:
            FileExistsError: the folder is there already; versions are never overwritten.
        """
        folder.mkdir(parents=True)
        estimators.save(self.estimator, folder / "estimator")
        _write(folder / "features.json", self.features.to_json())
        _write(folder / "contract.json", self.contract)
        _write(folder / "reference.json", self.reference)
        scores = self.predict(self.prepare(self.smoke)) if self.smoke else np.empty(0)
        _write(folder / "smoke.json", {"rows": list(self.smoke), "scores": scores.tolist()})
        metadata = {"format": FORMAT, "use_case": self.case.name, "rule": dict(self.rule), **self.metadata}
        (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata, sort_keys=False))
        _write(folder / "evidence.json", self.evidence)
        _write(folder / "record.json", self.record)
        _write(folder / MANIFEST, {name: _sha256(folder / name) for name in _files(folder)})
        return folder

    @classmethod
    def load(cls, case: UseCase, folder: Path, *, version: str = "unregistered") -> "ModelPackage":
        """Verify every byte, read, and prove that the smoke rows get their stored scores.

        Raises:
            PackageDamaged: a file is missing, added or changed, or a score differs.
        """
        card = _verified(case, folder)
        smoke = _read(folder / "smoke.json")
        package = cls(
            case=case,
            features=_features(case, folder),
            estimator=estimators.load(folder / "estimator"),
            rule=card["rule"],
            metadata=card,
            contract=_read(folder / "contract.json"),
            reference=_read(folder / "reference.json"),
            smoke=tuple(smoke["rows"]),
            version=version,
            record=_read(folder / "record.json"),
            evidence=_read(folder / "evidence.json"),
        )
        package._prove(smoke["scores"])
        return package

    def _prove(self, expected: list[float]) -> None:
        if not self.smoke:
            return
        wanted = np.array(expected)
        off = np.abs(self.predict(self.prepare(self.smoke)) - wanted) / np.maximum(1.0, np.abs(wanted))
        worst = float(off.max())
        # Same machine: 0. Another CPU may round the last float32 bit of a tree sum differently.
        if not worst <= 1e-6:
            raise PackageDamaged(f"{self.case.name} {self.version}: a smoke row's score is off by {worst:.2g}")


def features(case: UseCase, folder: Path) -> Features:
    """A package's features alone, every byte verified: no estimator, and none of its libraries, is loaded.

    Raises:
        PackageDamaged: a file is missing, added or changed. The smoke rows prove themselves where they are scored.
    """
    _verified(case, folder)
    return _features(case, folder)


def verify(folder: Path) -> None:
    """Check every file of a package against its manifest.

    Raises:
        PackageDamaged: naming the first file that is missing, added or changed.
    """
    digests = manifest(folder)
    for name in sorted(digests.keys() ^ set(_files(folder))):
        raise PackageDamaged(f"{folder}: {name} is {'missing' if name in digests else 'not in the manifest'}")
    for name, digest in digests.items():
        if _sha256(folder / name) != digest:
            raise PackageDamaged(f"{folder}: {name} has changed since it was written; register the version again")


def manifest(folder: Path) -> dict[str, str]:
    """File → sha256, as the package was written.

    Raises:
        PackageDamaged: there is none, or it cannot be read.
    """
    try:
        digests: dict[str, str] = _read(folder / MANIFEST)
    except (OSError, ValueError):
        raise PackageDamaged(
            f"{folder}: no readable {MANIFEST}; this is not a whole model package, register it again"
        ) from None
    return digests


def metadata(folder: Path) -> dict[str, Any]:
    """What is known of a package besides what it scores with: `ModelPackage.card`."""
    found: dict[str, Any] = yaml.safe_load((folder / "metadata.yaml").read_text())
    return {**found, **_read(folder / "record.json")}


def contract(case: UseCase, rows: Sequence[Row]) -> dict[str, Any]:
    """Per field: what the schema allows, and what the training rows held."""
    return {spec.wire: _clause(spec, [row[spec.name] for row in rows]) for spec in case.fields if spec.name != case.key}


def _verified(case: UseCase, folder: Path) -> dict[str, Any]:
    """The metadata of a package of this use case and this release, once every byte of it is verified."""
    verify(folder)
    found: dict[str, Any] = yaml.safe_load((folder / "metadata.yaml").read_text())
    if found.get("format") != FORMAT:
        raise PackageDamaged(
            f"{folder}: was made by another release of Forewarn; train {case.name} anew, and move this aside"
        )
    if found["use_case"] != case.name:
        raise PackageDamaged(f"{folder}: this package is for {found['use_case']}, not for {case.name}")
    return found


def _features(case: UseCase, folder: Path) -> Features:
    return Features.from_json(case, _read(folder / "features.json"))


def _clause(spec: FieldSpec, values: list[Any]) -> dict[str, Any]:
    present = [value for value in values if value is not None]
    allowed = {"levels": list(spec.levels)} if spec.levels else {"low": spec.low, "high": spec.high}
    seen = {"low": min(present), "high": max(present)} if spec.kind == "number" and present else {}
    seen = seen or _words(spec, present)
    missing = 1 - len(present) / len(values) if values else 0.0
    return {
        "kind": spec.kind,
        "required": spec.required,
        "allowed": allowed,
        "seen": seen,
        "missing": missing,
    }


def _words(spec: FieldSpec, present: list[Any]) -> dict[str, Any]:
    """Levels are no secret; free text, which may name people, is counted and not kept."""
    distinct = set(present)
    return {"levels": sorted(distinct)} if spec.kind == "category" else {"distinct": len(distinct)}


def _files(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != MANIFEST)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False))


def _read(path: Path) -> Any:
    return json.loads(path.read_text())
