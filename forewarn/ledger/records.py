"""A prediction's line in the ledger, as the service writes it: of a person nothing but a pseudonym."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import orjson

from forewarn import ids
from forewarn.fields import Row
from forewarn.ids import IdKey
from forewarn.ledger.seals import Seal
from forewarn.settings import Settings
from forewarn.usecase import UseCase

DIGEST_BYTES = 16
SEALING = "sealed fields"
# The columns of a line that go when its subject is forgotten.
PERSONAL = ("subject", "fields", "sealed", "digest", "score", "event", "level")
# The route of what nobody could answer.
NOBODY = "none"

Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What lines of one request share.

    Attributes:
        key_id: of the API key that asked.
        at: as `databases.written`.
    """

    key_id: str
    at: str


OF_NO_ROW: Line = dict.fromkeys(("subject", "fields", "sealed", "digest"))


class Recorder:
    """Knows what of a use case's rows may be written down, and how."""

    def __init__(self, case: UseCase, id_key: IdKey, seal: Seal):
        self._case, self.id_key, self._seal = case, id_key, seal
        hidden = case.protected | case.sensitive
        self._plain = [(spec.name, spec.wire) for spec in case.fields if spec.name not in hidden | {case.key}]
        sealed = hidden - {case.key} if case.retention.sensitive == "sealed" else frozenset()
        self._hidden = [(spec.name, spec.wire) for spec in case.fields if spec.name in sealed]
        self._inputs = [spec.name for spec in case.inputs]

    @cached_property
    def installation(self) -> str:
        """Of this secret and use case, and of no other; it tells nothing of either."""
        return self.id_key.derived(f"installation\0{self._case.name}")[0].hex()[:16]

    @property
    def use_case(self) -> str:
        """Whose rows these are."""
        return self._case.name

    @classmethod
    def of(cls, case: UseCase, settings: Settings) -> "Recorder":
        """With this installation's secrets."""
        id_key = IdKey.open(settings.id_key, settings.id_secret.get_secret_value())
        return cls(case, id_key, Seal(id_key.derived(SEALING)))

    def subject(self, row: Row) -> str | None:
        """The pseudonym of whom a validated row is about; None if it names nobody."""
        subject = ids.text_of(row[self._case.key]) if self._case.key else None
        return self.id_key.pseudonym(self._case.name, subject) if subject else None

    def among(self, subjects: frozenset[str], rows: Sequence[Row]) -> list[int]:
        """Which of the rows are about one of these, under whatever secret that was written down."""
        if not self._case.key:
            return []
        named = [(index, ids.text_of(row[self._case.key])) for index, row in enumerate(rows)]
        return [index for index, subject in named if subject and self.is_among(subjects, subject)]

    def is_among(self, subjects: frozenset[str], subject: str) -> bool:
        """Whether somebody is one of these."""
        return not subjects.isdisjoint(self.id_key.pseudonyms(self._case.name, subject))

    def digest(self, row: Row) -> bytes:
        """What the model may read of a row, as 16 bytes that tell nothing (C11)."""
        return blake2b(orjson.dumps([row[name] for name in self._inputs]), digest_size=DIGEST_BYTES).digest()

    def line(self, row: Row | None, answer: Mapping[str, Any], about: Circumstances, *, latency_ms: float) -> Line:
        """Of a validated row and its answer. Without the row it tells that there was none, and nothing of anybody."""
        return {
            "id": answer["prediction_id"],
            "use_case": self._case.name,
            **(self._of_row(row) if row is not None else OF_NO_ROW),
            "score": answer.get("probability", answer.get("prediction")),
            "event": answer.get("event"),
            "level": answer.get("risk_level"),
            "version": answer["model_version"],
            "route": answer["served_from"],
            "latency_ms": latency_ms,
            "key_id": about.key_id,
            "at": about.at,
            "shadow_of": answer.get("shadow_of"),
            "instead_of": answer.get("instead_of"),
        }

    def _of_row(self, row: Row) -> Line:
        hidden = {wire: value for name, wire in self._hidden if (value := row[name]) is not None}
        return {
            "subject": self.subject(row),
            "fields": {wire: value for name, wire in self._plain if (value := row[name]) is not None},
            "sealed": self._seal.shut(hidden) if hidden else None,
            "digest": self.digest(row).hex(),
        }

    def seen(self, fields: str | None, sealed: str | None) -> Row:
        """The row again, of a line's two columns.

        Raises:
            StateDamaged: the secret that it was sealed under was retired.
        """
        plain: Row = orjson.loads(fields) if fields else {}
        hidden: Row = self._seal.open(sealed) if sealed else {}
        return {**plain, **hidden}
