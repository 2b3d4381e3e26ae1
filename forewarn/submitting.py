"""What whoever hands a job to Ray's Jobs API must agree on: its command line, its environment, and that neither holds
a secret. Ray itself is not needed for it.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from forewarn import sources
from forewarn.errors import CannotStart
from forewarn.settings import PROJECT, Settings


def entrypoint(module: str, arguments: Sequence[str]) -> str:
    """The command line of a job."""
    return shlex.join(["python", "-m", module, *arguments])


def words(options: Mapping[str, str], flags: Mapping[str, bool]) -> list[str]:
    """Options that have a value, and flags that are set, as a command line has them."""
    named = [word for option, value in options.items() if value for word in (option, value)]
    return [*named, *(flag for flag, given in flags.items() if given)]


def runtime_env(settings: Settings) -> dict[str, Any]:
    """Where a job runs: in a copy of this code, with what it must know of this installation."""
    return {"working_dir": str(PROJECT), "env_vars": environment(settings)}


def environment(settings: Settings) -> dict[str, str]:
    """What a job must know of this installation. No secrets: Ray shows these on its dashboard."""
    further = {"FOREWARN_USE_CASES": str(settings.use_cases)} if settings.use_cases else {}
    return {"FOREWARN_HOME": str(settings.home), "FOREWARN_COMMIT": settings.git_sha, **further}


def refuse_secrets(arguments: Sequence[str]) -> None:
    """A job's command line stands on Ray's dashboard.

    Raises:
        CannotStart: there is a password in it.
    """
    if any("://" in argument and sources.described(argument) != argument for argument in arguments):
        raise CannotStart(
            "a job's command line can be read on Ray's dashboard, so it must hold no password; give it in "
            "FOREWARN_SOURCE_PASSWORD, here and where `forewarn up` runs"
        )
