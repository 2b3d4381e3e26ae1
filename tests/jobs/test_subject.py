"""`forewarn subject`, `keys`, `audit` and `retention`, in processes of their own; and who opted out in a batch."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from forewarn import ids, usecases
from forewarn.ids import IdKey
from forewarn.ledger.audit import By
from forewarn.ledger.privacy import Privacy
from forewarn.settings import Settings
from jobs import stream
from jobs.lines import Order, Scorer
from jobs.unwilling import OPTED_OUT, Unwilling
from tests.conftest import installed
from tests.jobs.test_commands import forewarn

NOW = datetime.now(UTC)
CASE = usecases.get("attrition")
BY = By(actor="operator")


@pytest.mark.slow
def test_a_person_s_rights_at_a_shell(settings: Settings, tmp_path: Path) -> None:
    out = json.loads(forewarn(settings, "subject", "opt-out", "4711", "--json").stdout)
    assert out["use_cases"] >= 3
    receipt = tmp_path / "receipt.json"
    assert forewarn(settings, "subject", "erase", "4711", "--output", str(receipt)).returncode == 0
    assert receipt.stat().st_mode & 0o777 == 0o600
    assert forewarn(settings, "subject", "verify-receipt", str(receipt)).returncode == 0
    receipt.write_text(receipt.read_text().replace('"features": 0', '"features": 9'))
    forged = forewarn(settings, "subject", "verify-receipt", str(receipt))
    assert (forged.returncode, "was changed since" in forged.stderr) == (1, True)
    exported = json.loads(forewarn(settings, "subject", "export", "4711").stdout)
    assert len(exported["opt_outs"]) >= 3, "who was forgotten still has opted out"
    assert forewarn(settings, "subject", "rotate-secret").returncode == 0
    refused = forewarn(settings, "subject", "retire-secrets")
    assert (refused.returncode, "give --yes" in refused.stderr) == (1, True)
    assert f"{len(exported['opt_outs'])} opt-outs that are older" in refused.stderr
    assert forewarn(settings, "subject", "retire-secrets", "--yes").returncode == 0


@pytest.mark.slow
def test_keys_and_the_audit_log_at_a_shell(settings: Settings) -> None:
    made = json.loads(forewarn(settings, "keys", "create", "HR", "--scope", "predict", "--json").stdout)
    rotated = json.loads(forewarn(settings, "keys", "rotate", made["id"], "--json").stdout)
    assert forewarn(settings, "keys", "revoke", made["id"]).returncode == 0
    listed = {key["id"]: key for key in json.loads(forewarn(settings, "keys", "list", "--json").stdout)}
    assert listed[made["id"]]["rotated_to"] == rotated["id"]
    assert listed[made["id"]]["revoked_at"]
    assert "HR" in forewarn(settings, "keys", "list").stdout
    found = json.loads(forewarn(settings, "audit", "verify", "--json").stdout)
    assert (found["lines"], found["broken"]) == (3, None)
    acts = [line["act"] for line in json.loads(forewarn(settings, "audit", "list", "--json").stdout)]
    assert acts == ["keys.revoke", "keys.rotate", "keys.create"]
    assert forewarn(settings, "audit", "verify", "--head", "9:ab").returncode == 1
    unknown = forewarn(settings, "keys", "create", "HR", "--scope", "fly")
    assert (unknown.returncode, "there are predict" in unknown.stderr) == (1, True)
    dry = json.loads(forewarn(settings, "retention", "--dry-run").stdout)
    assert dry["use_cases"]["attrition"] == {"purged": 0, "archived": 0}


@pytest.mark.requirement("S1-36")
@pytest.mark.parametrize("explained", [False, True])
def test_who_opted_out_has_no_score_in_a_batch_either(settings: Settings, explained: bool) -> None:
    installed(settings, [CASE])
    privacy = Privacy(settings)
    for one in ("2", "4"):
        privacy.opt_out(privacy.person(one), BY, at=NOW)
    rows = [{**row, "EmployeeNumber": number} for number, row in enumerate(CASE.sample(6, seed=1))]
    rows = [{name: value for name, value in row.items() if name != CASE.target} for row in rows]
    scorer = Scorer(Order.of(CASE, settings, version=None, explained=explained, at=NOW))
    alone = Scorer(Order.of(CASE, Settings(home=settings.home), version=None, explained=explained, at=NOW))
    alone._unwilling = None
    for piece in (pa.Table.from_pylist(rows), rows, rows[2:3]):
        out = [row["EmployeeNumber"] in (2, 4) for row in (piece.to_pylist() if isinstance(piece, pa.Table) else piece)]
        told, all_ = (
            stream.piece_of(one(stream.part((0, 0, len(piece), True), piece))).to_pylist() for one in (scorer, alone)
        )
        assert [line["reason"] == OPTED_OUT for line in told] == out
        assert [line for line, gone in zip(told, out, strict=True) if not gone] == [
            line for line, gone in zip(all_, out, strict=True) if not gone
        ]
        assert not any(line["probability"] for line, gone in zip(told, out, strict=True) if gone)


@pytest.mark.requirement("S1-36")
def test_who_opted_out_is_known_under_each_name_that_a_column_of_ids_may_have(settings: Settings) -> None:
    case = usecases.get("churn")
    privacy = Privacy(settings)
    privacy.opt_out(privacy.person("7", case.name), BY, at=NOW)
    unwilling = Unwilling.of(case, settings, frozenset(privacy.person("7", case.name).pseudonyms))
    assert unwilling
    table = pa.table({"customer_id": [None, "7", "8"], "customerID": ["7", None, None]})
    assert unwilling.parted(table)[0].tolist() == unwilling.parted(table.to_pylist())[0].tolist() == [True, True, False]
    assert unwilling.parted(pa.table({"other": ["7"]}))[0].tolist() == [False]


@pytest.mark.requirement("C10")
def test_a_new_secret_still_knows_whom_the_old_one_hid_until_it_is_retired(settings: Settings) -> None:
    before = IdKey.open(settings.id_key).pseudonym("churn", "7")
    Privacy(settings).opt_out(Privacy(settings).person("7", "churn"), BY, at=NOW)
    assert ids.rotate(settings.id_key) == 1
    now = IdKey.open(settings.id_key)
    assert now.pseudonym("churn", "7") != before
    assert now.pseudonyms("churn", "7")[1] == before
    privacy = Privacy(settings)
    assert privacy.export(privacy.person("7", "churn"), BY, at=NOW)["opt_outs"]
    assert ids.retire(settings.id_key) == 1
    privacy = Privacy(settings)
    assert not privacy.export(privacy.person("7", "churn"), BY, at=NOW)["opt_outs"]
    given = f"{'ab' * 32},{'cd' * 32}"
    assert len(IdKey.open(settings.id_key, given).pseudonyms("churn", "7")) == 2
