import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from llm_assets.api import create_app
from llm_assets.feedback import log as log_module
from llm_assets.feedback.log import Log, LogWriter
from llm_assets.records import FeedbackKind
from llm_assets.storage import Partition
from tests.records import an_interaction

DAY = Partition(application="helpdesk", date=date(2026, 3, 1))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(tmp_path)) as client:
        yield client


def post_interactions(client: TestClient | httpx.Client, *request_ids: str) -> Any:
    lines = [an_interaction(request_id).to_json() for request_id in request_ids]
    return client.post("/v1/interactions", content=b"\n".join(lines))


def test_accepted_interactions_are_in_the_log(client: TestClient, tmp_path: Path) -> None:
    assert post_interactions(client, "r1", "r2").json() == {"accepted": 2, "duplicates": 0}
    records, _ = Log.interactions(tmp_path).read(DAY)
    assert [record.record_id for record in records] == ["r1", "r2"]


def test_a_repeated_interaction_is_acknowledged_and_kept_once(
    client: TestClient, tmp_path: Path
) -> None:
    post_interactions(client, "r1")
    assert post_interactions(client, "r1", "r2", "r2").json() == {"accepted": 1, "duplicates": 2}
    assert len(Log.interactions(tmp_path).read(DAY)[0]) == 2


def test_ids_are_known_again_after_a_restart(tmp_path: Path) -> None:
    with TestClient(create_app(tmp_path)) as client:
        post_interactions(client, "r1")
    with TestClient(create_app(tmp_path)) as client:
        assert post_interactions(client, "r1").json() == {"accepted": 0, "duplicates": 1}
        body = {"request_id": "r1", "kind": "thumb", "value": 1}
        assert client.post("/v1/feedback", json=body).status_code == 200


def test_feedback_belongs_to_the_application_of_its_request(
    client: TestClient, tmp_path: Path
) -> None:
    post_interactions(client, "r1")
    time = "2026-03-02T08:00:00Z"
    body = {"request_id": "r1", "kind": "correction", "text": "sports", "time": time}
    assert client.post("/v1/feedback", json=body).json() == {"accepted": 1, "duplicates": 0}
    next_day = Partition(application="helpdesk", date=date(2026, 3, 2))
    ((feedback,), _) = Log.feedback(tmp_path).read(next_day)
    assert getattr(feedback, "kind", None) is FeedbackKind.CORRECTION


def test_feedback_with_a_known_id_is_kept_once(client: TestClient) -> None:
    post_interactions(client, "r1")
    body = {"request_id": "r1", "feedback_id": "f1", "kind": "thumb", "value": -1}
    assert client.post("/v1/feedback", json=body).json()["accepted"] == 1
    assert client.post("/v1/feedback", json=body).json() == {"accepted": 0, "duplicates": 1}


def test_feedback_for_an_unknown_request_is_refused_by_its_id(client: TestClient) -> None:
    response = client.post("/v1/feedback", json={"request_id": "nobody", "kind": "thumb"})
    assert response.status_code == 404
    assert "'nobody'" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"not json", "body: is not JSON"),
        (b"[]", "body: must be a JSON object"),
        (b"{}", "request_id: is missing"),
        (b'{"request_id": "r1", "kind": "shrug"}', "kind: "),
        (b'{"request_id": "r1", "kind": "thumb", "value": 5}', "value of a thumb must be -1 or 1"),
        (b'{"request_id": "r1", "kind": "thumb", "value": 1, "x": 1}', "x: unknown key"),
    ],
)
def test_wrong_feedback_is_refused_by_the_name_of_the_field(
    client: TestClient, body: bytes, problem: str
) -> None:
    post_interactions(client, "r1")
    response = client.post("/v1/feedback", content=body)
    assert response.status_code == 400
    assert problem in response.json()["error"]["message"]


def test_a_wrong_interaction_is_refused_by_its_line(client: TestClient, tmp_path: Path) -> None:
    body = an_interaction("r1").to_json() + b'\n{"request_id": "r2"}\n'
    response = client.post("/v1/interactions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("line 2: ")
    assert Log.interactions(tmp_path).partitions() == []


def test_a_full_disk_is_507_and_what_was_acknowledged_stays(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_interactions(client, "r1")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_module.os, "fsync", full)
    assert post_interactions(client, "r2").status_code == 507
    monkeypatch.undo()
    assert post_interactions(client, "r2").json() == {"accepted": 1, "duplicates": 0}
    records, _ = Log.interactions(tmp_path).read(DAY)
    assert [record.record_id for record in records] == ["r1", "r2"]


def test_metrics_count_what_was_accepted(client: TestClient) -> None:
    post_interactions(client, "r1", "r2", "r2")
    expected = (
        'llm_assets_requests_total{application="helpdesk",'
        'model_version="helpdesk-v0001",status="200",variant="champion"} 2.0'
    )
    assert expected in client.get("/metrics").text


_SERVER = textwrap.dedent("""
    import sys, pathlib, socket, uvicorn
    from llm_assets.api import create_app
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(create_app(pathlib.Path(sys.argv[1])), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])
""")


@contextlib.contextmanager
def a_collector_process(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", _SERVER, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def test_kill_9_loses_nothing_acknowledged_and_keeps_nothing_twice(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for round_ in range(3):
        with a_collector_process(tmp_path) as (process, url), httpx.Client(base_url=url) as client:
            for number in range(30):
                request_id = f"{round_}-{number}"
                assert post_interactions(client, request_id).status_code == 200
                acknowledged.add(request_id)
            # What the last round acknowledged is sent again, as a client that saw no answer would.
            post_interactions(client, *sorted(acknowledged))
            os.kill(process.pid, signal.SIGKILL)
    records, bad = Log.interactions(tmp_path).read(DAY)
    ids = [record.record_id for record in records]
    assert sorted(ids) == sorted(acknowledged)
    assert bad == []


def test_records_of_another_writer_do_not_disturb(client: TestClient, tmp_path: Path) -> None:
    post_interactions(client, "r1")
    LogWriter(Log.interactions(tmp_path)).append([an_interaction("r2")])
    post_interactions(client, "r3")
    records, _ = Log.interactions(tmp_path).read(DAY)
    assert {json.loads(record.to_json())["request_id"] for record in records} == {"r1", "r2", "r3"}
