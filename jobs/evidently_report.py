"""Evidently's own report beside ours, for whoever knows it (extra [monitor])."""

import importlib.util
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forewarn import scoring, sources
from forewarn.errors import BadInput, CannotStart
from forewarn.fields import Row
from forewarn.usecase import UseCase

NAME = "evidently.html"


def refuse_missing() -> None:
    """Better told before the work than after it.

    Raises:
        CannotStart: it is not installed.
    """
    if importlib.util.find_spec("evidently") is None:
        raise CannotStart("--report evidently: it is not installed; pip install 'forewarn[monitor]'")


def write(case: UseCase, reference: str, now: Sequence[Row], folder: Path) -> Path:
    """Its preset for drift over the rows of a file and these. Protected and sensitive fields, and whom a row is about,
    are left out: it draws single values.

    Raises:
        BadInput: no row of the file is valid.
    """
    before = scoring.sift(case, sources.load(reference, case))[0].values
    if not before or not now:
        raise BadInput(f"--reference: {len(before)} valid rows there, {len(now)} in the window; both need some")
    os.environ.setdefault("DO_NOT_TRACK", "1")  # else it calls home
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy's and pandas' old names, which it still uses
        return _written(case, _columns(case, before), _columns(case, now), folder / NAME)


def _written(case: UseCase, before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> Path:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numbers = [spec.wire for spec in case.inputs if spec.wire in now and spec.kind == "number"]
    others = [name for name in now if name not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=others)
    given = [Dataset.from_pandas(pd.DataFrame(rows), data_definition=definition) for rows in (now, before)]
    Report([DataDriftPreset()]).run(*given).save_html(str(path))
    path.chmod(0o600)
    return path


def _columns(case: UseCase, rows: Sequence[Row]) -> dict[str, list[Any]]:
    shown = [spec for spec in case.inputs if spec.name not in case.untold]
    return {spec.wire: [row[spec.name] for row in rows] for spec in shown}
