"""What a search may try for each algorithm, and what it tries first."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Range:
    """A hyperparameter's range: bounds included, whole numbers if `whole`, drawn on a log scale if `log`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


# A search does not draw this one: a fit shows what every number of trees is worth (training/curves.py).
ROUNDS = "n_estimators"

SPACES: dict[str, dict[str, Range]] = {
    "xgboost": {
        "n_estimators": Range(low=50, high=600, log=True, whole=True),
        "max_depth": Range(low=1, high=10, whole=True),
        "learning_rate": Range(low=0.01, high=0.3, log=True),
        "subsample": Range(low=0.5, high=1.0),
        "colsample_bytree": Range(low=0.2, high=1.0),
        "min_child_weight": Range(low=0.5, high=20.0, log=True),
        "reg_lambda": Range(low=0.1, high=30.0, log=True),
        "gamma": Range(low=0.0, high=5.0),
    },
    "logistic": {"C": Range(low=0.005, high=5.0, log=True)},
    "xgboost_absolute": {
        "n_estimators": Range(low=100, high=600, log=True, whole=True),
        "max_depth": Range(low=2, high=9, whole=True),
        "learning_rate": Range(low=0.008, high=0.1, log=True),
        "subsample": Range(low=0.6, high=1.0),
        "colsample_bytree": Range(low=0.3, high=1.0),
        "min_child_weight": Range(low=1.0, high=20.0, log=True),
        "reg_lambda": Range(low=0.5, high=15.0, log=True),
        "gamma": Range(low=0.0, high=3.0),
    },
    # Small, because every one-hot column is standardised too: distances are long.
    "svr": {
        "C": Range(low=0.5, high=100.0, log=True),
        "epsilon": Range(low=0.005, high=1.0, log=True),
        "gamma": Range(low=0.0002, high=0.03, log=True),
    },
}

# Tried first: additive stumps, shallow trees and one deep shape (those that won on public data, docs/decisions/0004
# and 0006; the quick one first, for a small budget), and as many strengths of the linear baseline, which stands in
# every report.
STARTING_POINTS: dict[str, list[dict[str, float]]] = {
    "xgboost": [
        {
            "n_estimators": 260,
            "max_depth": 1,
            "learning_rate": 0.15,
            "subsample": 0.9,
            "colsample_bytree": 0.35,
            "min_child_weight": 1.0,
            "reg_lambda": 1.0,
            "gamma": 0.0,
        },
        {
            "n_estimators": 250,
            "max_depth": 2,
            "learning_rate": 0.06,
            "subsample": 0.7,
            "colsample_bytree": 0.3,
            "min_child_weight": 3.0,
            "reg_lambda": 5.0,
            "gamma": 0.0,
        },
        {
            "n_estimators": 170,
            "max_depth": 4,
            "learning_rate": 0.07,
            "subsample": 0.55,
            "colsample_bytree": 0.35,
            "min_child_weight": 1.0,
            "reg_lambda": 1.0,
            "gamma": 4.7,
        },
        {
            "n_estimators": 300,
            "max_depth": 8,
            "learning_rate": 0.1,
            "subsample": 0.8,
            "colsample_bytree": 0.8,
            "min_child_weight": 1.0,
            "reg_lambda": 1.0,
            "gamma": 0.0,
        },
    ],
    "logistic": [{"C": 0.1}, {"C": 0.03}, {"C": 0.5}, {"C": 0.01}],
    "xgboost_absolute": [
        {
            "n_estimators": 200,
            "max_depth": 3,
            "learning_rate": 0.05,
            "subsample": 1.0,
            "colsample_bytree": 0.8,
            "min_child_weight": 2.0,
            "reg_lambda": 3.0,
            "gamma": 0.0,
        },
        {
            "n_estimators": 400,
            "max_depth": 8,
            "learning_rate": 0.02,
            "subsample": 0.8,
            "colsample_bytree": 0.8,
            "min_child_weight": 12.0,
            "reg_lambda": 10.0,
            "gamma": 0.0,
        },
        {
            "n_estimators": 300,
            "max_depth": 8,
            "learning_rate": 0.01,
            "subsample": 0.9,
            "colsample_bytree": 0.5,
            "min_child_weight": 12.0,
            "reg_lambda": 3.0,
            "gamma": 0.0,
        },
    ],
    "svr": [
        {"C": 18.0, "epsilon": 0.04, "gamma": 0.00095},
        {"C": 2.8, "epsilon": 0.09, "gamma": 0.003},
        {"C": 31.0, "epsilon": 0.01, "gamma": 0.0012},
    ],
}
