"""The process that serves one model version: `python -m llm_assets.serving.model_server --spec F`.

Engine and recorder share the process, so they live and die together.
"""

import argparse
import math
import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import uvicorn

from llm_assets.errors import UserError
from llm_assets.serving.engine import start_engine
from llm_assets.serving.process import LAST_WORDS
from llm_assets.serving.recorder import create_app
from llm_assets.serving.spec import ModelServerSpec, Ready
from llm_assets.tokens import INTERNAL_TOKEN, internal_credentials

# Longer than the gateway keeps an idle connection, so that it never sends into a closing one.
KEEP_ALIVE_SECONDS = 75


def serve(spec: ModelServerSpec) -> None:
    """Load the model and answer until SIGTERM; requests in flight are finished first.

    Raises:
        UserError: the model cannot be loaded or the port is in use.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((spec.host, spec.port))
    except OSError as error:
        raise UserError(f"port {spec.port} on {spec.host}: {error.strerror}") from None
    ready = Ready(model_version=spec.model_version, port=listener.getsockname()[1], pid=os.getpid())
    engine = start_engine(spec)
    app = create_app(
        spec,
        engine_url=engine.url,
        collector=httpx.AsyncClient(
            timeout=10.0, trust_env=False, headers=internal_credentials(os.environ)
        ),
        on_ready=lambda: ready.write(spec.ready_file),
        internal_token=os.environ.get(INTERNAL_TOKEN),
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(spec.serving.timeout_seconds) + 1,
        )
    )
    # uvicorn raises the signal again when it is done; we are then about to leave anyway.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server.run(sockets=[listener])
    assert engine.server is not None  # kept alive until here


def main() -> None:
    """Serve what the spec file says."""
    parser = argparse.ArgumentParser(description="Serve one model version.")
    parser.add_argument("--spec", type=Path, required=True)
    try:
        serve(ModelServerSpec.read(parser.parse_args().spec))
    except UserError as error:
        sys.stderr.write(f"{LAST_WORDS}{error}\n")
        sys.stderr.flush()
        os._exit(1)
    # The engine's own shutdown may wait for its threads; there is nothing left to lose.
    os._exit(0)


if __name__ == "__main__":
    main()
