"""Which version answers whom, and the steps from one state to the next."""

from dataclasses import replace

import pytest

from forewarn.errors import BadInput, NotAllowed
from forewarn.releases.roles import CHALLENGER, CHAMPION, ReleaseState, drawn

SERVING = ReleaseState(champion="v1")
SINCE = "2026-11-27T09:00:00.000000Z"
SECRET = bytes(32)


def canary(share: float = 10, **cohorts: tuple[str, ...]) -> ReleaseState:
    return replace(SERVING.started("v2", share=share, cohorts=cohorts, since=SINCE), release=7)


def test_a_release_from_its_start_to_its_promotion_and_back() -> None:
    state = canary().shared(50)
    assert (state.roles, state.share) == ({"champion": "v1", "challenger": "v2"}, 50)
    promoted = state.promoted("v2")
    assert promoted.roles == {"champion": "v2", "previous": "v1"}
    assert (promoted.share, promoted.cohorts, promoted.since) == (0, {}, "")
    assert promoted.rolled_back().roles == {"champion": "v1"}


def test_a_challenger_that_is_rolled_back_leaves_everything_else() -> None:
    state = replace(canary(), previous="v0", shadow="v3")
    assert state.rolled_back().roles == {"champion": "v1", "shadow": "v3", "previous": "v0"}


def test_a_paused_challenger_answers_nobody_until_it_has_a_share_again() -> None:
    state = canary(100).held()
    assert (state.splits, state.answers({}, 0.0)) == (False, CHAMPION)
    assert state.shared(100).answers({}, 0.999) == CHALLENGER


def test_a_shadow_that_is_started_or_promoted_is_no_shadow_any_more() -> None:
    state = SERVING.shadowed("v2", since=SINCE)
    assert state.started("v2", share=1, cohorts={}, since=SINCE).roles == {"champion": "v1", "challenger": "v2"}
    assert state.promoted("v2").roles == {"champion": "v2", "previous": "v1"}
    assert state.shadowed(None, since=SINCE).roles == {"champion": "v1"}


def test_a_shadow_goes_on_when_the_challenger_is_gone() -> None:
    both = canary().shadowed("v3", since="2026-11-28T09:00:00.000000Z")
    for state in (both.promoted("v2"), both.rolled_back()):
        assert (state.shadow, state.since) == ("v3", SINCE)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (lambda: ReleaseState().started("v1", share=1, cohorts={}, since=SINCE), "no champion"),
        (lambda: SERVING.started("v1", share=1, cohorts={}, since=SINCE), "the champion already"),
        (lambda: canary().started("v3", share=1, cohorts={}, since=SINCE), "v2 is the challenger"),
        (lambda: SERVING.shared(10), "no challenger"),
        (lambda: SERVING.held(), "no challenger"),
        (lambda: canary().held().held(), "paused already"),
        (lambda: canary().shadowed("v2", since=SINCE), "answers already"),
        (lambda: SERVING.promoted("v1"), "the champion already"),
        (lambda: canary().promoted("v3"), "v2 is the challenger"),
        (lambda: SERVING.rolled_back(), "no version before"),
    ],
)
def test_what_cannot_be_done_is_told(step: "object", says: str) -> None:
    with pytest.raises(NotAllowed, match=says):
        step()  # type: ignore[operator]


@pytest.mark.parametrize("share", [-1, 101])
def test_a_share_is_a_percentage(share: float) -> None:
    with pytest.raises(BadInput, match="no percentage"):
        canary().shared(share)


@pytest.mark.requirement("S1-43")
def test_a_cohort_goes_to_the_challenger_whatever_the_share() -> None:
    state = canary(0, department=("Sales", "R&D"))
    assert state.splits
    answers = [state.answers({"department": name}, 0.5) for name in ("Sales", "R&D", "HR", None)]
    assert answers == [CHALLENGER, CHALLENGER, CHAMPION, CHAMPION]


@pytest.mark.requirement("S2-63")
def test_a_share_of_the_subjects_and_each_of_them_always_the_same() -> None:
    state = canary(10)
    numbers = {f"subject {one}": drawn(SECRET, state.release, f"subject {one}") for one in range(20_000)}
    there = {name for name, number in numbers.items() if state.answers({}, number) == CHALLENGER}
    assert 0.09 < len(there) / len(numbers) < 0.11
    assert numbers["subject 7"] == drawn(SECRET, state.release, "subject 7")
    wider = {name for name, number in numbers.items() if state.shared(30).answers({}, number) == CHALLENGER}
    assert there < wider, "whoever was answered by the challenger still is when its share grows"


def test_another_release_or_installation_draws_anew() -> None:
    people = [f"subject {one}" for one in range(2000)]
    ours = [drawn(SECRET, 7, one) < 0.1 for one in people]
    for others in ([drawn(SECRET, 8, one) < 0.1 for one in people], [drawn(b"1" * 32, 7, one) < 0.1 for one in people]):
        both = sum(a and b for a, b in zip(ours, others, strict=True))
        assert both < 60, "about 1 % of them by chance, 20 of 2000"


def test_a_state_is_the_same_after_json_and_older_ones_are_read() -> None:
    state = canary(12.5, department=("Sales",))
    assert ReleaseState.of(state.told()) == state
    assert ReleaseState.of({"champion": "v3", "by": "ada", "why": "fine", "at": SINCE}).roles == {"champion": "v3"}
