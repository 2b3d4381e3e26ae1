"""What may be ordered of a job over HTTP: how rows are to be scored, and which may be read."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from forewarn import scoring, sources, tables
from forewarn.errors import BadInput
from forewarn.settings import Settings
from forewarn.usecase import UseCase


class Wishes(BaseModel):
    """How the rows are to be scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    explain: bool = Field(default=False, description="Add reasons and contributions.")
    version: str = Field(default="", pattern=r"^(v?[0-9]{1,9})?$", description="Such as v3; else the champion.")
    nightly: bool = Field(default=False, description="Keep the scores, to be told where no version can answer.")
    format: Literal["csv", "parquet"] = Field(default="csv", description="Of the result.")


class NewJob(Wishes):
    """Which rows: files below the inbox, or a database or S3 URI that the operator listed."""

    input: str = Field(min_length=1, max_length=2000)
    query: str = Field(default="", max_length=20_000, description="SELECT to run, where the input is a database.")


def allowed(uri: str, settings: Settings) -> str:
    """An input that the operator allows jobs over HTTP to read: they read it with the rights of the service.

    Raises:
        BadInput: it is none.
    """
    if sources.is_local(uri):
        return str(_inside(settings.inbox_folder, uri))
    if sources.described(uri) != uri:
        raise BadInput(
            "input: must hold no password and no options; give the password in FOREWARN_SOURCE_PASSWORD, where the "
            "service runs"
        )
    if not any(_below(uri, one.strip()) for one in settings.inbox_uris.split(",") if one.strip()):
        raise BadInput(
            "input: is no place that jobs may read; ask the operator to list it in FOREWARN_INBOX_URIS, or upload "
            "the rows as text/csv"
        )
    return uri


def _inside(inbox: Path, named: str) -> Path:
    """A file of the inbox. Of what lies elsewhere nothing is told, not even whether it is there."""
    try:
        path = (inbox / sources.path_of(named)).resolve()
        there = path.is_relative_to(inbox.resolve()) and path.exists()
    except (OSError, ValueError, RuntimeError):
        there = False
    if not there:
        raise BadInput(
            "input: no such file or folder in the inbox; put it there (FOREWARN_INBOX, else inbox in the home), or "
            "upload the rows as text/csv"
        )
    return path


def _below(uri: str, listed: str) -> bool:
    """Whether a URI is one that was listed, or below it."""
    if any(part in ("..", ".") for part in uri.split("/")):
        return False
    return uri == listed or uri.startswith(listed if listed.endswith("/") else (f"{listed}/", f"{listed}#"))


def hold_against(case: UseCase, raw: bytes) -> None:
    """Told at once, and not by a job that fails minutes later."""
    try:
        names = tables.rows_of_csv(raw, most=1)[0].keys()
        tables.check(scoring.profile(case, dict.fromkeys(names, "")), names)
    except BadInput as error:
        raise BadInput(f"body: {error}") from None
