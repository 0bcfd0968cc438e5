"""A model server for as long as a block of code runs: evaluation asks it, no traffic does."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from llm_assets.errors import UserError
from llm_assets.serving.model_process import ModelProcess
from llm_assets.serving.spec import ModelServerSpec


@contextmanager
def serve(spec: ModelServerSpec, *, start_seconds: float = 120.0) -> Iterator[str]:
    """Serve a model version on a free port, unrecorded, and give its base URL.

    Port, ready file, and collector of the spec are replaced, and an empty answer is an answer: who
    evaluates has no other version to ask, and shall see it.

    Raises:
        UserError: the server did not start; the message holds its last line.
    """
    with tempfile.TemporaryDirectory(prefix="llm-assets-") as name:
        folder = Path(name)
        process = ModelProcess(alone(spec), folder, folder / "log")
        process.child.start(time.monotonic())
        try:
            _wait(process, start_seconds)
            yield f"http://{spec.host}:{process.port}"
        finally:
            process.child.stop(grace_seconds=10)


def alone(spec: ModelServerSpec) -> ModelServerSpec:
    """Return how a version is served that is recorded nowhere and has no other one beside it."""
    serving = spec.serving.model_copy(update={"refuse_empty_answers": False})
    return replace(spec, collector_url=None, serving=serving)


def _wait(process: ModelProcess, seconds: float) -> None:
    version, deadline = process.spec.model_version, time.monotonic() + seconds
    while not process.is_ready:
        if not process.child.is_running:
            raise UserError(f"{version}: did not start: {process.child.last_words()}")
        if time.monotonic() > deadline:
            raise UserError(f"{version}: did not start within {seconds:g} s")
        time.sleep(0.05)
