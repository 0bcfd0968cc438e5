"""The API process: everything of the public address but the answers of a model.

Envoy sends it what no model server takes: feedback, the collector's batches, the list of models,
probes, metrics, and chat completions that name no application that is served.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import prometheus_client
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llm_assets.errors import UserError
from llm_assets.feedback import http, otlp_http
from llm_assets.feedback.collector import Collector
from llm_assets.feedback.http import Intake, error_response
from llm_assets.feedback.log import Record
from llm_assets.installation import Installation
from llm_assets.records import Interaction
from llm_assets.serving.status import ServingStatus
from llm_assets.settings import Settings
from llm_assets.tokens import INTERNAL_TOKEN, TokenCheck, is_loopback

_LABELS = ("application", "model_version", "variant")
_MAX_LABELS = 1000
_LATENCY_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """What Prometheus is told: counted from the records that were accepted.

    `pseudonym` cleans what clients chose, which becomes a label.
    """

    def __init__(self, pseudonym: Callable[[str], str]) -> None:
        self._pseudonym = pseudonym
        self._known: set[tuple[str, str, str]] = set()
        # To find a counter by its labels takes as long as to clean a record.
        self._of_labels = functools.lru_cache(maxsize=1000)(self._counters_of)
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
        requests, tokens, latency = self._of_labels(
            record.application, record.model_version, record.variant, record.status
        )
        requests.inc()
        tokens.inc(record.num_response_tokens or 0)
        if record.latency_seconds is not None:
            latency.observe(record.latency_seconds)

    def _counters_of(
        self, application: str, model_version: str, variant: str, status: int
    ) -> tuple[prometheus_client.Counter, prometheus_client.Counter, prometheus_client.Histogram]:
        labels = (application, self._pseudonym(model_version), self._pseudonym(variant))
        # Clients choose both, and each set of labels stays in memory for good.
        if len(self._known) >= _MAX_LABELS and labels not in self._known:
            labels = (application, "other", "other")
        self._known.add(labels)
        return (
            self._requests.labels(*labels, str(status)),
            self._tokens.labels(*labels),
            self._latency.labels(*labels),
        )

    def count_rejected(self, status: int) -> None:
        """Count one request that was not accepted."""
        self._rejected.labels(str(status)).inc()


def create_app(installation: Installation, *, internal_token: str | None = None) -> Starlette:
    """Return the API of an installation; its lifespan runs the collector.

    Tokens are needed unless the settings' host is loopback; our own model servers show the internal
    one. Applications are read now: a new one is known after a restart.

    Raises:
        UserError: an application's file is wrong.
    """
    home = installation.home
    scrubbers = installation.scrubbers
    metrics = Metrics(scrubbers.pseudonym)
    collector = Collector(home, scrubbers, on_accepted=metrics.count)
    intake = Intake(
        collector,
        tokens=TokenCheck(
            tokens=installation.tokens,
            is_required=not is_loopback(installation.settings.host),
            internal=internal_token,
        ),
        applications={n: a.feedback for n, a in installation.applications().items()},
        on_rejected=metrics.count_rejected,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(collector.load)
        task = asyncio.create_task(collector.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def get_models(_: Request) -> JSONResponse:
        served = ServingStatus.read(home).applications
        models: list[dict[str, Any]] = [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "llm-assets",
                "model_version": endpoint.model_version,
            }
            for name, endpoint in served.items()
        ]
        return JSONResponse({"object": "list", "data": models})

    async def get_readyz(_: Request) -> JSONResponse:
        status = ServingStatus.read(home)
        waiting = [name for name, endpoint in status.applications.items() if not endpoint.ready]
        is_ready = bool(status.applications) and not waiting
        body = {"status": "ready" if is_ready else "not ready", "waiting_for": waiting}
        return JSONResponse(body, 200 if is_ready else 503)

    async def get_healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def get_metrics(_: Request) -> Response:
        content = prometheus_client.generate_latest(metrics.registry)
        return Response(content, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    async def post_chat_completions(_: Request, body: bytes, __: str | None) -> Response:
        return _unserved(body, ServingStatus.read(home))

    return Starlette(
        lifespan=lifespan,
        routes=[
            *http.routes(intake),
            *otlp_http.routes(intake),
            intake.route("/v1/chat/completions", post_chat_completions),
            Route("/v1/models", get_models),
            Route("/healthz", get_healthz),
            Route("/readyz", get_readyz),
            Route("/metrics", get_metrics),
        ],
    )


def _unserved(body: bytes, status: ServingStatus) -> JSONResponse:
    """Say why a chat completion found no model server."""
    try:
        fields = json.loads(body)
    except ValueError:
        return error_response(400, "body: is not JSON")
    if not isinstance(fields, dict) or not isinstance(fields.get("model"), str):
        return error_response(400, "model: must name an application")
    model = fields["model"]
    if model in status.applications:
        return error_response(503, f"model: {model!r} is not ready yet")
    names = ", ".join(sorted(status.applications)) or "none"
    return error_response(404, f"model: {model!r} is not served here (served: {names})")


def main() -> None:
    """Serve the API of the installation that the environment describes, on a loopback port."""
    parser = argparse.ArgumentParser(description="Serve the API of an installation.")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    try:
        installation = Installation(Settings.from_environment())
        app = create_app(installation, internal_token=os.environ.get(INTERNAL_TOKEN))
    except UserError as error:
        sys.exit(str(error))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
