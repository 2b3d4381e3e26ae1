"""What is due, by a clock that is moved."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from forewarn.ledger.runs import AGAIN, BEGUN, MISSED, PAUSED, SCHEDULE, SKIPPED, Run
from jobs.due import LATE, Due, Entry, due

NOW = datetime(2026, 11, 27, 5, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
BERLIN = ZoneInfo("Europe/Berlin")


def entry(cron: str = "0 5 * * *", **more: Any) -> Entry:
    return Entry(**{"name": "drift:a", "base": "drift", "cron": cron, "zone": ZoneInfo("UTC"), "words": (), **more})


def line(at: datetime, *, cause: str = SCHEDULE, ended: datetime | None = None, code: int | None = 0) -> Run:
    return Run(name="drift:a", due=at, cause=cause, holder="h", began_at=at, ended_at=ended or at, code=code)


def at(now: datetime, one: Entry, last: Run | None, paused: Sequence[str] = ()) -> Due | None:
    found = due([one], {"drift:a": last} if last else {}, now, paused)
    assert len(found) <= 1
    return found[0] if found else None


def test_what_the_schedule_has_not_known_before_is_due_from_its_next_time_on() -> None:
    assert at(NOW, entry(), None) == Due(name="drift:a", due=NOW, cause=BEGUN)
    assert at(NOW + DAY - SECOND, entry(), line(NOW, cause=BEGUN)) is None
    assert at(NOW + DAY, entry(), line(NOW, cause=BEGUN)) == Due(name="drift:a", due=NOW + DAY, cause=SCHEDULE)


def test_what_is_a_little_late_is_on_time() -> None:
    for one in (entry(), entry(missed="skip")):
        assert at(NOW + DAY + LATE, one, line(NOW)) == Due(name="drift:a", due=NOW + DAY, cause=SCHEDULE)


@pytest.mark.parametrize(("missed", "cause"), [("once", MISSED), ("skip", SKIPPED)])
def test_however_many_were_missed_there_is_one_line_for_them(missed: Any, cause: str) -> None:
    now = NOW + 3 * DAY + timedelta(hours=2)
    found = at(now, entry(missed=missed), line(NOW))
    assert found == Due(name="drift:a", due=NOW + 3 * DAY, cause=cause)
    assert at(now, entry(missed=missed), line(found.due, cause=cause)) is None


def test_after_a_year_away_every_minute_is_made_up_for_at_once() -> None:
    found = at(NOW + timedelta(days=365, seconds=30), entry("* * * * *"), line(NOW))
    assert found == Due(name="drift:a", due=NOW + timedelta(days=365), cause=SCHEDULE)


def test_what_comes_once_in_four_years_is_found() -> None:
    found = at(datetime(2032, 1, 1, tzinfo=UTC), entry("0 5 29 2 *"), line(NOW))
    assert found == Due(name="drift:a", due=datetime(2028, 2, 29, 5, tzinfo=UTC), cause=MISSED)


def test_what_still_runs_is_not_begun_again() -> None:
    under_way = Run(name="drift:a", due=NOW, cause=SCHEDULE, holder="h", began_at=NOW)
    assert at(NOW + 2 * DAY, entry(), under_way) is None


def test_what_was_cut_short_is_run_again_once() -> None:
    cut = line(NOW, ended=NOW + 60 * SECOND, code=None)
    assert at(NOW + 61 * SECOND, entry(), cut) == Due(name="drift:a", due=NOW + 60 * SECOND, cause=AGAIN)
    assert at(NOW + 61 * SECOND, entry(missed="skip"), cut) is None
    assert at(NOW + 61 * SECOND, entry(), cut, ["drift"]) is None
    second = line(NOW + 60 * SECOND, cause=AGAIN, ended=NOW + 90 * SECOND, code=None)
    assert at(NOW + 91 * SECOND, entry(), second) is None, "what takes its machine down would do so for ever"
    assert at(NOW + DAY, entry(), cut) == Due(name="drift:a", due=NOW + DAY, cause=SCHEDULE), "the next is as good"


def test_what_failed_waits_for_its_next_time() -> None:
    assert at(NOW + SECOND, entry(), line(NOW, code=1)) is None


@pytest.mark.parametrize("name", ["drift", "drift:a"])
def test_what_was_due_while_it_was_paused_is_not_made_up_for(name: str) -> None:
    found = at(NOW + DAY + SECOND, entry(), line(NOW), [name])
    assert found == Due(name="drift:a", due=NOW + DAY, cause=PAUSED)
    assert at(NOW + DAY + 60 * SECOND, entry(), line(found.due, cause=PAUSED)) is None
    assert at(NOW + DAY + SECOND, entry(paused=True), line(NOW)) == found


def test_what_waits_for_something_is_not_due() -> None:
    assert at(NOW + DAY, entry(waits="A_PLACE"), line(NOW)) is None
    assert at(NOW + DAY, entry(waits="A_PLACE"), None) is None


def test_a_clock_that_was_set_back_begins_nothing_twice() -> None:
    assert at(NOW - DAY, entry(), line(NOW)) is None


def test_what_was_due_first_comes_first() -> None:
    entries = [entry("0 5 * * *", name="late"), entry("0 3 * * *", name="early"), entry("0 5 * * *", name="later")]
    last = {one.name: line(NOW - DAY) for one in entries}
    assert [one.name for one in due(entries, last, NOW, [])] == ["early", "late", "later"]


def walked(cron: str, zone: ZoneInfo, first: datetime, days: int) -> list[datetime]:
    """What a scheduler runs that looks every five minutes."""
    one, last, ran = entry(cron, zone=zone), line(first, cause=BEGUN), []
    for step in range(days * 24 * 12):
        found = at(first + step * timedelta(minutes=5), one, last)
        if found:
            assert found.cause == SCHEDULE
            ran.append(found.due)
            last = line(found.due)
    return [when.astimezone(zone) for when in ran]


@pytest.mark.parametrize(
    ("first", "times"),
    [
        (datetime(2026, 3, 27, 12, tzinfo=UTC), ["02:30", "03:00", "02:30"]),
        (datetime(2026, 10, 23, 12, tzinfo=UTC), ["02:30", "02:30", "02:30"]),
    ],
    ids=["an hour is skipped", "an hour comes twice"],
)
def test_where_the_clocks_change_what_runs_daily_runs_daily(first: datetime, times: list[str]) -> None:
    ran = walked("30 2 * * *", BERLIN, first, 3)
    assert [f"{when:%H:%M}" for when in ran] == times
    assert len({when.date() for when in ran}) == 3


def test_where_the_clocks_change_what_runs_every_half_hour_does_so() -> None:
    for first in (datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)):
        ran = [when.astimezone(UTC) for when in walked("*/30 * * * *", BERLIN, first, 1)]
        assert Counter(b - a for a, b in pairwise(ran)) == {timedelta(minutes=30): len(ran) - 1}


def test_whoever_begins_in_the_hour_that_comes_twice_runs_nothing_of_before() -> None:
    began = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 02:15 for the second time; 02:30 has been
    one = entry("30 2 * * *", zone=BERLIN)
    assert one.next(began) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    assert at(began + SECOND, one, line(began, cause=BEGUN)) is None
