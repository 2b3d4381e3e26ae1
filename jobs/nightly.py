"""Keeps what a batch job said of each subject, so that it can be told where no version answers (S1-06)."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from forewarn import ids, usecases
from forewarn.errors import BadInput
from forewarn.ids import IdKey
from forewarn.ledger import nightly
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from forewarn.usecase import UseCase

AT_ONCE = 20_000


def keep(settings: Settings, case: UseCase, output: Path, *, at: datetime) -> int:
    """Read a job's output and keep the score of every row that names somebody; of how many.

    Raises:
        BadInput: rows of this use case name nobody.
        LedgerUnavailable: what is not kept is kept by the next run.
    """
    if case.key is None:
        raise BadInput(f"{case.name}: its rows name nobody, so that no score could be found again; leave --nightly out")
    id_key = IdKey.open(settings.id_key, settings.id_secret.get_secret_value())
    kept = 0
    with closing(Ledger.open(settings)) as ledger:
        for served_by, version, scores in _scores(case, output, id_key):
            nightly.keep(ledger, usecases.get(served_by), version, scores, at=at)
            kept += len(scores)
    return kept


def _scores(case: UseCase, output: Path, id_key: IdKey) -> Iterator[tuple[str, str, dict[str, float]]]:
    from pyarrow import dataset  # it brings pandas

    kind = output.suffix.removeprefix(".")
    names = dataset.dataset(output, format=kind).schema.names
    score = "probability" if "probability" in names else "prediction"
    named = case.spec[str(case.key)].wire
    columns = [named, score, "served_by", "model_version"]
    for batch in dataset.dataset(output, format=kind).to_batches(columns=columns, batch_size=AT_ONCE):
        yield from _grouped(pa.Table.from_batches([batch]), columns, id_key)


def _grouped(table: pa.Table, columns: list[str], id_key: IdKey) -> Iterator[tuple[str, str, dict[str, float]]]:
    """A subject that is there twice has its last score."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for subject, score, served_by, version in zip(*(table[name].to_pylist() for name in columns), strict=True):
        text = ids.text_of(subject)
        if text is not None and score is not None:
            found.setdefault((served_by, version), {})[id_key.pseudonym(served_by, text)] = float(score)
    for (served_by, version), scores in found.items():
        yield served_by, version, scores
