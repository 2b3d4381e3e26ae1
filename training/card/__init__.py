"""A version's card: one page that says what it is, how good, how fair and from what, for those who answer for it.

What it says is in `training.findings`, `training.group_findings` and `training.account`, as plain values; the
templates beside this file only lay them out, so that the HTML and the Markdown cannot say different things.
"""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from forewarn.evidence import Evidence
from forewarn.usecase import UseCase
from training import wording
from training.card import account, findings, group_findings
from training.card.sections import Given, Section, status

HERE = Path(__file__).parent


def card(
    case: UseCase,
    metadata: Mapping[str, Any],
    evidence: Evidence,
    verdict: Mapping[str, Any],
    pictures: Mapping[str, bytes],
) -> tuple[str, str]:
    """The card as one HTML file that needs nothing else, and as Markdown that refers to pictures/<name>.

    Args:
        metadata: as in the package's metadata.yaml; "version" is the version's name, once it has one.
        verdict: {"status", "checks": [{"gate", "passed", "says"}], "by", "why"}.
        pictures: of `training.pictures`, by file name.
    """
    given = Given(case=case, metadata=metadata, evidence=evidence, verdict=verdict)
    page = {
        "title": case.title,
        "name": case.name,
        "version": metadata.get("version", "not registered yet"),
        "created": wording.moment(str(metadata.get("created", ""))),
        "status": status(verdict),
        "mood": {"approved": "good", "rejected": "bad"}.get(verdict["status"], "waiting"),
        "tiles": findings.tiles(given),
        "sections": [section.with_pictures(pictures) for section in _sections(given)],
        "pictures": {name: b64encode(data).decode() for name, data in pictures.items()},
    }
    return _render("card.html.jinja", page, html=True), _render("card.md.jinja", page, html=False)


def _sections(given: Given) -> list[Section]:
    """All of the card, in the order in which it is read."""
    return [
        account.purpose(given),
        account.decision(given),
        findings.quality(given),
        findings.comparisons(given),
        findings.scores(given),
        group_findings.slices(given),
        group_findings.fairness(given),
        findings.directions(given),
        findings.importance(given),
        account.data(given),
        account.fields(given),
        account.search(given),
        account.provenance(given),
        account.limits(given),
    ]


def _render(template: str, page: Mapping[str, Any], *, html: bool) -> str:
    room = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        autoescape=html,  # noqa: S701  Markdown escapes by its own rules, below
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    room.filters["md"] = _markdown
    return room.get_template(template).render(page)


def _markdown(text: Any) -> str:
    """Text that neither begins HTML nor a link, nor ends a table's cell."""
    escaped = " ".join(str(text).split()).replace("\\", "\\\\")
    for sign in "|*_`[]<>":
        escaped = escaped.replace(sign, {"<": "&lt;", ">": "&gt;"}.get(sign, f"\\{sign}"))
    return escaped
