"""A package as a plain MLflow model, and as a plain joblib file: both need this library and none of the service's."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from forewarn import scoring, usecases
from forewarn.errors import BadInput
from forewarn.package import ModelPackage
from forewarn.tasks import Classification, Vector

if TYPE_CHECKING:
    import pandas as pd


class PackageModel:
    """Scores data frames through the one path. Pickled, it carries its package's files, verified when it is read."""

    def __init__(self, folder: Path):
        use_case = yaml.safe_load((folder / "metadata.yaml").read_text())["use_case"]
        self.package = ModelPackage.load(usecases.get(use_case), folder)
        names = (path for path in sorted(folder.rglob("*")) if path.is_file())
        self._files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self._files,)

    def predict(self, frame: "pd.DataFrame", params: dict[str, Any] | None = None) -> "pd.DataFrame":  # noqa: ARG002
        """One score a row, a probability or an amount, in a column `score`. `params` is MLflow's, and unused."""
        import pandas as pd

        return pd.DataFrame({"score": self._scores(frame)})

    def predict_proba(self, frame: "pd.DataFrame") -> Vector:
        """Probabilities of no event and of the event, as scikit-learn gives them: shape (n, 2).

        Raises:
            BadInput: the use case forecasts an amount.
        """
        if not isinstance(self.package.case.task, Classification):
            raise BadInput(f"{self.package.case.name} forecasts an amount, which has no probability; call predict")
        scores = self._scores(frame)
        return np.column_stack([1 - scores, scores])

    def _scores(self, frame: "pd.DataFrame") -> Vector:
        import pandas as pd

        records = [{str(k): None if pd.isna(v) else v for k, v in row.items()} for row in frame.to_dict("records")]
        rows = scoring.validate(self.package.case, records)
        return scoring.score(self.package, rows.values).values


def _unpacked(files: dict[str, bytes]) -> PackageModel:
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return PackageModel(Path(folder))


def _load_pyfunc(folder: str) -> PackageModel:
    """MLflow's entry point."""
    return PackageModel(Path(folder))
