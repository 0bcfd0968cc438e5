"""The API process: everything of the public address but the answers of a model.

Envoy sends it what no model server takes: feedback, the collector's batches, the list of models,
probes, metrics, and chat completions that no model server could answer, or that name no application
that is served.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import prometheus_client
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llm_assets.errors import UserError
from llm_assets.feedback import http, otlp_http
from llm_assets.feedback.background import Background
from llm_assets.feedback.collector import Collector
from llm_assets.feedback.http import Intake, error_response
from llm_assets.feedback.metrics import Metrics
from llm_assets.installation import Installation
from llm_assets.records import SHADOW_VARIANT
from llm_assets.rollouts.metrics import RolloutMetrics
from llm_assets.serving.fallback import Fallback
from llm_assets.serving.headers import VARIANT
from llm_assets.serving.process import PARENT_DIED
from llm_assets.serving.status import ServingStatus
from llm_assets.settings import Settings
from llm_assets.tokens import INTERNAL_TOKEN, TokenCheck, is_loopback

# So long a record may still take to the disk when the process ends.
_FLUSH_SECONDS = 5.0
_LAST_RECORDS_SECONDS = 6.0


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
    metrics.registry.register(RolloutMetrics(installation))
    collector = Collector(home, scrubbers, on_accepted=metrics.count)
    background = Background(collector)
    applications = installation.applications()
    served = {name: a.serving for name, a in applications.items() if a.serving is not None}
    fallback = Fallback(served, background.put)
    intake = Intake(
        collector,
        tokens=TokenCheck(
            tokens=installation.tokens,
            is_required=not is_loopback(installation.settings.host),
            internal=internal_token,
        ),
        applications={name: application.feedback for name, application in applications.items()},
        on_rejected=metrics.count_rejected,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(collector.load)
        task = asyncio.create_task(collector.run())
        yield
        await background.flush(seconds=_FLUSH_SECONDS)
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

    async def post_chat_completions(
        request: Request, body: bytes, application: str | None
    ) -> Response:
        # The gateway names a variant where there are model servers, and all of them have failed. A
        # shadow's request is the copy of one that its user gets an answer to.
        answer = None
        if request.headers.get(VARIANT, SHADOW_VARIANT) != SHADOW_VARIANT:
            answer = await fallback.answer(request, body, application)
        return answer or _unserved(body, ServingStatus.read(home))

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


def _end_later() -> None:
    """Take the last records of the model servers, which were told to end in the same moment."""
    end = threading.Timer(_LAST_RECORDS_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
    end.daemon = True
    end.start()


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
    signal.signal(PARENT_DIED, lambda *_: _end_later())
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
