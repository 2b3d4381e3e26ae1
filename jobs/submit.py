"""Hand a job to the running cluster through Ray's Jobs API, and follow its log."""

import asyncio
from typing import Any

from forewarn import submitting
from forewarn.errors import CannotStart, ForewarnError
from forewarn.settings import Settings
from jobs import cluster, terminal


def follow(settings: Settings, module: str, arguments: list[str]) -> None:
    """Submit `python -m module arguments`, print its log as it grows, return when it has succeeded.

    Raises:
        CannotStart: nothing runs here that could take a job.
        ForewarnError: the job failed; its log says why.
    """
    found = cluster.running(settings)
    if not found:
        raise CannotStart(
            "no cluster of this home is up to take a job; start it with `forewarn up`, or leave out --submit"
        )
    submitting.refuse_secrets(arguments)
    _refuse_elsewhere(settings, found)
    cluster.prepare_environment()
    from ray.job_submission import JobStatus, JobSubmissionClient

    client = JobSubmissionClient(found["dashboard"])
    job = client.submit_job(
        entrypoint=submitting.entrypoint(module, arguments), runtime_env=submitting.runtime_env(settings)
    )
    where = f"{found['dashboard']}/#/jobs/{job}"
    terminal.console.print(f"job [bold]{job}[/] submitted; its page is {where}", soft_wrap=True)

    async def tail() -> None:
        async for lines in client.tail_job_logs(job):
            print(lines, end="", flush=True)

    asyncio.run(tail())
    if client.get_job_status(job) != JobStatus.SUCCEEDED:
        raise ForewarnError(f"job {job} did not succeed; read its log above")


def _refuse_elsewhere(settings: Settings, found: dict[str, Any]) -> None:
    """A job lives in the cluster's environment, not in this one.

    Raises:
        CannotStart: there the state or the source's password is another.
    """
    if found.get("elsewhere", "") not in ("", cluster.elsewhere(settings, found["mark"])):
        raise CannotStart(
            f"the running cluster was started with other values of {', '.join(cluster.ELSEWHERE)} than are set here; "
            "start it again with these, or leave out --submit"
        )
