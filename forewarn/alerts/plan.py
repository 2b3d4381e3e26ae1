"""The file that says whom to tell: FOREWARN_ALERTS, else alerts.yaml in the home. No secret stands in it."""

from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from forewarn.alerts import INSTALLATION
from forewarn.alerts.channels import Email, PagerDuty, Slack, Webhook
from forewarn.errors import BadInput
from forewarn.settings import Settings

Kinds = Annotated[Slack | PagerDuty | Email | Webhook, Field(discriminator="kind")]


class Plan(BaseModel):
    """The file that says whom to tell.

    Attributes:
        runbook: address of a page; an alert's link is it, #, and the alert's kind.
        installation: whose alerts these are, where a channel hears of several installations.
        cooldown_hours: what is told is not told again sooner, unless it got worse.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runbook: str = ""
    installation: str = Field(default=INSTALLATION, min_length=1, max_length=64)
    cooldown_hours: float = Field(default=24.0, ge=0)
    channels: tuple[Kinds, ...] = ()

    @model_validator(mode="after")
    def _names_are_their_own(self) -> Self:
        names = [channel.name for channel in self.channels]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two channels are named {', '.join(twice)}")
        return self

    @classmethod
    def read(cls, settings: Settings) -> "Plan":
        """This installation's; without a file nobody is told.

        Raises:
            BadInput: the file is not there, or says what no channel understands. Its values are not repeated.
        """
        file = settings.alerts_file
        if file is None:
            return cls()
        try:
            return cls.model_validate(yaml.safe_load(file.read_text()) or {})
        except (OSError, yaml.YAMLError, ValidationError, ValueError) as error:
            raise BadInput(f"{file}: {_fault(error)}; compare it with docs/alerts.md") from None


def _fault(error: Exception) -> str:
    """Where, and what is wrong there; what stands there is not repeated, for it may be a secret."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {_remedy(first)}"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1} is no YAML"
    return str(error.strerror) if isinstance(error, OSError) else "is no text in YAML"


def _remedy(first: Any) -> str:
    if first["type"] == "extra_forbidden":
        return "there is no such field; addresses, keys and passwords come from …_env or …_file"
    return str(first["msg"]).removeprefix("Value error, ")
