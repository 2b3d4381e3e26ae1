"""What servers are asked: made-up rows without their label."""

from typing import Any

import orjson

from forewarn.usecase import UseCase

BODIES = 200


def bodies_of(case: UseCase) -> list[bytes]:
    """Whole rows, no two alike."""
    return [orjson.dumps(row) for row in rows_of(case, BODIES)]


def rows_of(case: UseCase, n: int) -> list[dict[str, Any]]:
    """Whole rows without their label."""
    return [{name: value for name, value in row.items() if name != case.target} for row in case.sample(n, seed=3)]
