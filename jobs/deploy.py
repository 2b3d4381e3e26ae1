"""serve_config.yaml, put on a running Ray through Serve's declarative REST API."""

import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from forewarn.errors import BadInput, CannotStart
from forewarn.settings import PROJECT, Settings
from forewarn.usecase import UseCase

CONFIG = PROJECT / "serve_config.yaml"
READY_SECONDS = 180
POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Application:
    """What is to run, as the file says it."""

    plan: dict[str, Any]

    @classmethod
    def read(cls, path: Path, settings: Settings) -> "Application":
        """Read the file; FOREWARN_PORT goes before its port.

        Raises:
            BadInput: not YAML, or not a Serve config with one application.
        """
        try:
            plan = yaml.safe_load(path.read_text())
            plan["http_options"]["port"] = settings.port or int(plan["http_options"]["port"])
            if not isinstance(plan["applications"][0]["args"]["use_cases"], list):
                raise TypeError("use_cases is not a list")
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, IndexError) as error:
            raise BadInput(f"{path}: not a serve config ({error!r}); compare it with serve_config.yaml") from None
        return cls(plan=plan)

    @property
    def port(self) -> int:
        """Of the HTTP door."""
        return int(self.plan["http_options"]["port"])

    @property
    def url(self) -> str:
        """Of the HTTP door."""
        return f"http://{self.plan['http_options'].get('host', '127.0.0.1')}:{self.port}"

    @property
    def use_cases(self) -> list[str]:
        """Those that are to be served."""
        return list(self._args["use_cases"])

    @property
    def default_use_case(self) -> str:
        """The one that answers at the root."""
        return str(self._args.get("default_use_case") or self.use_cases[0])

    @property
    def _args(self) -> dict[str, Any]:
        args: dict[str, Any] = self.plan["applications"][0]["args"]
        return args

    def deploy(self, dashboard: str) -> None:
        """Put the file and wait until every use case answers.

        Raises:
            CannotStart: Ray refused the file, or the application did not get ready; with Ray's own words.
        """
        try:
            put = httpx.put(f"{dashboard}/api/serve/applications/", json=self.plan, headers=_auth(), timeout=60)
        except httpx.HTTPError as error:
            raise CannotStart(f"Ray's dashboard at {dashboard} does not answer ({error!r}); try again") from None
        if put.is_error:
            raise CannotStart(f"Ray refused the application: {_last_line(put.text)}")
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(f"{self.url}/ready"):
            if failure := _failure(dashboard):
                raise CannotStart(f"the application cannot be deployed: {failure}")
            if time.monotonic() > deadline:
                raise CannotStart(f"the service was not ready after {READY_SECONDS} s; look at {dashboard}/#/serve")
            time.sleep(POLL_SECONDS)

    def curl(self, case: UseCase, key: str) -> str:
        """A command that gets a prediction."""
        body = json.dumps(dict(case.examples[0].row))
        return (
            f"curl -X POST {self.url}/v1/{case.name}/predict -H {shlex.quote(f'X-API-Key: {key}')} "
            f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
        )


def _auth() -> dict[str, str]:
    """The header that Ray's dashboard wants when RAY_AUTH_MODE=token."""
    from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled

    headers: dict[str, str] = get_auth_headers_if_auth_enabled({})
    return headers


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _failure(dashboard: str) -> str:
    """Why Ray gave the application up; empty while it has not."""
    try:
        details = httpx.get(f"{dashboard}/api/serve/applications/", headers=_auth(), timeout=5).json()
    except (httpx.HTTPError, ValueError):
        return ""
    states = details.get("applications", {}).values()
    return " ".join(_last_line(app["message"]) for app in states if app.get("status") == "DEPLOY_FAILED")


def _last_line(text: str) -> str:
    """Of a traceback, what went wrong."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")
