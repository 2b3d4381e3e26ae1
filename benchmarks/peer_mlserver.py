"""Run by MLServer in its own environment (benchmarks/peers.py): the booster, and nothing else."""

import numpy as np
import xgboost
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Booster(MLModel):
    """A tensor of rows in, their scores out."""

    async def load(self) -> bool:
        """Read the booster."""
        self._booster = xgboost.Booster({"nthread": 1})
        self._booster.load_model(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One call of the model a request."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        scores = self._booster.inplace_predict(rows)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
