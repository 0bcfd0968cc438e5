"""A collector to talk to: with an installation of two applications, in this process or another."""

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from starlette.testclient import TestClient

from llm_assets.api import create_app
from llm_assets.installation import Installation
from llm_assets.records import Feedback, Interaction
from llm_assets.settings import Settings
from tests.installations import helpdesk, write_application
from tests.records import an_interaction

Client = TestClient | httpx.Client

# Imports no more than the API does, so that it starts quickly.
_SERVER = textwrap.dedent("""
    import socket, sys, uvicorn
    from pathlib import Path
    from llm_assets.api import create_app
    from llm_assets.installation import Installation
    from llm_assets.settings import Settings
    home, applications = map(Path, sys.argv[1:])
    app = create_app(Installation(Settings(home=home, applications=applications)))
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
""")


def installation_in(folder: Path, *names: str, **feedback: Any) -> Installation:
    """Return an installation with applications of these names and this section `feedback`."""
    applications = folder / "applications"
    if not applications.exists():
        for name in names or ("helpdesk", "bank"):
            content = helpdesk(Path("tiny.gguf"), feedback=feedback)
            write_application(applications, name, content)
    return Installation(Settings(home=folder / "home", applications=applications))


@contextlib.contextmanager
def a_client(installation: Installation, **settings: Any) -> Iterator[TestClient]:
    """Return a client of the API with the collector running."""
    installation = Installation(replace(installation.settings, **settings))
    with TestClient(create_app(installation)) as client:
        yield client


@contextlib.contextmanager
def a_process(installation: Installation) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Return an API process of an installation, and its address."""
    settings = installation.settings
    command = [sys.executable, "-c", _SERVER, str(settings.home), str(settings.applications)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def post_interactions(client: Client, *request_ids: str, **fields: Any) -> Any:
    """Send interactions in one batch."""
    lines = [an_interaction(request_id, **fields).to_json() for request_id in request_ids]
    return client.post("/v1/interactions", content=b"\n".join(lines))


def interactions(installation: Installation) -> list[Interaction]:
    """Return all that the log holds, in the order of days and arrival."""
    log = installation.interaction_log
    records = [record for partition in log.partitions() for record in log.read(partition)[0]]
    return [record for record in records if isinstance(record, Interaction)]


def feedback(installation: Installation) -> list[Feedback]:
    """Return all feedback that lies under its application."""
    log = installation.feedback_log
    records = [record for partition in log.partitions() for record in log.read(partition)[0]]
    return [record for record in records if isinstance(record, Feedback)]
