"""What an ingress replica counts, for Prometheus: predictions, latency, distribution, errors (S2-44)."""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# S2-50.
LATENCY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
PROBABILITY = tuple(round(0.1 * step, 1) for step in range(1, 10))
AMOUNT = (0, 1, 2, 4, 8, 16, 24, 40, 80, 160)


class Meter:
    """Counts for as long as the replica lives. Every label has few values, and none of them names a person."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._children: dict[tuple[Any, ...], Any] = {}
        labels = ("use_case", "model_version", "risk_level")
        self._predictions = Counter("forewarn_predictions", "Rows answered.", labels, registry=registry)
        self._errors = Counter(
            "forewarn_errors", "Rows and requests without an answer.", ("use_case", "type"), registry=registry
        )
        self._lookups = Counter(
            "forewarn_cache_lookups", "Rows looked up in the cache.", ("use_case", "result"), registry=registry
        )
        self._latency = Histogram(
            "forewarn_prediction_latency_seconds", "From a request to its answer.", ("use_case",),
            buckets=LATENCY_SECONDS, registry=registry,
        )  # fmt: skip
        self._probability = Histogram(
            "forewarn_probability", "Answers about events.", ("use_case",), buckets=PROBABILITY, registry=registry
        )
        self._amount = Histogram(
            "forewarn_amount", "Answers about amounts.", ("use_case",), buckets=AMOUNT, registry=registry
        )

        self._fallbacks = Counter(
            "forewarn_fallbacks", "Rows answered in the place of a version that could not.", ("use_case", "route"),
            registry=registry,
        )  # fmt: skip
        self._shadows = Counter(
            "forewarn_shadow_rows", "Rows that a shadow scored, could not score, or left out.", ("use_case", "result"),
            registry=registry,
        )  # fmt: skip
        self._degraded = Gauge(
            "forewarn_degraded_seconds", "For how long the champion has not answered.", ("use_case",), registry=registry
        )
        self._refused = Gauge(
            "forewarn_refused_versions", "Versions that have a role and do not answer.", ("use_case",),
            registry=registry,
        )  # fmt: skip
        self._waiting = Gauge("forewarn_spool_bytes", "Predictions that wait for the ledger.", registry=registry)
        self._reachable = Gauge("forewarn_ledger_reachable", "Whether it answered last.", registry=registry)

    def waits(self, size: int, *, reachable: bool) -> None:
        """So many bytes of predictions are on this replica's disk still."""
        self._waiting.set(size)
        self._reachable.set(reachable)

    def answered(self, answers: Iterable[Mapping[str, Any]]) -> None:
        """These rows have their answers."""
        tally: Tally[tuple[str, str, str]] = Tally()
        for one in answers:
            tally[one["served_by"], one["model_version"], one.get("risk_level", "")] += 1
            if "instead_of" in one:
                self._of(self._fallbacks, one["served_by"], one["served_from"]).inc()
            if "probability" in one:
                self._of(self._probability, one["served_by"]).observe(one["probability"])
            else:
                self._of(self._amount, one["served_by"]).observe(one["prediction"])
        for labels, count in tally.items():
            self._of(self._predictions, *labels).inc(count)

    def refused(self, use_case: str, kind: str) -> None:
        """A row or a request has none. The use case is empty where it was not known yet."""
        self._of(self._errors, use_case, kind).inc()

    def looked(self, use_case: str, result: str) -> None:
        """Somebody looked for a score in the cache: hit, miss, or error where Redis does not answer."""
        self._of(self._lookups, use_case, result).inc()

    def took(self, use_case: str, seconds: float) -> None:
        """A request has its answer."""
        self._of(self._latency, use_case).observe(seconds)

    def shadowed(self, use_case: str, result: str, rows: int) -> None:
        """A shadow scored rows, could not, or left them out."""
        self._of(self._shadows, use_case, result).inc(rows)

    def stands(self, use_case: str, *, degraded_s: float, refused: int) -> None:
        """How a use case's versions are."""
        self._of(self._degraded, use_case).set(degraded_s)
        self._of(self._refused, use_case).set(refused)

    def _of(self, metric: Any, *labels: str) -> Any:
        """The metric with these labels; the library takes a lock and 9 µs to find it, three times a request."""
        key = (metric, *labels)
        if key not in self._children:
            self._children[key] = metric.labels(*labels)
        return self._children[key]

    def page(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)
