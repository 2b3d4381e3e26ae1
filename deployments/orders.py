"""Jobs that were ordered over HTTP: what may be ordered, where it lies, how it stands.

Each has a folder of the home for itself, which holds the order, an upload until it is scored, and what came out. Any
replica can tell of any job.
"""

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Literal, TypeVar

import orjson
from pydantic import BaseModel

from deployments.foreman import Foreman, Seen
from deployments.wishes import NewJob, Wishes, allowed, hold_against
from forewarn import sources, state, submitting
from forewarn.databases import written
from forewarn.errors import ClusterUnavailable, NotFinished, NotFound, Overloaded
from forewarn.keys import Key
from forewarn.manifest import Manifest
from forewarn.settings import Settings
from forewarn.usecase import UseCase

SUBMIT_SECONDS = 60.0
LOOK_SECONDS = 15.0
ORDER, REPORT, ENDED, UPLOAD = "order.json", "report.json", "ended.json", "input.csv"
OVER = ("succeeded", "failed", "cancelled")
ID_LENGTH = 32
# A job's processes hold most of a gigabyte, and share the CPUs with the service.
MOST_AT_ONCE = 4
COUNTS = ("rows", "scored", "rejected", "opted_out")
Found = TypeVar("Found")
Note = Callable[[str], Awaitable[None]]


class Job(BaseModel):
    """How a job stands. `progress` are rows that are done, as long as it runs; counts come when it has succeeded."""

    id: str
    use_case: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    input: str
    ordered_at: str
    ordered_by: str
    began_at: str | None = None
    ended_at: str | None = None
    progress: int | None = None
    counts: dict[str, int] | None = None
    error: str | None = None


class Orders:
    """Takes orders, and tells of them."""

    def __init__(self, settings: Settings, foreman: Foreman):
        self._settings, self._foreman = settings, foreman
        # Of their own: threads that wait for a cluster that hangs must not be those of everybody.
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="orders")

    def input_of(self, asked: NewJob) -> str:
        """What the job is to read, as `allowed`."""
        return allowed(asked.input, self._settings)

    async def place(
        self, case: UseCase, wishes: Wishes, given: str | bytes, key: Key, note: Note, *, query: str = ""
    ) -> Job:
        """Order a job on this input, or on these rows as CSV; `note` writes it into the log before anybody takes it.

        Raises:
            BadInput: these are no rows of the use case.
            Overloaded: enough jobs are under way.
            ClusterUnavailable: nobody takes it now, and nothing of it is kept.
        """
        if isinstance(given, bytes):
            await asyncio.to_thread(hold_against, case, given)
        if await self._patiently(LOOK_SECONDS, self._under_way) >= MOST_AT_ONCE:
            raise Overloaded(f"{MOST_AT_ONCE} jobs are under way; order again when one of them is over, or cancel one")
        folder, given_up = self._settings.orders / secrets.token_hex(ID_LENGTH // 2), Event()
        try:
            arguments = await asyncio.to_thread(self._written, folder, case, wishes, given, key, query)
            await note(folder.name)
            await self._patiently(SUBMIT_SECONDS, self._submit, folder.name, arguments, given_up)
        except BaseException:
            given_up.set()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return _job(_read(folder, ORDER), Seen(status="queued"))

    async def look(self, case: UseCase, job: str) -> Job:
        """How it stands.

        Raises:
            NotFound: this use case has no such job.
            ClusterUnavailable: that cannot be told now.
        """
        folder = self._folder(case, job)
        return await self._patiently(LOOK_SECONDS, self._seen, folder)

    async def listed(self, case: UseCase, *, most: int) -> list[Job]:
        """The newest ones, newest first."""
        return await self._patiently(LOOK_SECONDS, self._listed, case, most)

    async def result(self, case: UseCase, job: str, *, rejects: bool = False) -> Path:
        """The file with the answers, or the one with the rejects.

        Raises:
            NotFound: as `look`; or its files are gone.
            NotFinished: the job is not done, or came to no result.
        """
        seen = await self.look(case, job)
        if seen.status != "succeeded":
            raise NotFinished(f"job {job} is {seen.status}: there is no result; ask {_path(case, job)} how it stands")
        folder = self._folder(case, job)
        output = _output(folder, _read(folder, ORDER)["format"])
        path = output.with_name("scores.rejects.csv") if rejects else output
        if not path.is_file():
            raise NotFound(f"job {job}: its files are gone")
        return path

    async def end(self, case: UseCase, job: str) -> Job:
        """Cancel it; where it is over, remove all there is of it. How it stood before.

        Raises:
            NotFound, ClusterUnavailable: as `look`.
        """
        folder, seen = self._folder(case, job), await self.look(case, job)
        if seen.status not in OVER:
            await self._patiently(LOOK_SECONDS, self._foreman.stop, job)
            (folder / UPLOAD).unlink(missing_ok=True)
            return seen
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await self._patiently(LOOK_SECONDS, self._foreman.forget, job)
        return seen

    def _folder(self, case: UseCase, job: str) -> Path:
        """A job of another use case is none."""
        known = len(job) == ID_LENGTH and set(job) <= set("0123456789abcdef")
        folder = self._settings.orders / job
        if not known or _read(folder, ORDER).get("use_case") != case.name:
            raise NotFound(f"{case.name}: there is no job {job[:40]}")
        return folder

    def _written(
        self, folder: Path, case: UseCase, wishes: Wishes, given: str | bytes, key: Key, query: str
    ) -> list[str]:
        """Write the order down, and the upload; the job's arguments."""
        folder.mkdir(parents=True, mode=0o700)
        uploaded = isinstance(given, bytes)
        if isinstance(given, bytes):
            (folder / UPLOAD).touch(mode=0o600)
            (folder / UPLOAD).write_bytes(given)
        data = str(folder / UPLOAD) if uploaded else str(given)
        told = {
            "id": folder.name,
            "use_case": case.name,
            "input": "upload" if uploaded else sources.described(data),
            "ordered_at": written(datetime.now(UTC)),
            "ordered_by": key.name,
            "format": wishes.format,
        }
        state.write_json(folder / ORDER, told)
        options = {"--input": data, "--output": str(_output(folder, wishes.format)), "--query": query,
                   "--version": wishes.version, "--report": str(folder / REPORT)}  # fmt: skip
        flags = {"--explain": wishes.explain, "--nightly": wishes.nightly, "--consume": uploaded}
        arguments = [case.name, *submitting.words(options, flags)]
        submitting.refuse_secrets(arguments)
        return arguments

    def _submit(self, job: str, arguments: list[str], given_up: Event) -> None:
        """What is taken after whoever ordered it has gone is stopped again."""
        entrypoint = submitting.entrypoint("jobs.score", arguments)
        self._foreman.submit(job, entrypoint, submitting.runtime_env(self._settings))
        if given_up.is_set():
            self._foreman.stop(job)

    def _under_way(self) -> int:
        """Of all use cases."""
        left = (path.parent for path in self._settings.orders.glob(f"*/{ORDER}"))
        return sum(self._seen(one).status not in OVER for one in left if not (one / ENDED).exists())

    def _listed(self, case: UseCase, most: int) -> list[Job]:
        orders = [_read(path.parent, ORDER) for path in self._settings.orders.glob(f"*/{ORDER}")]
        mine = sorted((one for one in orders if one.get("use_case") == case.name), key=lambda one: one["ordered_at"])
        return [self._seen(self._settings.orders / one["id"]) for one in mine[: -most - 1 : -1]]

    def _seen(self, folder: Path) -> Job:
        order, ended = _read(folder, ORDER), _read(folder, ENDED)
        if ended:
            return Job.model_validate(ended)
        seen = self._foreman.look(folder.name)
        report = _read(folder, REPORT)
        if seen is None:
            seen = Seen(status="succeeded" if report else "failed", message="the cluster that ran it is gone")
        job = _job(order, seen, report)
        if seen.status in OVER:
            state.write_json(folder / ENDED, job.model_dump())
            (folder / UPLOAD).unlink(missing_ok=True)
        elif seen.status == "running":
            job = job.model_copy(update={"progress": Manifest.of(_output(folder, order["format"])).rows()})
        return job

    async def _patiently(self, seconds: float, call: Callable[..., Found], *args: Any) -> Found:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._threads, partial(call, *args))
        except TimeoutError:
            raise ClusterUnavailable(f"the cluster did not answer within {seconds:.0f} s; try again soon") from None


def _job(order: dict[str, Any], seen: Seen, report: dict[str, Any] | None = None) -> Job:
    counts = {name: int(report[name]) for name in COUNTS} if report and seen.status == "succeeded" else None
    error = _sentence(seen.message) if seen.status == "failed" else None
    told = {name: value for name, value in order.items() if name in Job.model_fields}
    return Job(
        **told, status=seen.status, began_at=_time(seen.began_ms), ended_at=_time(seen.ended_ms), counts=counts,
        error=error,
    )  # fmt: skip


def _sentence(message: str) -> str:
    """Of the end of a job's log, what Forewarn said."""
    ours = [line.strip().removeprefix("✗ ") for line in message.splitlines() if line.strip().startswith("✗ ")]
    return (ours or message.strip().splitlines() or ["it ended without a word"])[-1][:500]


def _time(milliseconds: int | None) -> str | None:
    return written(datetime.fromtimestamp(milliseconds / 1000, UTC)) if milliseconds else None


def _output(folder: Path, kind: str) -> Path:
    return folder / f"scores.{kind}"


def _read(folder: Path, name: str) -> dict[str, Any]:
    """What is written there; nothing where nothing is."""
    try:
        found = orjson.loads((folder / name).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _path(case: UseCase, job: str) -> str:
    return f"GET /v1/{case.name}/jobs/{job}"
