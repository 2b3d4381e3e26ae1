"""Run by BentoML in its own environment (benchmarks/peers.py): the booster, and nothing else."""

import os

import bentoml
import numpy as np
import xgboost


@bentoml.service
class Booster:
    """A list of rows in, their scores out."""

    def __init__(self) -> None:
        self._booster = xgboost.Booster({"nthread": 1})
        self._booster.load_model(os.environ["MODEL"])

    @bentoml.api
    def predict(self, rows: list[list[float]]) -> list[float]:
        """One call of the model a request."""
        return self._booster.inplace_predict(np.array(rows, dtype=np.float32)).tolist()
