"""Validated rows to a matrix: ours without pandas, beside the same work through a pandas data frame.

Alternates the two in one run and prints medians and their ratio: `make bench`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from forewarn import scoring, usecases
from forewarn.features import Features, Matrix
from forewarn.usecase import UseCase

ROUNDS = 200
SIZES = {1: 200.0, 100: None, 1000: 5000.0}  # rows → the bar in µs, where there is one


def with_pandas(case: UseCase, features: Features) -> Callable[[Sequence[dict[str, Any]]], Matrix]:
    """The same matrix the usual way: a frame, fillna, categorical codes, the same feature functions on columns."""
    state = features.cleaner.state
    fills = {name: number.fill for name, number in state.numbers.items()}
    lows = pd.Series({name: number.low for name, number in state.numbers.items()})
    highs = pd.Series({name: number.high for name, number in state.numbers.items()})
    functions = [function for function in case.features if function.__name__ in features.derived]

    def matrix(rows: Sequence[dict[str, Any]]) -> Matrix:
        frame = pd.DataFrame(rows)
        frame = frame.fillna({**fills, **state.modes}).infer_objects()
        numbers = frame[list(state.numbers)].astype("float64").clip(lows, highs, axis=1)
        codes = {
            name: pd.Categorical(frame[name], categories=levels).codes for name, levels in state.categories.items()
        }
        columns = {name: numbers[name].to_numpy() for name in state.numbers}
        columns |= {name: frame[name].to_numpy() for name in state.categories}
        derived = {function.__name__: function(columns) for function in functions}
        return pd.concat([numbers, pd.DataFrame(codes), pd.DataFrame(derived)], axis=1).to_numpy("float32")

    return matrix


def paired(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[float, float]:
    """Median microseconds of each, taken in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for function, seen in zip((first, second), times, strict=True):
            began = perf_counter()
            function()
            seen.append((perf_counter() - began) * 1e6)
    return median(times[0]), median(times[1])


def main() -> None:
    """Print the table, after proving that both ways give the same matrix."""
    console = Console()
    for case in usecases.every().values():
        raw = case.sample(max(SIZES), seed=1)
        rows = scoring.validate(case, raw).values
        features = Features.fit(case, rows)
        pandas = with_pandas(case, features)
        np.testing.assert_array_equal(features.matrix(rows), pandas(rows))
        table = Table("rows", "ours, µs", "bar, µs", "pandas, µs", "pandas ÷ ours", "validation, µs", title=case.name)
        for size, bar in SIZES.items():
            ours, theirs = paired(partial(features.matrix, rows[:size]), partial(pandas, rows[:size]))
            checking, _ = paired(partial(scoring.validate, case, raw[:size]), list)
            figures = (ours, bar, theirs, theirs / ours, checking)
            table.add_row(str(size), *(f"{figure:.0f}" if figure else "–" for figure in figures))
        console.print(table)


if __name__ == "__main__":
    main()
