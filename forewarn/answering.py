"""From scores to answers, in the words of the use case's document. The service and the batch job both speak so."""

from datetime import datetime
from typing import Any

from forewarn import explain, scoring
from forewarn.answers import Card, Told
from forewarn.fields import Row
from forewarn.scoring import Rows, Scores
from forewarn.tasks import Decision
from forewarn.usecase import UseCase


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
