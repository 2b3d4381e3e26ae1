"""A package as a plain MLflow model: `mlflow.pyfunc.load_model(...)` finds `_load_pyfunc` here."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from forewarn import scoring, usecases
from forewarn.package import ModelPackage

if TYPE_CHECKING:
    import pandas as pd


class PackageModel:
    """Scores data frames through the one path."""

    def __init__(self, package: ModelPackage):
        self._package = package

    def predict(self, frame: "pd.DataFrame", params: dict[str, Any] | None = None) -> "pd.DataFrame":  # noqa: ARG002
        """One score a row, a probability or an amount, in a column `score`. `params` is MLflow's, and unused."""
        import pandas as pd

        records = [{str(k): None if pd.isna(v) else v for k, v in row.items()} for row in frame.to_dict("records")]
        rows = scoring.validate(self._package.case, records)
        return pd.DataFrame({"score": scoring.score(self._package, rows.values).values})


def _load_pyfunc(folder: str) -> PackageModel:
    """MLflow's entry point."""
    use_case = yaml.safe_load((Path(folder) / "metadata.yaml").read_text())["use_case"]
    return PackageModel(ModelPackage.load(usecases.get(use_case), Path(folder)))
