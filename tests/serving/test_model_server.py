"""A real model server with a real engine, asked by the OpenAI client."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.model_process import ModelProcess
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.serving.temporary import serve
from tests.serving.fakes import FakeApi


def asking(question: str) -> dict[str, Any]:
    """Return a request; the records of a test are found by a question of its own."""
    return {"model": "helpdesk", "messages": [{"role": "user", "content": question}]}


ASK = asking("Who asks?")


@pytest.fixture(scope="module")
def api_of_module() -> Iterator[FakeApi]:
    with FakeApi().running() as api:
        yield api


@pytest.fixture(scope="module")
def url(
    tiny_base_model: BaseModelFile,
    tmp_path_factory: pytest.TempPathFactory,
    api_of_module: FakeApi,
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    spec = ModelServerSpec(
        application="helpdesk",
        model_version="helpdesk-v0001",
        base_model=tiny_base_model.path,
        ready_file=folder / "ready.json",
        serving=ServingConfig(
            max_tokens=200,
            context_tokens=256,
            parallel_requests=2,
            threads=1,
            record_confidence=True,
        ),
        collector_url=api_of_module.url,
    )
    process = ModelProcess(spec, folder, folder / "log")
    process.child.start(time.monotonic())
    wait_until_ready(process)
    yield f"http://127.0.0.1:{process.port}"
    process.child.stop(grace_seconds=10)
    assert process.child.exit_code == 0


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def wait_until_ready(process: ModelProcess) -> None:
    deadline = time.monotonic() + 60
    while not process.is_ready:
        assert process.child.is_running, process.child.last_words()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_streamed_answer_is_the_whole_answer_in_pieces(
    client: openai.OpenAI, api_of_module: FakeApi
) -> None:
    question: Any = asking("Who wrote Faust?")
    whole = client.chat.completions.create(**question, max_tokens=12)
    stream = client.chat.completions.create(**question, max_tokens=12, stream=True)
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert len(pieces) > 3
    assert "".join(pieces) == whole.choices[0].message.content
    assert whole.model == "helpdesk-v0001"
    first, second = api_of_module.waits_for(2, prompt="Who wrote Faust?")
    assert first.response == second.response == "".join(pieces)
    assert first.num_response_tokens == second.num_response_tokens == 12
    assert first.finish_reason == second.finish_reason == "length"


def test_the_engine_says_how_sure_it_was_and_the_answer_is_the_same(
    url: str, spec: ModelServerSpec, api_of_module: FakeApi
) -> None:
    body = {**asking("Who is sure?"), "max_tokens": 6}
    told = [
        httpx.post(f"{url}/v1/chat/completions", json={**body, "stream": is_stream})
        for is_stream in (False, True)
    ]
    whole, streamed = api_of_module.waits_for(2, prompt="Who is sure?")
    assert whole.confidence is not None
    assert 0 < whole.confidence < 1
    assert whole.confidence == pytest.approx(streamed.confidence, rel=1e-3)
    assert not any("logprob" in response.text for response in told)
    silent = replace(spec, serving=ServingConfig(max_tokens=64, threads=1), system_prompt="")
    with serve(silent) as url_of_silent:
        answer = httpx.post(f"{url_of_silent}/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["message"] == told[0].json()["choices"][0]["message"]
    assert answer["choices"][0].keys() == told[0].json()["choices"][0].keys()


def test_greedy_answers_are_the_same_alone_and_together(client: openai.OpenAI) -> None:
    def ask(number: int) -> str | None:
        messages: Any = [{"role": "user", "content": f"What is {number} plus {number}?"}]
        answer = client.chat.completions.create(model="helpdesk", messages=messages, max_tokens=8)
        return answer.choices[0].message.content

    alone = [ask(number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == alone


def test_the_common_beginning_is_worked_through_once_except_in_a_trial(url: str) -> None:
    def num_reused(question: str, **headers: str) -> int:
        body = {**asking(question), "max_tokens": 1}
        body["messages"].insert(0, {"role": "system", "content": "Be brief and kind. " * 10})
        response = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers)
        return response.json()["timings"]["cache_n"]

    num_reused("Who is first?")
    assert num_reused("Who is second?") > 50
    assert num_reused("Who is third?", **{"x-llm-assets-trial": "ab"}) == 0


def test_the_client_library_understands_a_refusal(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "word " * 400}]
    expected = "tokens, the context of application 'helpdesk' holds 256"
    with pytest.raises(openai.BadRequestError, match=expected):
        client.chat.completions.create(model="helpdesk", messages=messages)
    with pytest.raises(openai.BadRequestError, match=expected):
        client.chat.completions.create(model="helpdesk", messages=messages, stream=True)


def test_a_client_that_leaves_mid_stream_is_recorded_and_its_slot_is_free(
    url: str, client: openai.OpenAI, api_of_module: FakeApi
) -> None:
    question: Any = asking("Who leaves early?")
    body = {**question, "stream": True, "max_tokens": 200}
    for _ in range(4):  # twice as many as there are slots
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
            next(response.iter_raw())
    client.chat.completions.create(**question, max_tokens=1)
    records = api_of_module.waits_for(5, prompt="Who leaves early?")
    left = [record for record in records if record.finish_reason == "client_disconnected"]
    assert len(left) == 4, [record.finish_reason for record in records]
    assert all(record.response for record in left)


def test_health_and_readiness(url: str) -> None:
    assert httpx.get(f"{url}/healthz").json()["status"] == "ok"
    ready = httpx.get(f"{url}/readyz")
    assert (ready.status_code, ready.json()["model_version"]) == (200, "helpdesk-v0001")


def test_a_stopped_server_finishes_what_it_began_and_hands_over_its_records(
    spec: ModelServerSpec, tmp_path: Path, api: FakeApi
) -> None:
    process = ModelProcess(replace(spec, collector_url=api.url), tmp_path, tmp_path / "log")
    process.child.start(time.monotonic())
    wait_until_ready(process)
    url = f"http://127.0.0.1:{process.port}/v1/chat/completions"
    with httpx.stream("POST", url, json={**ASK, "stream": True}) as response:
        pieces = response.iter_raw()
        next(pieces)
        process.child.terminate()
        assert b"[DONE]" in b"".join(pieces)
    process.child.stop(grace_seconds=10)
    assert process.child.exit_code == 0
    assert api.interactions[0].finish_reason == "length"


def test_a_server_that_cannot_load_its_model_says_so_in_its_last_line(
    spec: ModelServerSpec, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"nothing")
    with (
        pytest.raises(UserError, match=r"did not start: .*broken\.gguf: the engine cannot load"),
        serve(replace(spec, base_model=broken)),
    ):
        pass


def test_a_port_in_use_ends_in_one_line(spec: ModelServerSpec, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        replace(spec, port=port).write(tmp_path / "spec.json")
        command = [sys.executable, "-m", "llm_assets.serving.model_server"]
        ended = subprocess.run(
            [*command, "--spec", str(tmp_path / "spec.json")],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"llm-assets: port {port} on 127.0.0.1: Address already in use\n"


def test_a_temporary_server_answers_and_is_gone_afterwards(spec: ModelServerSpec) -> None:
    with serve(spec) as url:
        assert httpx.post(f"{url}/v1/chat/completions", json=ASK).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")
