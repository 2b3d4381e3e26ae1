import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

import pytest

from forewarn import scoring
from forewarn.quality import quality_report
from forewarn.tasks import Classification
from forewarn.usecase import UseCase
from tests.conftest import CASES
from tests.training.test_pictures import AMOUNTS, EVENTS, KINDS, NOTHING, example
from training import wording
from training.card import card

pytestmark = pytest.mark.slow

VOID = {"meta", "img", "br", "link"}
# A card does not look into its pictures.
DRAWN = dict.fromkeys(
    [f"{name}.png" for name in ("confusion_matrix", "importance", "fairness", "forecasts", "search", "slices")], b"png"
)


class Page(HTMLParser):
    """What is on a page: its text, its tags with attributes; refuses tags that are not closed in their order."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def told(case: UseCase) -> tuple[dict[str, Any], dict[str, Any]]:
    """A version's metadata, and what was decided on it."""
    events = isinstance(case.task, Classification)
    rows = scoring.validate(case, case.sample(60, seed=1)).values
    metadata = {
        "version": "v7",
        "algorithm": "+".join(case.task.algorithms),
        "first_share": 0.75,
        "rule": {"threshold": 0.2134} if events else {"below": 0.52, "above": 1.31, "coverage": 0.9},
        "fields": [spec.name for spec in case.inputs[:4]],
        "parameters": {name: {"C": 0.0123456, "max_depth": 4} for name in case.task.algorithms},
        "trials": 40,
        "seed": 11,
        "data": {"name": "people.csv", "sha256": "ab" * 32, "rows": 900, "rejected": 3},
        "quality": {
            **quality_report(case, rows).to_json(),
            "violations": ["age: 7.0% of its values are missing, at most 5% may be"],
            "override": "the source lost them in May",
        },
        "environment": {"python": "3.11.9", "xgboost": "3.2.0"},
        "git_sha": "0123abcd",
        "created": "2026-11-22T07:00:00+00:00",
        "duration_s": 412.3,
        "mlflow_run": "run-1",
    }
    checks = [
        {"gate": "Floors", "passed": True, "says": "ROC-AUC 0.812, at least 0.75 is asked"},
        {"gate": "Fairness", "passed": False, "says": "recall of one group is 31 points above that of all others"},
    ]
    return metadata, {"status": "pending_approval", "checks": checks, "by": "", "why": ""}


@cache
def both(case: UseCase) -> tuple[Page, str, str]:
    """The page, its HTML and the Markdown."""
    metadata, verdict = told(case)
    html, markdown = card(case, metadata, example(case), verdict, DRAWN)
    return Page(html), html, markdown


@KINDS
def test_the_card_says_what_was_decided_and_why(case: UseCase) -> None:
    page, _, markdown = both(case)
    _, verdict = told(case)
    for check in verdict["checks"]:
        assert check["gate"] in page.text
        assert check["says"] in page.text
        assert check["says"] in markdown
    assert "Waits for a person's approval" in page.text
    assert case.title in page.text
    assert "v7" in page.text
    assert "Not to be used for: automatic decisions about people" in page.text


@pytest.mark.parametrize(
    ("status", "words"),
    [("approved", "Approved by Ada. Why: it is fair"), ("rejected", "Rejected by Ada. Why: it is fair")],
)
def test_who_decided_and_why_is_told(status: str, words: str) -> None:
    metadata, verdict = told(EVENTS)
    decided = {**verdict, "status": status, "by": "Ada", "why": "it is fair"}
    html, markdown = card(EVENTS, metadata, NOTHING, decided, {})
    assert words in Page(html).text
    assert words in markdown


@pytest.mark.requirement("S2-35")
@KINDS
def test_every_metric_stands_with_its_interval_and_beside_the_trivial_answer(case: UseCase) -> None:
    page, _, markdown = both(case)
    evidence = example(case)
    for name, found in evidence.intervals.items():
        told = wording.estimate(case.task, name, found)
        assert f"{wording.metric(name).label} " in page.text
        assert told in page.text, name
        assert told in markdown, name
    for name, mean in evidence.baselines.items():
        assert f"| {wording.rival(name)} | {wording.shown(case.task, case.task.metric, mean)} |" in markdown
    for rival in evidence.comparisons:
        assert wording.rival(rival.against) in page.text


@pytest.mark.requirement("S2-36")
@KINDS
def test_every_field_has_its_importance_and_every_group_its_size(case: UseCase) -> None:
    _, _, markdown = both(case)
    evidence = example(case)
    for field, value in evidence.importance.items():
        assert f"| {field} | {wording.figure(value)} |" in markdown
    for part in evidence.slices:
        assert f"| {part.field}: {part.group} | {part.rows} |" in markdown


@KINDS
def test_groups_too_small_and_broken_limits_are_named(case: UseCase) -> None:
    page, _, markdown = both(case)
    report = example(case).fairness
    assert report.too_small
    assert report.breaches
    for group in report.too_small:
        assert f"Too small to judge: {group}" in page.text
        assert f"too small: {group}" in page.text  # among the limits
    assert page.text.count("✗ beyond the limit") == markdown.count("✗ beyond the limit") == len(report.breaches)


@pytest.mark.requirement("S2-37")
@KINDS
def test_the_data_the_parameters_and_the_provenance_are_told(case: UseCase) -> None:
    page, _, _ = both(case)
    metadata, _ = told(case)
    wanted = [metadata["data"]["sha256"], "people.csv", "the source lost them in May", "0123abcd", "3.11.9"]
    wanted += [*metadata["quality"]["violations"], "2026-11-22 07:00 UTC", "412 s", "max_depth"]
    assert [word for word in wanted if word not in page.text] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_model_never_receives_and_what_is_sensitive_is_told(case: UseCase) -> None:
    page, _, _ = (
        both(case) if case in (EVENTS, AMOUNTS) else (Page(card(case, {}, NOTHING, told(case)[1], {})[0]), "", "")
    )
    never, sensitive = (page.text.split(mark)[1].split(".")[0] for mark in ("never receives:", "no answer repeats:"))
    protected = [spec.wire for spec in case.fields if spec.name in case.protected]
    assert sorted(never.strip().split(", ")) == sorted(protected or ["none"])
    told_of = {spec.wire for spec in case.inputs if spec.name in case.sensitive}
    assert {*sensitive.strip().split(", ")} == (told_of or {"none"})


@KINDS
def test_the_page_needs_nothing_else_and_can_be_heard(case: UseCase) -> None:
    page, html, markdown = both(case)
    assert not page.all("script")
    assert not re.search(r"https?://|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]+", "", html))
    images = page.all("img")
    assert len(images) == len(re.findall(r"\]\(pictures/", markdown))
    assert len(images) >= 4
    assert all(len(str(one["alt"])) > 30 and str(one["src"]).startswith("data:image/png;base64,") for one in images)
    assert {one["scope"] for one in page.all("th")} == {"col", "row"}
    assert len(page.all("h1")) == 1
    anchors = {one["id"] for one in page.all("h2")}
    assert {str(one["href"])[1:] for one in page.all("a")} == anchors


@KINDS
def test_pictures_that_were_not_drawn_are_not_shown(case: UseCase) -> None:
    metadata, verdict = told(case)
    html, markdown = card(case, metadata, example(case), verdict, {})
    assert not Page(html).all("img")
    assert "pictures/" not in markdown


@KINDS
def test_a_version_of_which_little_is_known_has_a_card_too(case: UseCase) -> None:
    html, markdown = card(case, {}, NOTHING, {"status": "rejected", "checks": []}, {})
    assert "not registered yet" in Page(html).text
    assert "Rejected" in markdown


def test_what_people_wrote_is_shown_as_they_wrote_it_and_never_run() -> None:
    bad = "<script>alert(1)</script> | [x](http://x.example)"
    metadata, verdict = told(EVENTS)
    case = replace(EVENTS, title=bad)
    told_so = {**verdict, "by": bad, "why": bad, "checks": [{"gate": bad, "passed": True, "says": bad}]}
    metadata = {**metadata, "version": bad, "data": {"name": bad}, "quality": {"override": bad, "violations": [bad]}}
    html, markdown = card(case, metadata, replace(NOTHING, importance={bad: 1.0}), told_so, DRAWN)
    page = Page(html)
    assert not page.all("script")
    assert page.text.count(bad) >= 8
    assert "<script" not in markdown
    assert "[x](" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


@pytest.mark.parametrize(
    ("value", "says"),
    [(0.8432, "0.843"), (12.345, "12.3"), (1234.5, "1,234"), (-0.0213, "−0.021"), (0.00213, "0.0021"), (0.0, "0")],
)
def test_numbers_keep_three_digits(value: float, says: str) -> None:
    assert wording.figure(value) == says
    assert wording.figure(float("nan")) == wording.NONE
