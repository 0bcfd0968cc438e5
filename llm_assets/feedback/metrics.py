"""What Prometheus is told of the traffic: counted from the records that were accepted."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import prometheus_client

from llm_assets.feedback.log import Record
from llm_assets.records import Interaction

_LABELS = ("application", "model_version", "variant")
_MAX_LABELS = 1000
_LATENCY_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class _Series(NamedTuple):
    """What is counted under one set of labels."""

    requests: prometheus_client.Counter
    tokens: prometheus_client.Counter
    latency: prometheus_client.Histogram
    first_token: prometheus_client.Histogram


class Metrics:
    """Counters of an installation; a shadow's answers have the variant `shadow`.

    `pseudonym` cleans what clients chose, which becomes a label.
    """

    def __init__(self, pseudonym: Callable[[str], str]) -> None:
        self._pseudonym = pseudonym
        self._known: set[tuple[str, str, str]] = set()
        # To find a counter by its labels takes as long as to clean a record.
        self._of_labels = functools.lru_cache(maxsize=1000)(self._series_of)
        self.registry = prometheus_client.CollectorRegistry()
        self._requests = prometheus_client.Counter(
            "llm_assets_requests",
            "Chat completions that were answered, by HTTP status",
            (*_LABELS, "status"),
            registry=self.registry,
        )
        self._latency = prometheus_client.Histogram(
            "llm_assets_request_latency_seconds",
            "Seconds from a request to the end of its answer",
            _LABELS,
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._first_token = prometheus_client.Histogram(
            "llm_assets_first_token_seconds",
            "Seconds from a request to the first text of its answer",
            _LABELS,
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._tokens = prometheus_client.Counter(
            "llm_assets_response_tokens",
            "Tokens of the answers",
            _LABELS,
            registry=self.registry,
        )
        self._feedback = prometheus_client.Counter(
            "llm_assets_feedback",
            "Feedback that was accepted",
            ("application", "kind"),
            registry=self.registry,
        )
        self._rejected = prometheus_client.Counter(
            "llm_assets_rejected_requests",
            "Requests to the collector that were not accepted, by HTTP status",
            ("status",),
            registry=self.registry,
        )

    def count(self, record: Record) -> None:
        """Count one accepted record."""
        if not isinstance(record, Interaction):
            self._feedback.labels(record.application, record.kind).inc()
            return
        series = self._of_labels(
            record.application, record.model_version, record.variant, record.status
        )
        series.requests.inc()
        series.tokens.inc(record.num_response_tokens or 0)
        if record.latency_seconds is not None:
            series.latency.observe(record.latency_seconds)
        if record.first_token_seconds is not None:
            series.first_token.observe(record.first_token_seconds)

    def count_rejected(self, status: int) -> None:
        """Count one request that was not accepted."""
        self._rejected.labels(str(status)).inc()

    def _series_of(
        self, application: str, model_version: str, variant: str, status: int
    ) -> _Series:
        labels = (application, self._pseudonym(model_version), self._pseudonym(variant))
        # Clients choose both, and each set of labels stays in memory for good.
        if len(self._known) >= _MAX_LABELS and labels not in self._known:
            labels = (application, "other", "other")
        self._known.add(labels)
        return _Series(
            self._requests.labels(*labels, str(status)),
            self._tokens.labels(*labels),
            self._latency.labels(*labels),
            self._first_token.labels(*labels),
        )
