"""A model server whose engine may be broken: `python -m tests.chaos.bad_model --spec FILE`.

A version that the file of faults names has a stand-in for an engine, which misbehaves; recorder and
process are those of every version.
"""

import asyncio
import enum
import functools
import itertools
import json
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llm_assets.serving import model_server
from llm_assets.serving.completion import Completion
from llm_assets.serving.engine import Engine
from llm_assets.serving.spec import ModelServerSpec

# The environment variable with the path of the file: {model version: fault}.
FAULTS = "CHAOS_FAULTS"
WRONG_ANSWER = "Goethe wrote it, in Weimar, at noon."

_CRASHING, _STOPPING = 3, 3  # the number of the request that does it
_SLOW_SECONDS = 2.0


class Fault(enum.StrEnum):
    """What is wrong with a model server."""

    CRASH = "crash"  # its process ends while it answers
    HANG = "hang"  # its engine never answers
    STOP = "stop"  # its process stands still, with all its connections
    ERRORS = "errors"  # its engine fails every other time
    SLOW = "slow"
    EMPTY = "empty"  # it answers with nothing
    WRONG = "wrong"  # it answers with nonsense, fluently
    NONE = "none"  # nothing: what a stand-in does when it does well


@dataclass
class StandIn:
    """An engine that answers at once with the same words, but for its fault."""

    fault: Fault
    numbers: Iterator[int] = field(default_factory=functools.partial(itertools.count, 1))

    def start(self) -> Engine:
        """Answer in a thread."""
        listener = socket.create_server(("127.0.0.1", 0))
        routes = [
            Route("/health", self._health),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
        ]
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning"))
        run = functools.partial(server.run, sockets=[listener])
        threading.Thread(target=run, daemon=True).start()
        return Engine(url=f"http://127.0.0.1:{listener.getsockname()[1]}", server=server)

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _chat(self, request: Request) -> Response:
        asked, number = json.loads(await request.body()), next(self.numbers)
        match self.fault:
            case Fault.CRASH if number >= _CRASHING:
                os._exit(1)
            case Fault.HANG:
                await asyncio.Event().wait()
            case Fault.STOP if number >= _STOPPING:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Fault.ERRORS if random.random() < 0.5:
                return JSONResponse({"error": {"message": "out of memory"}}, 500)
            case Fault.SLOW:
                await asyncio.sleep(_SLOW_SECONDS)
            case _:
                pass
        return self._answer(is_stream=bool(asked.get("stream")))

    def _answer(self, *, is_stream: bool) -> Response:
        completion = Completion(
            request_id="1",
            time=datetime.now(UTC),
            model_version="stand-in",
            text={Fault.EMPTY: "", Fault.WRONG: WRONG_ANSWER}.get(self.fault, "literature"),
            num_prompt_tokens=12,
            num_response_tokens=2,
        )
        if is_stream:
            events = b"".join(completion.events(has_usage=True))
            return Response(events, media_type="text/event-stream")
        return Response(completion.to_json(), media_type="application/json")


def fault_of(version: str) -> Fault | None:
    """Return what is wrong with a version, or None if a real engine serves it."""
    faults = Path(os.environ[FAULTS])
    found = json.loads(faults.read_text()).get(version) if faults.exists() else None
    return None if found is None else Fault(found)


def _start_engine(spec: ModelServerSpec) -> Engine:
    fault = fault_of(spec.model_version)
    return _real_engine(spec) if fault is None else StandIn(fault).start()


_real_engine = model_server.start_engine

if __name__ == "__main__":
    assert sys.argv[1:2] == ["--spec"]
    with mock.patch.object(model_server, "start_engine", _start_engine):
        model_server.main()
