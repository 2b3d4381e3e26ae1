"""Hands jobs to Ray's Jobs API and asks after them. Blocking: to be called in a thread."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from forewarn.errors import ClusterUnavailable

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
STATUSES: dict[str, Status] = {
    "PENDING": "queued",
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "STOPPED": "cancelled",
}
ASK_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A job as Ray knows it; times in milliseconds of the epoch."""

    status: Status
    message: str = ""
    began_ms: int | None = None
    ended_ms: int | None = None


class Foreman(Protocol):
    """Whoever runs jobs.

    Every method raises ClusterUnavailable where the cluster does not answer.
    """

    def submit(self, job: str, entrypoint: str, runtime_env: dict[str, Any]) -> None:
        """Start it under this id."""

    def look(self, job: str) -> Seen | None:
        """How it stands; None if nobody knows it, because the cluster began anew."""

    def stop(self, job: str) -> None:
        """End it; it is no error if it has ended."""

    def forget(self, job: str) -> None:
        """Know nothing of it any more."""


class RayJobs:
    """The cluster that this process belongs to. Its libraries are loaded with the first job: half a second."""

    def submit(self, job: str, entrypoint: str, runtime_env: dict[str, Any]) -> None:
        """As `Foreman`."""
        from ray.job_submission import JobSubmissionClient

        self._ask("GET", "/api/version")  # the client that follows would wait without end
        try:
            client = JobSubmissionClient(_dashboard())
            client.submit_job(entrypoint=entrypoint, submission_id=job, runtime_env=runtime_env)
        except (RuntimeError, ConnectionError, OSError, ValueError) as error:
            raise _away(error) from error

    def look(self, job: str) -> Seen | None:
        """As `Foreman`."""
        found = self._ask("GET", f"/api/jobs/{job}")
        if found is None:
            return None
        message, began, ended = found.get("message") or "", found.get("start_time"), found.get("end_time")
        return Seen(status=STATUSES[found["status"]], message=message, began_ms=began, ended_ms=ended)

    def stop(self, job: str) -> None:
        """As `Foreman`."""
        self._ask("POST", f"/api/jobs/{job}/stop")

    def forget(self, job: str) -> None:
        """As `Foreman`."""
        self._ask("DELETE", f"/api/jobs/{job}")

    def _ask(self, method: str, path: str) -> Any:
        """The dashboard's answer; None where it knows no such job."""
        import httpx
        from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled

        try:
            url, headers = f"{_dashboard()}{path}", get_auth_headers_if_auth_enabled({})
            told = httpx.request(method, url, headers=headers, timeout=ASK_SECONDS)
            if told.status_code == httpx.codes.NOT_FOUND:
                return None
            return told.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise _away(error) from error


def _dashboard() -> str:
    """Where the Jobs API is, as this cluster's head wrote it down."""
    from ray._private import ray_constants
    from ray.experimental.internal_kv import _internal_kv_get

    found = _internal_kv_get(ray_constants.DASHBOARD_ADDRESS, namespace=ray_constants.KV_NAMESPACE_DASHBOARD)
    if not found:
        raise ClusterUnavailable("this cluster has no dashboard, so it takes no jobs; start its head with one")
    address = found.decode()
    return address if "://" in address else f"http://{address}"


def _away(error: Exception) -> ClusterUnavailable:
    return ClusterUnavailable(f"the cluster does not take or tell of jobs now ({type(error).__name__}); try again soon")
