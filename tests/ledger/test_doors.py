"""API keys in the ledger, and what replicas are told of them."""

from datetime import timedelta
from pathlib import Path

import pytest

from forewarn.databases import written
from forewarn.errors import BadInput, NotAllowed, NotFound
from forewarn.keys import KeyRing, digest_of
from forewarn.ledger import audit, notices
from forewarn.ledger.audit import Chain
from forewarn.ledger.doors import Doors
from forewarn.ledger.notices import Notices
from forewarn.ledger.store import Ledger
from tests.ledger.conftest import BY, NOW

pytest_plugins = ["tests.servers"]


@pytest.fixture
def doors(ledger: Ledger, chain: Chain) -> Doors:
    return Doors(ledger, chain)


def ring(ledger: Ledger) -> KeyRing:
    found = notices.read(ledger)
    assert found
    return KeyRing(found.keys)


def test_a_new_key_may_do_what_its_scopes_say_and_is_kept_as_a_hash(ledger: Ledger, doors: Doors) -> None:
    key, key_id = doors.create("HR portal", ["read", "predict"], BY, at=NOW, per_minute=50)
    found = ring(ledger).check(key, at=written(NOW))
    assert (found.id, found.name, found.per_minute) == (key_id, "HR portal", 50)
    assert found.may(["predict"])
    assert not found.may(["approve", "admin"])
    (listed,) = doors.listed()
    assert (listed["scopes"], listed["created_by"]) == ("predict read", "auditor")
    assert key not in str(listed) + str(audit.entries(ledger))
    assert digest_of(key) not in str(listed) + str(audit.entries(ledger))


def test_admin_may_do_everything(ledger: Ledger, doors: Doors) -> None:
    key, _ = doors.create("root", ["admin"], BY, at=NOW)
    assert ring(ledger).check(key, at=written(NOW)).may(["approve"])


def test_a_revoked_key_opens_nothing_and_stays_in_the_list(ledger: Ledger, doors: Doors) -> None:
    key, key_id = doors.create("gone", ["predict"], BY, at=NOW)
    doors.revoke(key_id, BY, at=NOW)
    doors.revoke(key_id, BY, at=NOW)
    with pytest.raises(NotAllowed, match="invalid API key"):
        ring(ledger).check(key, at=written(NOW))
    assert doors.listed()[0]["revoked_at"] == written(NOW)
    assert [line["act"] for line in audit.entries(ledger)] == ["keys.revoke", "keys.create"]


def test_a_key_expires(ledger: Ledger, doors: Doors) -> None:
    key, _ = doors.create("guest", ["predict"], BY, at=NOW, days=1)
    ring(ledger).check(key, at=written(NOW + timedelta(hours=23)))
    with pytest.raises(NotAllowed, match="expired on 2026-11-28"):
        ring(ledger).check(key, at=written(NOW + timedelta(hours=25)))


def test_rotation_gives_a_new_key_and_lets_the_old_one_in_for_a_while(ledger: Ledger, doors: Doors) -> None:
    old, old_id = doors.create("HR portal", ["predict"], BY, at=NOW, per_minute=7)
    new, new_id = doors.rotate(old_id, BY, at=NOW, overlap=timedelta(hours=1))
    soon, late = written(NOW + timedelta(minutes=59)), written(NOW + timedelta(minutes=61))
    assert ring(ledger).check(old, at=soon).id == old_id
    assert ring(ledger).check(new, at=late).per_minute == 7
    with pytest.raises(NotAllowed, match="expired"):
        ring(ledger).check(old, at=late)
    assert {row["id"]: row["rotated_to"] for row in doors.listed()} == {old_id: new_id, new_id: None}


def test_rotation_never_makes_a_key_live_longer(doors: Doors) -> None:
    _, old_id = doors.create("guest", ["predict"], BY, at=NOW, days=1)
    _, new_id = doors.rotate(old_id, BY, at=NOW, overlap=timedelta(days=7))
    ends = {row["id"]: row["expires_at"] for row in doors.listed()}
    assert ends == {old_id: written(NOW + timedelta(days=1)), new_id: written(NOW + timedelta(days=1))}


@pytest.mark.parametrize(
    ("name", "scopes", "said"),
    [
        ("x", ["predict", "fly"], "fly is none; there are predict, feedback"),
        (" ", ["read"], "a name"),
        ("x", [], "a name"),
    ],
)
def test_a_key_that_cannot_be_is_refused(doors: Doors, name: str, scopes: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        doors.create(name, scopes, BY, at=NOW)


def test_what_is_no_key_is_told(doors: Doors) -> None:
    with pytest.raises(NotFound, match="keys list"):
        doors.revoke("nobody", BY, at=NOW)


def test_the_installation_s_key_takes_the_place_of_the_one_before(ledger: Ledger, doors: Doors) -> None:
    for key in ("fw_first", "fw_first", "fw_second", "fw_first"):
        doors.install(key, BY, at=NOW)
        assert ring(ledger).check(key, at=written(NOW)).may(["admin"])
    with pytest.raises(NotAllowed):
        ring(ledger).check("fw_second", at=written(NOW))
    assert len(audit.entries(ledger)) == 3


def test_when_a_key_was_last_used_never_goes_back(doors: Doors) -> None:
    _, key_id = doors.create("x", ["read"], BY, at=NOW)
    for at in ("2026-11-27T10", "2026-11-27T09"):
        doors.used({key_id: at})
    assert doors.listed()[0]["last_used_at"] == "2026-11-27T10"


def test_a_replica_reads_one_row_where_nothing_is_new(ledger: Ledger, doors: Doors) -> None:
    doors.create("x", ["read"], BY, at=NOW)
    found = notices.read(ledger)
    assert found
    assert notices.read(ledger, found.number) is None
    doors.create("y", ["read"], BY, at=NOW)
    assert notices.read(ledger, found.number) is not None


def test_notices_are_kept_for_when_the_ledger_is_away(ledger: Ledger, doors: Doors, tmp_path: Path) -> None:
    key, _ = doors.create("x", ["read"], BY, at=NOW)
    found = notices.read(ledger)
    assert found
    found.save(tmp_path / "notices.json")
    assert Notices.load(tmp_path / "notices.json") == found
    assert key not in (tmp_path / "notices.json").read_text()
    assert (tmp_path / "notices.json").stat().st_mode & 0o777 == 0o600
    assert Notices.load(tmp_path / "none.json") == Notices()
