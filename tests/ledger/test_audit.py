from datetime import timedelta

import pytest
import sqlalchemy as sa

from forewarn.errors import BadInput
from forewarn.ledger import audit, schema
from forewarn.ledger.audit import Chain
from forewarn.ledger.store import Ledger
from tests.ledger.conftest import BY, NOW

pytest_plugins = ["tests.servers"]

SUBJECT = ("attrition", "ab" * 32)


def some_acts(ledger: Ledger, chain: Chain) -> None:
    for day in range(5):
        with ledger.begin() as connection:
            chain.append(
                connection,
                "subject.export",
                BY,
                {"rows": day},
                at=NOW + timedelta(days=day),
                subject=SUBJECT,
                personal={"id": "7 Ω"},
            )


def test_lines_say_who_what_when_and_from_which_key(ledger: Ledger, chain: Chain) -> None:
    some_acts(ledger, chain)
    newest = audit.entries(ledger)[0]
    assert (newest["number"], newest["actor"], newest["key_id"], newest["act"]) == (
        5,
        "auditor",
        "k1",
        "subject.export",
    )
    assert (newest["about"], newest["personal"], newest["at"]) == (
        {"rows": 4},
        {"id": "7 Ω"},
        "2026-12-01T09:00:00.000000Z",
    )
    assert [line["number"] for line in audit.entries(ledger, since="2026-11-28", until="2026-11-29")] == [2]
    assert audit.entries(ledger, act="keys.create") == []
    assert len(audit.entries(ledger, since="2026-12-01T10:00+02:00", until="2026-12-02")) == 1
    with pytest.raises(BadInput, match="since: 'soon' is no ISO 8601 time"):
        audit.entries(ledger, since="soon")


def test_a_chain_that_nobody_touched_holds(ledger: Ledger, chain: Chain) -> None:
    assert chain.verify(ledger).lines == 0
    some_acts(ledger, chain)
    found = chain.verify(ledger)
    assert (found.lines, found.broken, found.head[:2]) == (5, None, "5:")
    assert chain.verify(ledger, head=found.head) == found


LINE = schema.AUDIT.c.number


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        (sa.update(schema.AUDIT).where(LINE == 3).values(actor="somebody else"), 3),
        (sa.update(schema.AUDIT).where(LINE == 3).values(about="{}"), 3),
        (sa.update(schema.AUDIT).where(LINE == 3).values(sealed=None), 3),
        (sa.delete(schema.AUDIT).where(LINE == 3), 3),
        (sa.delete(schema.AUDIT).where(LINE == 5), 5),
        (sa.delete(schema.AUDIT), 1),
    ],
    ids=["other person", "other words", "less", "one missing", "the newest missing", "all missing"],
)
def test_tampering_shows(ledger: Ledger, chain: Chain, tampering: sa.Executable, broken: int) -> None:
    some_acts(ledger, chain)
    with ledger.begin() as connection:
        connection.execute(tampering)
    found = chain.verify(ledger)
    assert (found.broken, bool(found.why)) == (broken, True)


def test_a_head_that_was_noted_shows_that_newer_lines_were_rewritten(ledger: Ledger, chain: Chain) -> None:
    some_acts(ledger, chain)
    head = chain.verify(ledger).head
    with ledger.begin() as connection:
        connection.execute(sa.delete(schema.AUDIT).where(LINE > 3))
        connection.execute(sa.update(schema.COUNTERS).values(number=3))
    assert chain.verify(ledger).broken is None
    assert chain.verify(ledger, head=head).broken == 4
    some_acts(ledger, chain)
    assert chain.verify(ledger, head=head).why == "it is not the line whose head was noted"
    with pytest.raises(BadInput, match="NUMBER:HASH"):
        chain.verify(ledger, head="five")


@pytest.mark.requirement("S2-72")
def test_what_it_says_of_a_person_can_be_forgotten_and_the_chain_still_holds(ledger: Ledger, chain: Chain) -> None:
    some_acts(ledger, chain)
    with ledger.begin() as connection:
        assert audit.shred(connection, SUBJECT[0], [SUBJECT[1]]) == 1
    assert {line["personal"] for line in audit.entries(ledger)} == {"erased"}
    found = chain.verify(ledger)
    assert (found.lines, found.broken) == (5, None)
    some_acts(ledger, chain)
    assert audit.entries(ledger)[0]["personal"] == {"id": "7 Ω"}
