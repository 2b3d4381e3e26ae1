"""A benchmark compares like with like: both sides must give the same before their times mean anything."""

import numpy as np

from benchmarks.preprocessing import with_pandas
from forewarn import scoring
from forewarn.features import Features
from forewarn.usecase import UseCase


def test_the_way_with_pandas_gives_the_same_matrix(case: UseCase) -> None:
    rows = scoring.validate(case, case.sample(200, seed=1)).values
    features = Features.fit(case, rows)
    np.testing.assert_array_equal(with_pandas(case, features)(rows), features.matrix(rows))
