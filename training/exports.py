"""What other tools read of a version: models/<use_case>/<version>/ (S0-09, S2-38, S3-02)."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import joblib
import yaml

from forewarn.estimators import Blend, Calibrated, Estimator
from forewarn.evidence import Evidence
from forewarn.package import ModelPackage
from forewarn.pyfunc import PackageModel
from forewarn.trees import Trees
from training.card import card

PICTURES = "pictures"


def export(package: ModelPackage, source: Path, folder: Path, *, pictures: Mapping[str, bytes]) -> Path:
    """Write the files anew; whatever a run that died has left of them goes first.

    model.pkl               the whole of it for joblib: predict(frame), predict_proba(frame)
    model.json, model.skops each part in its library's own format
    metadata.yaml           everything that is known of it
    feature_names.txt       the fields that it uses, a line each
    model_metadata.json     the short form: type, metrics, counts, files
    card.html, card.md      for people, with pictures/

    Args:
        source: the package's folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / PICTURES).mkdir(parents=True)
    joblib.dump(PackageModel(source), folder / "model.pkl")
    native = list(_native(package.estimator, source / "estimator", folder))
    known = {**package.card, "version": package.version}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(known, sort_keys=False))
    (folder / "feature_names.txt").write_text("".join(f"{name}\n" for name in package.features.fields))
    (folder / "model_metadata.json").write_text(json.dumps(_short(package, ["model.pkl", *native]), indent=1))
    for name, content in pictures.items():
        (folder / PICTURES / name).write_bytes(content)
    retell(package, folder, status=package.record["verdict"]["status"], by="", why="")
    return folder


def retell(package: ModelPackage, folder: Path, *, status: str, by: str, why: str) -> None:
    """Write the card again once somebody has decided. A folder that was never exported, or is gone, stays so."""
    if not folder.is_dir():
        return
    pictures = {path.name: path.read_bytes() for path in sorted((folder / PICTURES).iterdir())}
    html, markdown = told(package, pictures, status=status, by=by, why=why)
    (folder / "card.html").write_text(html)
    (folder / "card.md").write_text(markdown)


def told(
    package: ModelPackage, pictures: Mapping[str, bytes], *, status: str, by: str = "", why: str = ""
) -> tuple[str, str]:
    """The card of a package that carries its evidence and verdict, as HTML and as Markdown."""
    known = {**package.card, "version": package.version, "rule": dict(package.rule)}
    verdict = {**package.record["verdict"], "status": status, "by": by, "why": why}
    return card(package.case, known, Evidence.from_json(package.evidence), verdict, pictures)


def _native(estimator: Estimator, source: Path, folder: Path) -> Iterator[str]:
    """The parts' own files. The trees take the name model.json where there are some."""
    parts = list(_parts(estimator))
    for part in parts:
        if isinstance(part, Trees):
            part.booster.save_model(folder / "model.json")
            yield "model.json"
    others = {"logistic.json": "model.logistic.json" if len(parts) > 1 else "model.json", "svr.skops": "model.skops"}
    for name, given in others.items():
        if (source / name).exists():
            shutil.copy(source / name, folder / given)
            yield given


def _parts(estimator: Estimator) -> Iterator[Estimator]:
    if isinstance(estimator, Calibrated):
        yield from _parts(estimator.inner)
    elif isinstance(estimator, Blend):
        yield from (*_parts(estimator.first), *_parts(estimator.second))
    else:
        yield estimator


def _short(package: ModelPackage, files: list[str]) -> dict[str, Any]:
    card = package.card
    return {
        "use_case": package.case.name,
        "version": package.version,
        "model_type": card["algorithm"],
        "train_date": card["created"],
        **{f"test_{name}": value["mean"] for name, value in card["metrics"].items()},
        "features_count": len(package.features.fields),
        "training_samples": card["data"]["rows"],
        "rule": dict(package.rule),
        "calibration": card["calibration"],
        "files": files,
    }
