"""What the doors open on."""

from dataclasses import dataclass

from deployments.auth import Doorkeeper
from deployments.endpoint import Endpoint
from deployments.fallback import Nightly
from deployments.meter import Meter
from deployments.noticeboard import Noticeboard
from deployments.orders import Orders
from deployments.quota import Quota
from deployments.scribe import Scribe
from forewarn.feature_store import FeatureStore
from forewarn.ledger.audit import Chain
from forewarn.ledger.privacy import Privacy
from forewarn.ledger.releases import History
from forewarn.ledger.spool import Spool
from forewarn.ledger.store import Ledger


@dataclass(frozen=True, kw_only=True)
class House:
    """One ingress replica's endpoints and rules.

    Attributes:
        default: the use case that also answers at the root, as /predict.
        ledger: what was answered, decided and came true; chain: the log of who did what; privacy: people's rights.
        board: whose keys are good, who opted out.
        quota: how often a key may ask.
        history: of releases; nightly: what is left to say where no version can answer.
        spool: where every answered row is written down before its answer goes out; scribe: who does that.
        store: what fills in the fields that a request with a subject's id leaves out.
        orders: jobs on many rows, which the cluster runs.
        since: when this replica started, on the monotonic clock, in seconds.
    """

    endpoints: dict[str, Endpoint]
    default: str
    ledger: Ledger
    chain: Chain
    privacy: Privacy
    history: History
    nightly: Nightly
    board: Noticeboard
    doorkeeper: Doorkeeper
    quota: Quota
    spool: Spool
    scribe: Scribe
    store: FeatureStore
    orders: Orders
    meter: Meter
    max_rows: int
    max_explained: int
    max_body_bytes: int
    since: float
    cors_origins: tuple[str, ...] = ()

    def refuse_overload(self, endpoint: Endpoint) -> None:
        """Turn a request away before it is read, where whoever could answer it is full.

        Raises:
            Overloaded: not one more row could wait.
            NotRecorded: its answer could not be written down.
        """
        self.spool.refuse_full()
        if endpoint.case.otherwise is None:
            endpoint.refuse_overload()

    @property
    def ready(self) -> bool:
        """Every use case has a champion that has answered through its pipeline."""
        return all(endpoint.version for endpoint in self.endpoints.values())

    @property
    def degraded(self) -> bool:
        """Somewhere a champion does not answer, or a version was refused; somebody else answers."""
        return any(endpoint.degraded_s or endpoint.refused for endpoint in self.endpoints.values())
