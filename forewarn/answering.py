"""From scores to answers, in the words of the use case's document. The service and the batch job both speak so."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forewarn import explain, scoring
from forewarn.answers import Card, Told
from forewarn.fields import Picked, Row
from forewarn.scoring import Rows, Scores
from forewarn.tasks import Decision
from forewarn.usecase import UseCase

if TYPE_CHECKING:
    from forewarn.blocks import Block

# Half of an integer's bits; the other half counts the kinds that were found before.
WORD_BITS = 31


def tell(
    case: UseCase, rows: Rows, given: Scores, card: Card, *, at: datetime, explained: bool = False
) -> list[dict[str, Any]]:
    """One answer per row, without what only a request has: ids and latency."""
    decisions = scoring.decide(case, given)
    used = set(card["fields"])
    return [
        {
            "model_version": given.version,
            "served_by": case.name,
            "features_imputed": [name for name in rows.imputed[place] if name in used],
            "fields_ignored": rows.ignored[place],
            "decision_support": True,
            "timestamp": case.api.timestamp(at),
            **case.task.says(decision),  # type: ignore[arg-type]
            **_why(case, given, place, decision, row, explained=explained),
            **case.api.answer(Told(decision=decision, row=row, card=card, at=at)),
        }
        for place, (row, decision) in enumerate(zip(rows.values, decisions, strict=True))
    ]


def tell_block(case: UseCase, block: "Block", given: Scores, card: Card, *, at: datetime) -> dict[str, Any]:
    """The same answers without reasons as one answer whose values are columns, or one value for all rows.

    Only for a use case whose own answer `passes_on` its values.
    """
    decisions = case.task.decide_all(given.values, given.rule, given.version)
    return {
        "model_version": given.version,
        "served_by": case.name,
        "features_imputed": _imputed(case, block, set(card["fields"])),
        "fields_ignored": block.ignored[: scoring.MOST_IGNORED],
        "decision_support": True,
        "timestamp": case.api.timestamp(at),
        **case.task.says(decisions),  # type: ignore[arg-type]
        **case.api.answer(Told(decision=decisions, row=block.columns, card=card, at=at)),
    }


def _imputed(case: UseCase, block: "Block", used: set[str]) -> Picked:
    """Lists of names, each once: of 32,000 rows few lack something of their own."""
    specs = [spec for spec in case.inputs if spec.wire in used]
    gaps = np.array([~block.columns[spec.name].given for spec in specs]).reshape(len(specs), block.count)
    first, places = _kinds(gaps)
    names = [[spec.wire for spec, gap in zip(specs, gaps[:, row], strict=True) if gap] for row in first]
    return Picked(tuple(names), places)


def _kinds(gaps: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of columns of marks the kinds that there are: where each is met first, and for each column its own."""
    first, places = np.zeros(1, dtype=np.int64), np.zeros(gaps.shape[1], dtype=np.int64)
    varied = gaps[gaps.any(axis=1) & ~gaps.all(axis=1)]
    for part in (varied[start : start + WORD_BITS] for start in range(0, len(varied), WORD_BITS)):
        words = (1 << np.arange(len(part))) @ part
        _, first, places = np.unique((places << WORD_BITS) + words, return_index=True, return_inverse=True)
    return first, places


def _why(case: UseCase, given: Scores, place: int, decision: Decision, row: Row, *, explained: bool) -> dict[str, Any]:
    if given.why is None:
        return {}
    advice = {"recommendation": explain.recommendation(case, decision, given.why, place)}
    if not explained:
        return advice
    return {
        **advice,
        "reasons": explain.reasons(case, given.why, place, row),
        "explanation": explain.explanation(case, given.why, place, row).model_dump(),
    }
