"""Hand a job to the running cluster through Ray's Jobs API, and follow its log."""

import asyncio
import shlex

from forewarn.errors import CannotStart, ForewarnError
from forewarn.settings import PROJECT, Settings
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
    cluster.prepare_environment()
    from ray.job_submission import JobStatus, JobSubmissionClient

    client = JobSubmissionClient(found["dashboard"])
    job = client.submit_job(
        entrypoint=shlex.join(["python", "-m", module, *arguments]),
        runtime_env={"working_dir": str(PROJECT), "env_vars": {"FOREWARN_HOME": str(settings.home)}},
    )
    where = f"{found['dashboard']}/#/jobs/{job}"
    terminal.console.print(f"job [bold]{job}[/] submitted; its page is {where}", soft_wrap=True)

    async def tail() -> None:
        async for lines in client.tail_job_logs(job):
            print(lines, end="", flush=True)

    asyncio.run(tail())
    if client.get_job_status(job) != JobStatus.SUCCEEDED:
        raise ForewarnError(f"job {job} did not succeed; read its log above")
