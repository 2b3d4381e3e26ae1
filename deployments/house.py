"""What the doors open on."""

from dataclasses import dataclass

from deployments.auth import Doorkeeper
from deployments.endpoint import Endpoint


@dataclass(frozen=True, kw_only=True)
class House:
    """One ingress replica's endpoints and rules.

    Attributes:
        default: the use case that also answers at the root, as /predict.
        since: when this replica started, on the monotonic clock, in seconds.
    """

    endpoints: dict[str, Endpoint]
    default: str
    doorkeeper: Doorkeeper
    max_rows: int
    max_body_bytes: int
    since: float

    @property
    def ready(self) -> bool:
        """Every use case has a champion that has answered through its pipeline."""
        return all(endpoint.version for endpoint in self.endpoints.values())
