"""The DataLoader of S2-11: its names and its config keys, over `forewarn.sources`. For notebooks."""

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from traceback import format_tb
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from forewarn import sources
from forewarn.errors import BadInput, ForewarnError
from forewarn.usecase import UseCase

if TYPE_CHECKING:  # pandas takes half a second to import
    from pandas import DataFrame

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


def handled(method: Callable[P, T]) -> Callable[P, T]:
    """Log what went wrong with a source. Our own errors go on as they are, any other becomes one BadInput."""

    @wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except ForewarnError as error:
            log.warning("%s: %s", method.__name__, error)
            raise
        except Exception as error:  # noqa: BLE001 - that is what it is for
            # Where, but not the words: a driver's own may hold the address, password and all.
            kind = type(error).__name__
            log.error("%s: %s\n%s", method.__name__, kind, "".join(format_tb(error.__traceback__)))
            raise BadInput(f"{method.__name__} failed ({kind}); the log says where; mend the source") from None

    return guarded


class LoaderConfig(BaseModel):
    """What a DataLoader is told (S2-13): one source, and columns that must be there beside the use case's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    csv_path: str = ""
    db_type: Literal["", "postgresql", "mysql"] = ""
    db_host: str = "127.0.0.1"
    db_port: int | None = None
    db_name: str = ""
    db_user: str = ""
    query: str = ""
    required_columns: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_source(self) -> "LoaderConfig":
        if bool(self.csv_path) == bool(self.db_type):
            raise ValueError("name one source: csv_path, or db_type with db_host and db_port")
        return self

    def address(self, table: str) -> str:
        """The source as `sources.load` takes it; `table` is read where there is no query.

        A password comes from FOREWARN_SOURCE_PASSWORD, never from a config.
        """
        if self.csv_path:
            return self.csv_path
        login = f"{quote(self.db_user, safe='')}@" if self.db_user else ""
        port = f":{self.db_port}" if self.db_port else ""
        return f"{self.db_type}://{login}{self.db_host}{port}/{self.db_name}{'' if self.query else '#' + table}"


class DataLoader:
    """Rows of one use case as a DataFrame: values as the source holds them, so CSV's are text.

    Example:
        loader = DataLoader.from_config(case, {"db_type": "postgresql", "db_host": "db", "db_name": "crm"})
        frame = loader.load()
    """

    def __init__(self, case: UseCase, config: LoaderConfig | None = None) -> None:
        self.case = case
        self.config = config

    @classmethod
    def from_config(cls, case: UseCase, config: Mapping[str, Any]) -> "DataLoader":
        """A loader of the source that the config names; its keys are `LoaderConfig`'s.

        Raises:
            BadInput: an unknown key, no source, or two; names each.
        """
        try:
            return cls(case, LoaderConfig.model_validate(dict(config)))
        except ValidationError as error:
            said = [" ".join([*map(str, found["loc"]), found["msg"]]) for found in error.errors(include_url=False)]
            raise BadInput(f"{case.name}: the loader's config: {'; '.join(said)}") from None

    @handled
    def load(self) -> "DataFrame":
        """The rows of the config's source, its columns checked; a table is the one named as the use case.

        Raises:
            BadInput: there is no config; or as `sources.load` and `validate_schema`.
        """
        if self.config is None:
            raise BadInput(f"{self.case.name}: this loader has no config; make it with DataLoader.from_config")
        frame = _frame(sources.load(self.config.address(self.case.name), query=self.config.query))
        self.validate_schema(frame)
        return frame

    @handled
    def load_from_csv(self, filepath: str | Path) -> "DataFrame":
        """A CSV or Parquet file, or a folder of them.

        Raises:
            BadInput: as `sources.load`.
        """
        return _frame(sources.load(filepath))

    @handled
    def load_from_database(self, query: str, connection_string: str) -> "DataFrame":
        """What one SELECT finds at postgresql://user@host/database or mysql://user@host/database.

        Raises:
            BadInput: as `sources.load`.
        """
        return _frame(sources.load(connection_string, query=query))

    @handled
    def load_from_s3(self, bucket: str, key: str) -> "DataFrame":
        """A CSV or Parquet object; AWS_ENDPOINT_URL names another store than Amazon's.

        Raises:
            BadInput: as `sources.load`.
        """
        return _frame(sources.load(f"s3://{bucket}/{key}"))

    @handled
    def validate_schema(self, df: "DataFrame") -> None:
        """Hold the columns against the use case and the config's `required_columns`.

        Raises:
            BadInput: a line for every problem.
        """
        also = self.config.required_columns if self.config else ()
        sources.check(self.case, map(str, df.columns), also=also)


def _frame(rows: list[dict[str, Any]]) -> "DataFrame":
    import pandas as pd

    return pd.DataFrame(rows)
