"""The API process: everything of the public address but the answers of a model.

Envoy sends it what no model server takes: feedback, the collector's batches, the list of models,
probes, metrics, and chat completions that name no application that is served.
"""

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import prometheus_client
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llm_assets.feedback import collector as feedback_collector
from llm_assets.feedback.collector import Collector, error_response
from llm_assets.feedback.log import Record
from llm_assets.records import Interaction
from llm_assets.serving.status import ServingStatus

_LABELS = ("application", "model_version", "variant")
_LATENCY_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """What Prometheus is told: counted from the records that were accepted."""

    def __init__(self) -> None:
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

    def count(self, record: Record) -> None:
        """Count one accepted record."""
        if not isinstance(record, Interaction):
            self._feedback.labels(record.application, record.kind).inc()
            return
        labels = (record.application, record.model_version, record.variant)
        self._requests.labels(*labels, str(record.status)).inc()
        self._tokens.labels(*labels).inc(record.num_response_tokens or 0)
        if record.latency_seconds is not None:
            self._latency.labels(*labels).observe(record.latency_seconds)


def create_app(home: Path) -> Starlette:
    """Return the API of an installation; its lifespan runs the collector."""
    metrics = Metrics()
    collector = Collector(home, on_accepted=metrics.count)

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

    async def post_chat_completions(request: Request) -> JSONResponse:
        return _unserved(await request.body(), ServingStatus.read(home))

    return Starlette(
        lifespan=lifespan,
        routes=[
            *feedback_collector.routes(collector),
            Route("/v1/models", get_models),
            Route("/v1/chat/completions", post_chat_completions, methods=["POST"]),
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
    """Serve the API of an installation on a loopback port."""
    parser = argparse.ArgumentParser(description="Serve the API of an installation.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    app = create_app(arguments.home)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
