"""schedule.yaml: which runs there are, checked when it is read, and what each command is on this installation."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from forewarn import usecases
from forewarn.errors import BadInput, NotFound
from forewarn.releases import Releases
from forewarn.settings import PROJECT, Settings
from forewarn.usecase import UseCase
from jobs.due import Entry

CONFIG = PROJECT / "schedule.yaml"
PLACE = re.compile(r"\{([^{}]*)\}")
ENVIRONMENT = re.compile(r"env:([A-Z][A-Z0-9_]*)")


class Planned(BaseModel):
    """A run as the file says it."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,59}$")]
    cron: str
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    each_use_case: bool = False
    missed: Literal["once", "skip"] = "once"
    paused: bool = False
    minutes: Annotated[float, Field(gt=0, le=7 * 24 * 60)] = 60.0
    good_codes: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        try:
            if len(cron.split()) != 5:
                raise CronSimError("Wrong number of fields")
            next(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration) as error:
            said = str(error) or "it is never due"
            example = "minute, hour, day, month and weekday, such as '30 1 * * *'"
            raise ValueError(f"{cron!r} is no cron expression ({said}); write {example}") from None
        return cron

    @model_validator(mode="after")
    def _has_places(self) -> "Planned":
        known = {"home", "use_case"} if self.each_use_case else {"home"}
        places = {place for word in self.command for place in PLACE.findall(word)}
        for place in sorted(places):
            if place not in known and not ENVIRONMENT.fullmatch(place):
                further = "" if self.each_use_case else ", and with each_use_case: true {use_case}"
                raise ValueError(f"command: {{{place}}} is not known; there is {{home}}, {{env:NAME}}{further}")
        if self.each_use_case and "use_case" not in places:
            raise ValueError("command: it is for each use case and names none; write {use_case} where its name goes")
        return self

    def entry(self, case: UseCase | None, zone: ZoneInfo, places: "Places") -> Entry:
        """For a use case; None where it is for none."""
        words, waits = places.filled(self.command, case)
        return Entry(
            name=f"{self.name}:{case.name}" if case else self.name,
            base=self.name,
            cron=self.cron,
            zone=zone,
            words=words,
            missed=self.missed,
            limit=timedelta(minutes=self.minutes),
            good_codes=self.good_codes,
            paused=self.paused,
            waits=waits,
        )


class Plan(BaseModel):
    """The file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: str = "UTC"
    runs: tuple[Planned, ...]

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"there is no time zone {name!r}; write UTC, or one such as Europe/Berlin") from None
        return name

    @field_validator("runs")
    @classmethod
    def _are_different(cls, runs: tuple[Planned, ...]) -> tuple[Planned, ...]:
        names = [one.name for one in runs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two are named {twice}; rename one of them")
        return runs

    @classmethod
    def read(cls, settings: Settings) -> "Plan":
        """This installation's.

        Raises:
            BadInput: naming the field, and what it must be.
        """
        path = settings.schedule or CONFIG
        try:
            raw = yaml.safe_load(path.read_text())
            return cls.model_validate(raw)
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror}); FOREWARN_SCHEDULE names another") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}: is no YAML ({' '.join(str(error).split())}); compare it with {CONFIG}") from None
        except ValidationError as error:
            raise BadInput(f"{path}: {_trouble(error, raw)}; docs/schedule.md names every field") from None

    def entries(self, settings: Settings, environment: Mapping[str, str]) -> list[Entry]:
        """Every run; one that is for each use case once for every use case that has a champion, or waits for one."""
        places, zone = Places(settings, environment), ZoneInfo(self.timezone)
        cases = list(usecases.every().values())
        return [one.entry(case, zone, places) for one in self.runs for case in (cases if one.each_use_case else [None])]


class Places:
    """What stands for {home}, {use_case} and {env:NAME} in a command."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]):
        self._home, self._environment = str(settings.home), environment
        self._releases = Releases(settings.packages)

    def filled(self, command: Sequence[str], case: UseCase | None) -> tuple[tuple[str, ...], str]:
        """The words, and what they wait for."""
        known = {"home": self._home, **({"use_case": case.name} if case else {})}
        wanted = [name for word in command for name in ENVIRONMENT.findall(word)]
        found = {name: self._of(name, case) for name in wanted}
        missing = [name for name, value in found.items() if not value]
        if case and not self._releases.champion(case):
            missing.insert(0, "a champion")
        outer = {f"env:{name}": value for name, value in found.items()}
        return tuple(_put(_put(word, outer), known) for word in command), " and ".join(missing)

    def _of(self, name: str, case: UseCase | None) -> str:
        """A use case's own, NAME_USECASE, goes before everybody's."""
        own = self._environment.get(f"{name}_{case.name.upper()}", "") if case else ""
        return own or self._environment.get(name, "")


def named(entries: Sequence[Entry], name: str) -> Entry:
    """The entry of that name.

    Raises:
        NotFound: there is none; the message lists those there are.
        BadInput: there are several, one for each use case.
    """
    for entry in entries:
        if entry.name == name:
            return entry
    several = [entry.name for entry in entries if entry.base == name]
    if several:
        raise BadInput(f"{name} is for each use case; give one of {', '.join(several)}")
    raise NotFound(f"there is no run {name!r}; there is {', '.join(entry.name for entry in entries)}")


def _put(word: str, known: Mapping[str, str]) -> str:
    return PLACE.sub(lambda found: known.get(found[1], found[0]), word)


def _trouble(error: ValidationError, raw: Any) -> str:
    first = error.errors()[0]
    where = list(first["loc"])
    if where[:1] == ["runs"] and len(where) > 1:
        run = raw["runs"][where[1]]
        whose = f" ({run['name']})" if isinstance(run, dict) and "name" in run else ""
        where[:2] = [f"runs.{where[1]}{whose}"]
    return ": ".join([*map(str, where), first["msg"].removeprefix("Value error, ")])
