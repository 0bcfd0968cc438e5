"""`llm-assets up` as it is started by people, on the tiny model, with a real Envoy and Dagster."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.installation import Installation
from tests.installations import VERSION, an_installation

COMMAND = [sys.executable, "-m", "llm_assets.cli", "up", "--json"]
START_SECONDS = 90.0


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, tiny_base_model: BaseModelFile
) -> Iterator[Installation]:
    with an_installation(tmp_path_factory.mktemp("up"), tiny_base_model) as made:
        yield made


@pytest.fixture(scope="module")
def up(installation: Installation) -> Iterator[subprocess.Popen[str]]:
    """Return `up` once its endpoint is ready; at the end it is interrupted and leaves no child."""
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {
            "endpoint": f"{installation.settings.endpoint_url}/v1",
            "ui": installation.settings.ui_url,
        }
        _wait(lambda: _is_ready(installation) or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]
        yield process
        family = _descendants(process.pid)
        assert len(family) >= 4
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)
        assert (process.returncode, *output) == (0, "", "")
        _wait(lambda: not [pid for pid in family if _is_alive(pid)], seconds=15)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        process.wait(60)


@pytest.fixture
def client(installation: Installation, up: subprocess.Popen[str]) -> Iterator[openai.OpenAI]:
    base_url = f"{installation.settings.endpoint_url}/v1"
    with openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0) as client:
        yield client


def _wait(condition: Callable[[], Any], *, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _is_ready(installation: Installation) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{installation.settings.endpoint_url}/readyz", timeout=2).is_success
    return False


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def ask(client: openai.OpenAI, text: str) -> Any:
    return client.chat.completions.with_raw_response.create(
        model="helpdesk", messages=[{"role": "user", "content": text}], user="u-1"
    )


def test_a_question_is_answered_and_the_answer_says_by_whom(client: openai.OpenAI) -> None:
    response = ask(client, "Do you like tennis?")
    assert response.headers["x-llm-assets-model-version"] == VERSION
    assert response.headers["x-llm-assets-variant"] == "champion"
    completion = response.parse()
    assert completion.choices[0].message.content
    assert completion.usage.completion_tokens <= 4
    assert [model.id for model in client.models.list()] == ["helpdesk"]


def test_a_stream_says_the_same_as_an_answer_in_one_piece(client: openai.OpenAI) -> None:
    whole = ask(client, "Do you like tennis?").parse().choices[0].message.content
    chunks = client.chat.completions.create(
        model="helpdesk", messages=[{"role": "user", "content": "Do you like tennis?"}], stream=True
    )
    parts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(parts) == whole


def test_feedback_about_an_answer_is_kept_beside_it(
    client: openai.OpenAI, installation: Installation
) -> None:
    request_id = ask(client, "Is a quark heavy?").headers["x-request-id"]
    url = f"{installation.settings.endpoint_url}/v1/feedback"
    feedback = {"request_id": request_id, "kind": "correction", "text": "science"}

    def is_accepted() -> bool:
        return httpx.post(url, json=feedback).is_success

    _wait(is_accepted, seconds=10)

    def logged(log: Any) -> set[str]:
        records = [record for day in log.partitions() for record in log.read(day)[0]]
        return {record.request_id for record in records}

    _wait(lambda: request_id in logged(installation.interaction_log), seconds=10)
    assert request_id in logged(installation.feedback_log)


def test_a_question_of_100_000_characters_is_refused_and_names_the_limit(
    client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.BadRequestError, match=r"serving\.max_prompt_characters"):
        ask(client, "x" * 100_000)
    assert ask(client, "Are you still there?").status_code == 200


def test_a_model_that_is_not_served_is_named_with_those_that_are(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"'bank' is not served here \(served: helpd"):
        client.chat.completions.create(model="bank", messages=[{"role": "user", "content": "x"}])


@pytest.mark.usefixtures("up")
def test_a_second_up_on_the_same_home_is_refused(
    installation: Installation,
) -> None:
    second = {**os.environ, "LLM_ASSETS_PORT": "1", "LLM_ASSETS_UI_PORT": "2"}
    finished = subprocess.run(COMMAND, capture_output=True, text=True, env=second, check=False)
    assert finished.returncode == 1
    expected = f"llm-assets: {installation.home}: is in use by another `llm-assets up`\n"
    assert finished.stderr == expected


def test_the_example_of_the_readme_runs(installation: Installation, client: openai.OpenAI) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    address = installation.settings.endpoint_url
    assert example.count("http://127.0.0.1:8080") == 2
    scope: dict[str, Any] = {}
    exec(compile(example.replace("http://127.0.0.1:8080", address), "README.md", "exec"), scope)
    scope["client"].close()
    assert scope["answer"].headers["x-llm-assets-model-version"] == VERSION
