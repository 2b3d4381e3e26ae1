"""The scheduler's part of the ledger: who leads, whose a run is, what was lost, what is paused; on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from forewarn.errors import BadInput, NotFound
from forewarn.ledger import audit
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.runs import AGAIN, BEGUN, HAND, LEAD, LOST, PLANNED, PRESENT, RAN, SCHEDULE, Run, Runs
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from tests.ledger.conftest import BY, NOW

pytest_plugins = ["tests.servers"]

SECOND = timedelta(seconds=1)


@pytest.fixture
def runs(settings: Settings, ledger: Ledger) -> Runs:
    return Runs.of(settings, ledger)


@pytest.fixture
def others(settings: Settings, ledger: Ledger) -> Iterator[list[Runs]]:
    """Other processes', with connections of their own."""
    ledger.prepare()
    opened = [Ledger.open(settings) for _ in range(4)]
    yield [Runs.of(settings, one) for one in opened]
    for one in opened:
        one.close()


def claim(runs: Runs, name: str = "drift", *, due: datetime = NOW, by: str = "a", cause: str = SCHEDULE) -> bool:
    return runs.claim(name, due, cause, by, at=due)


def test_one_leads_for_as_long_as_it_says_so(runs: Runs) -> None:
    assert runs.leader(at=NOW) is None
    assert runs.renew("a", at=NOW)
    assert not runs.renew("b", at=NOW + SECOND)
    assert runs.renew("a", at=NOW + 15 * SECOND)
    assert not runs.renew("b", at=NOW + LEAD + SECOND), "it was said again meanwhile"
    leader = runs.leader(at=NOW + LEAD)
    assert leader
    assert (leader.holder, leader.until) == ("a", NOW + 15 * SECOND + LEAD)


def test_where_the_leader_is_silent_another_takes_over_and_it_does_not_lead_any_more(runs: Runs) -> None:
    runs.renew("a", at=NOW)
    assert not runs.renew("b", at=NOW + LEAD), "to its last moment"
    assert runs.leader(at=NOW + LEAD + SECOND) is None
    assert runs.renew("b", at=NOW + LEAD + SECOND)
    assert not runs.renew("a", at=NOW + LEAD + 2 * SECOND)


def test_a_leader_that_was_silent_and_was_not_followed_leads_on(runs: Runs) -> None:
    runs.renew("a", at=NOW)
    assert runs.renew("a", at=NOW + timedelta(days=1))


def test_whoever_leaves_is_followed_at_once(runs: Runs) -> None:
    runs.renew("a", at=NOW)
    runs.leave("a")
    assert runs.renew("b", at=NOW + SECOND)


def test_of_many_who_want_to_lead_at_once_one_does(others: list[Runs]) -> None:
    with ThreadPoolExecutor(len(others)) as pool:
        led = list(pool.map(lambda one: one[1].renew(f"h{one[0]}", at=NOW), enumerate(others)))
    assert sum(led) == 1


def test_of_many_who_want_a_run_at_once_one_has_it(others: list[Runs]) -> None:
    with ThreadPoolExecutor(len(others)) as pool:
        for number in range(5):
            due = NOW + number * SECOND
            had = list(pool.map(lambda one, due=due: claim(one[1], f"r{due:%S}", due=due, by=f"h{one[0]}"),
                                enumerate(others)))  # fmt: skip
            assert sum(had) == 1


def test_a_run_is_had_once_and_nothing_of_its_name_begins_meanwhile(runs: Runs) -> None:
    assert claim(runs)
    assert not claim(runs, by="b"), "it is another's"
    assert not claim(runs, due=NOW + SECOND, cause=HAND), "it runs"
    assert claim(runs, "retention")
    assert runs.end("drift", NOW, code=3, said='{"alarms": 1}', at=NOW + 5 * SECOND)
    assert not runs.end("drift", NOW, code=0, said="twice", at=NOW + 6 * SECOND)
    assert not claim(runs), "it is over"
    assert claim(runs, due=NOW + SECOND)
    assert runs.newest(RAN)["drift"].ended_at is None
    first = runs.history("drift")[1]
    assert (first.code, first.said, first.seconds, first.cut_short) == (3, '{"alarms": 1}', 5.0, False)


def test_a_line_of_what_does_not_run_is_over_at_once(runs: Runs) -> None:
    assert runs.claim("drift", NOW, BEGUN, "a", at=NOW, said="from here on")
    assert claim(runs, due=NOW + SECOND)
    begun = runs.history()[1]
    assert (begun.cause, begun.ended_at, begun.code, begun.cut_short) == (BEGUN, NOW, None, False)


def test_the_newest_of_each_name_and_cause(runs: Runs) -> None:
    for minutes, cause in enumerate((SCHEDULE, AGAIN, HAND)):
        due = NOW + timedelta(minutes=minutes)
        assert claim(runs, due=due, cause=cause)
        runs.end("drift", due, code=0, said="", at=due + SECOND)
    claim(runs, "retention")
    assert {name: (run.cause, run.due) for name, run in runs.newest(PLANNED).items()} == {
        "drift": (AGAIN, NOW + timedelta(minutes=1)), "retention": (SCHEDULE, NOW),
    }  # fmt: skip
    assert runs.newest(RAN)["drift"].cause == HAND
    assert [run.cause for run in runs.history("drift", most=2)] == [HAND, AGAIN]


def test_a_run_is_lost_when_its_holder_was_silent_for_long_and_only_then(runs: Runs) -> None:
    runs.renew("a", at=NOW)
    claim(runs)
    assert runs.renew("b", at=NOW + LEAD + SECOND)
    claim(runs, "retention", by="b")
    assert runs.lose(at=NOW + LEAD + SECOND) == [], "it may only have lost sight of the ledger"
    runs.present("a", at=NOW + LEAD + 2 * SECOND)
    later = NOW + LEAD + 3 * SECOND + PRESENT
    runs.renew("b", at=later)
    (lost,) = runs.lose(at=later)
    assert (lost.name, lost.due, lost.holder) == ("drift", NOW, "a")
    (line,) = runs.history("drift")
    assert (line.ended_at, line.code, line.said, line.cut_short) == (later, None, LOST, True)
    assert runs.lose(at=later) == []
    assert not runs.end("drift", NOW, code=0, said="it was there after all", at=later), "it was given up"


def test_the_lines_of_a_run_that_is_for_each_use_case(runs: Runs) -> None:
    for seconds, name in enumerate(("drift:churn", "drifting", "drift:attrition")):
        claim(runs, name, due=NOW + seconds * SECOND)
    assert [run.name for run in runs.history("drift")] == ["drift:attrition", "drift:churn"]
    assert [run.name for run in runs.history("drift:churn")] == ["drift:churn"]


def test_old_lines_are_forgotten(runs: Runs) -> None:
    for days in (0, 1):
        claim(runs, f"r{days}", due=NOW + timedelta(days=days))
    assert runs.forget(before=NOW + SECOND) == 1
    assert [run.name for run in runs.history()] == ["r1"]


def test_who_paused_what_and_why_is_kept_and_audited(runs: Runs, ledger: Ledger, chain: Chain) -> None:
    with pytest.raises(BadInput, match="why is empty"):
        runs.pause("drift", BY, "  ", at=NOW)
    with pytest.raises(NotFound, match="drift is not paused"):
        runs.resume("drift", BY, at=NOW)
    runs.pause("drift", BY, "The source is being moved.", at=NOW)
    runs.pause("drift", By(actor="anna"), "It still is.", at=NOW + SECOND)
    pause = runs.pauses()["drift"]
    assert (pause.actor, pause.why, pause.at) == ("anna", "It still is.", NOW + SECOND)
    runs.resume("drift", BY, at=NOW + 2 * SECOND)
    assert runs.pauses() == {}
    lines = audit.entries(ledger)
    assert [line["act"] for line in lines] == ["schedule.resume", "schedule.pause", "schedule.pause"]
    assert lines[2]["about"] == {"name": "drift", "why": "The source is being moved."}
    assert chain.verify(ledger).broken is None


def test_a_run_is_told_as_json_can_have_it(runs: Runs, settings: Settings) -> None:
    claim(runs)
    with closing(Ledger.open(settings)) as other:
        (told,) = [run.told() for run in Runs.of(settings, other).history()]
    assert told["seconds"] is None
    assert Run(**{name: value for name, value in told.items() if name != "seconds"}).due == NOW
