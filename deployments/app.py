"""The serving graph. `serve_config.yaml` names `build`, Ray Serve calls it with the config's `args`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve
from ray.serve import Application, Deployment

from deployments.ingress import Ingress
from deployments.lessor import Counter
from deployments.model import Model
from deployments.portions import AHEAD, PORTION
from deployments.preprocessing import Preprocessor
from forewarn import usecases
from forewarn.settings import Settings

# Above what the door lets wait: Ray Serve's own queues, which have no end, must not be what requests wait in.
MAX_ONGOING = 10_000
HEALTH_CHECK_S = 5


class Strict(BaseModel):
    """An unknown key is a typo, and refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scaling(Strict):
    """How many replicas, and when another starts.

    Attributes:
        target_ongoing_requests: groups of rows that a replica works on at once before another one is started.
        look_back_period_s: what "at once" is averaged over, in seconds.
        upscale_delay_s, downscale_delay_s: how long more, or fewer, replicas must have been wanted, in seconds.
        num_cpus: share of a CPU that Ray sets aside for each replica.
    """

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    target_ongoing_requests: float = Field(default=2.0, gt=0)
    look_back_period_s: float = Field(default=15, gt=0)
    upscale_delay_s: float = Field(default=10, ge=0)
    downscale_delay_s: float = Field(default=300, ge=0)
    num_cpus: float = Field(default=0.1, gt=0)


class Door(Strict):
    """What the ingress lets in.

    Attributes:
        max_rows: rows in one request.
        max_group: rows that travel to the model together.
        groups_in_flight: groups on their way at once; requests that come meanwhile form the next group. Two keep two
            cores busy; more make smaller groups, each of which pays the hops (docs/performance.md). With more
            replicas of the model than two, let as many groups fly. Of each version that answers.
        max_waiting: rows that may wait; beyond, the answer is 503 with Retry-After at once.
        max_wait_s: the same where rows would wait longer than this, by how long the last groups took.
        cache_seconds: how long the score of a row is remembered (S2-09); 0: not at all.
        cache_rows: scores that an ingress replica remembers at most, about 1 kB each.
        quota_per_minute: requests a minute of one key, at all replicas together (S2-76); 0: as many as it likes. A key
            of its own limit goes by that.
        spool_megabytes: of predictions that wait on disk for the ledger, at most, for each ingress replica; beyond,
            none is answered, for it could not be accounted for.
        answer_seconds: how long a version may take; then whoever comes after it answers.
        explain_seconds: the same where it is to say why, which some algorithms sample for milliseconds a row.
        fallback_after_s: for how long the champion must not have answered before the nightly scores do; 0: at once.
        nightly_hours: nightly scores that are older are not told.
        shadow_rows: rows that may wait for a shadow; beyond, they are left out.
        max_explained: rows in one request that may be explained.
        max_body_bytes: size of one request's body; beyond, 413.
        cors_origins: web pages of these origins may call the service from a browser; none by default.
    """

    max_rows: int = Field(default=1000, ge=1)
    max_group: int = Field(default=256, ge=1)
    groups_in_flight: int = Field(default=2, ge=1)
    max_waiting: int = Field(default=5_000, ge=PORTION * AHEAD, lt=MAX_ONGOING)
    max_wait_s: float = Field(default=1.0, gt=0)
    cache_seconds: float = Field(default=300, ge=0)
    cache_rows: int = Field(default=20_000, ge=0)
    quota_per_minute: int = Field(default=1000, ge=0)
    spool_megabytes: int = Field(default=512, ge=1)
    answer_seconds: float = Field(default=5.0, gt=0, le=20)
    explain_seconds: float = Field(default=20.0, gt=0, le=20)
    fallback_after_s: float = Field(default=0.0, ge=0)
    nightly_hours: float = Field(default=36.0, gt=0)
    shadow_rows: int = Field(default=2_000, ge=0, lt=MAX_ONGOING)
    max_explained: int = Field(default=100, ge=1)
    max_body_bytes: int = Field(default=4 * 2**20, ge=1024)
    cors_origins: tuple[str, ...] = ()


class AppArgs(Strict):
    """`args` in serve_config.yaml: which use cases, and how each kind of deployment runs.

    Attributes:
        composition: preprocessor and model as deployments that scale apart, or called in one process per replica of the
            preprocessor, which then scales as `model` says: a hop less, see docs/performance.md.
    """

    use_cases: list[str] = Field(min_length=1)
    default_use_case: str = ""
    composition: Literal["chained", "colocated"] = "chained"
    door: Door = Door()
    ingress: Scaling = Scaling()
    preprocessor: Scaling = Scaling()
    model: Scaling = Scaling()

    @model_validator(mode="after")
    def _known(self) -> "AppArgs":
        for name in self.use_cases:
            usecases.get(name)
        if len(set(self.use_cases)) < len(self.use_cases):
            raise ValueError(f"use_cases: {self.use_cases} names one twice")
        if self.default_use_case and self.default_use_case not in self.use_cases:
            raise ValueError(f"default_use_case: {self.default_use_case} is not among use_cases")
        return self

    @model_validator(mode="after")
    def _can_grow(self) -> "AppArgs":
        """Ray Serve wants ongoing ÷ target replicas, and no more groups are ever ongoing than the door lets fly."""
        flying = self.door.groups_in_flight * self.ingress.max_replicas
        for name, scaling in (("preprocessor", self.preprocessor), ("model", self.model)):
            if flying < scaling.max_replicas * scaling.target_ongoing_requests:
                raise ValueError(
                    f"{name}: {scaling.max_replicas} replicas would need more than {flying} groups in flight; "
                    "raise door.groups_in_flight, or lower target_ongoing_requests"
                )
        return self


def build(args: AppArgs) -> Application:
    """Ingress → Preprocessor → Model, the last two once per use case."""
    pipelines = {name: _pipeline(name, args) for name in args.use_cases}
    default = args.default_use_case or args.use_cases[0]
    ingress = _deployment(Ingress, "Ingress", args.ingress)
    door = {**args.door.model_dump(), "replicas": args.ingress.max_replicas}
    return ingress.bind(door, default, pipelines, _lessor(args))


def _lessor(args: AppArgs) -> Application | None:
    """One ingress replica counts its requests itself; several that share a Redis count there."""
    if args.ingress.max_replicas == 1 or Settings().redis_url:
        return None
    return _deployment(Counter, "Quota", Scaling(num_cpus=0.01)).bind()


def _pipeline(name: str, args: AppArgs) -> Application:
    if args.composition == "colocated":
        return _deployment(Preprocessor, f"Preprocessor-{name}", args.model).bind(name, None)
    model = _deployment(Model, f"Model-{name}", args.model).bind(name)
    return _deployment(Preprocessor, f"Preprocessor-{name}", args.preprocessor).bind(name, model)


def _deployment(kind: type, name: str, scaling: Scaling) -> Deployment:
    deployed = serve.deployment(
        name=name,
        autoscaling_config=scaling.model_dump(exclude={"num_cpus"}),
        ray_actor_options={"num_cpus": scaling.num_cpus},
        max_ongoing_requests=MAX_ONGOING,
        health_check_period_s=HEALTH_CHECK_S,
        # With one replica Ray Serve would otherwise stop the old one before the new one is there (7.5 s measured).
        max_surge_percent=100,
    )
    return deployed(kind)
