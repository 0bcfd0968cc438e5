"""Known values are sent by every way in; afterwards no file of the home holds any of them."""

import asyncio
import base64
import dataclasses
import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import polars as pl
import pytest
from aiohttp import web

from llm_assets.feedback.log import Log
from llm_assets.feedback.tables import read_table
from llm_assets.installation import Installation
from llm_assets.records import SHADOW_VARIANT, Interaction
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.recorder import create_app
from llm_assets.serving.spec import ModelServerSpec
from tests.feedback.collecting import a_client, a_process, feedback, installation_in, interactions
from tests.feedback.formats.examples import EXAMPLES
from tests.feedback.formats.telemetry import GENAI, a_log_record, a_span, in_protobuf, logs, traces
from tests.records import TIME, an_interaction
from tests.serving.recording import DONE, end_event, playing, sent, text_event

CANARIES = {
    "email": "canary.quill@zephyr-mail.example",
    "phone": "+49 170 5558231",
    "iban": "DE89 3704 0044 0532 0130 00",
    "card": "4539 1488 0343 6467",
    "ip_address": "203.0.113.77",
    "ip_address of version 6": "2001:db8:85a3::8a2e:370:7334",
    "national_id": "536-90-4399",
    "token": "ghp_" + "q1Z2x3W4c5E6v7R8b9T0n1Y2m3U4k5I6o7P8",
    "password": "password=Tr0ub4dor-Canary",
}
TEXT = "Please keep " + ", then ".join(CANARIES.values()) + " for me"
EMAIL, CARD = CANARIES["email"], CANARIES["card"]
SECRETS = {name: value.removeprefix("password=") for name, value in CANARIES.items()}


def spellings(value: str) -> Iterator[bytes]:
    """Yield a value as it may stand in a file: also escaped, or inside of something in base64."""
    for text in {value, re.sub("[ -]", "", value)}:
        raw = text.encode()
        yield from (raw, json.dumps(text)[1:-1].encode(), quote(text, safe="").encode())
        for offset in range(3):
            encoded = base64.b64encode(bytes(offset) + raw)
            # Its first and last characters depend on what stands beside the value.
            yield encoded[(0, 2, 3)[offset] : -4]


def content_of(file: Path) -> bytes:
    if file.suffix == ".parquet":
        return json.dumps(
            pl.read_parquet(file).to_dicts(), default=str, ensure_ascii=False
        ).encode()
    content = file.read_bytes()
    return gzip.decompress(content) if file.suffix == ".gz" else content


def found_in(content: bytes) -> list[str]:
    return [
        name
        for name, value in SECRETS.items()
        if any(spelling in content for spelling in spellings(value))
    ]


def leaks(folder: Path) -> list[tuple[str, str]]:
    """Return every file below a folder that holds a canary, and which."""
    return [
        (str(file.relative_to(folder)), name)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        for name in found_in(str(file).encode() + b"\n" + content_of(file))
    ]


@pytest.mark.parametrize("value", SECRETS.values(), ids=SECRETS)
def test_the_search_finds_a_value_however_it_is_written(value: str, tmp_path: Path) -> None:
    raw = f"before {value} after".encode()
    pl.DataFrame({"a": [[{"role": "user", "content": raw.decode()}]]}).write_parquet(
        tmp_path / "a.parquet"
    )
    (tmp_path / "b.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "c").write_bytes(base64.b64encode(raw))
    (tmp_path / "d").write_bytes(base64.b64encode(b"x" + raw))
    (tmp_path / "e").write_bytes(base64.b64encode(b"xy" + raw))
    (tmp_path / "f").write_bytes(quote(value, safe="").encode())
    (tmp_path / "g").write_bytes(json.dumps({"text": raw.decode()}).encode())
    assert {file for file, _ in leaks(tmp_path)} == {"a.parquet", "b.gz", *"cdefg"}


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return installation_in(tmp_path)


def with_canaries(value: Any) -> Any:
    """Return an object whose texts and users are canaries."""
    text = json.dumps(value)
    for sentence in ("When is breakfast?", "From seven to ten.", "I do not know.", "Wrong hours."):
        text = text.replace(sentence, TEXT)
    return json.loads(text.replace("guest-4", EMAIL))


def send_own_records(client: httpx.Client) -> None:
    record = an_interaction(
        f"request:{EMAIL}",
        prompt=TEXT,
        response=TEXT,
        messages=[{"role": "user", "content": TEXT, "name": EMAIL}],
        session_id=CARD,
        user_id=EMAIL,
        aliases=[CANARIES["phone"], CANARIES["iban"]],
        model_version=TEXT,
        finish_reason=EMAIL,
    )
    shadow = dataclasses.replace(record, variant=SHADOW_VARIANT)
    content = record.to_json() + b"\n" + shadow.to_json()
    accepted = client.post("/v1/interactions", content=content)
    assert accepted.json() == {"accepted": 2, "duplicates": 0}
    about = {"user_id": EMAIL, "name": TEXT, "time": TIME.isoformat()}
    for number, fields in enumerate(
        (
            {"kind": "comment", "text": TEXT, "request_id": f"request:{EMAIL}"},
            {"kind": "correction", "text": TEXT, "request_id": CANARIES["phone"]},
            {"kind": "preference", "text": TEXT, "rejected": TEXT, "request_id": "unknown"},
            {"kind": "comment", "text": TEXT, "request_id": f"unknown:{EMAIL}"},
            {"kind": "comment", "text": TEXT, "session_id": CARD, "application": "helpdesk"},
        )
    ):
        body = {**about, **fields, "feedback_id": f"{number}/{EMAIL}"}
        assert client.post("/v1/feedback", json=body).json() == {"accepted": 1, "duplicates": 0}


def ask_for_a_fallback(client: httpx.Client) -> None:
    body = {
        "model": "helpdesk",
        "messages": [{"role": "user", "content": TEXT}],
        "user": EMAIL,
        "metadata": {"session_id": CARD},
    }
    headers = {"x-llm-assets-variant": EMAIL, "x-request-id": f"fallback:{EMAIL}"}
    response = client.post("/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == 200


def send_telemetry(client: httpx.Client) -> None:
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": TEXT}]}])
    answers = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": TEXT}]}])
    for number, as_protobuf in enumerate((False, True)):
        attributes = {
            **GENAI,
            "gen_ai.response.id": f"chatcmpl-{number}",
            "gen_ai.input.messages": messages,
            "gen_ai.output.messages": answers,
            "gen_ai.conversation.id": CARD,
            "user.id": EMAIL,
        }
        judgement = {
            "gen_ai.evaluation.name": "comment",
            "gen_ai.evaluation.explanation": TEXT,
            "gen_ai.evaluation.score.label": "thumbs_down",
            "gen_ai.response.id": f"chatcmpl-{number}",
            "user.id": EMAIL,
        }
        for path, body in (
            ("/v1/traces", traces(a_span(attributes), service_name="bank")),
            ("/v1/logs", logs(a_log_record("gen_ai.evaluation.result", judgement))),
        ):
            content = in_protobuf(body) if as_protobuf else orjson.dumps(body)
            kind = "application/x-protobuf" if as_protobuf else "application/json"
            headers = {"content-type": kind, "content-encoding": "gzip"}
            response = client.post(path, content=gzip.compress(content), headers=headers)
            assert response.status_code == 200


def send_what_is_refused(client: httpx.Client) -> None:
    fields = json.loads(an_interaction("r9", prompt=TEXT).to_json())
    comment = {"kind": "comment", "text": TEXT, "request_id": "r9"}
    for path, body in (
        ("/v1/interactions", f'{{"request_id": "{TEXT}'),
        ("/v1/interactions", json.dumps({**fields, "status": EMAIL})),
        ("/v1/interactions", json.dumps({**fields, "application": EMAIL})),
        ("/v1/interactions", json.dumps({**fields, EMAIL: 1})),
        ("/v1/feedback", json.dumps({**comment, "kind": EMAIL})),
        ("/v1/feedback", json.dumps({**comment, "application": EMAIL})),
        ("/v1/feedback", json.dumps({**comment, "value": CARD})),
        ("/v1/traces", f'{{"resourceSpans": "{TEXT}"'),
        ("/v1/logs", json.dumps({"resourceLogs": TEXT})),
    ):
        headers = {"content-type": "application/json"}
        response = client.post(path, content=body, headers=headers)
        assert response.status_code == 400, path
        assert found_in(response.content) == [], response.text


def test_nothing_that_is_posted_reaches_a_file_or_the_output(installation: Installation) -> None:
    with a_process(installation) as (process, url):
        with httpx.Client(base_url=url, timeout=30) as client:
            send_own_records(client)
            ask_for_a_fallback(client)
            send_telemetry(client)
            send_what_is_refused(client)
        process.terminate()
        output = "".join(process.communicate(timeout=30))
    assert leaks(installation.home) == []
    assert found_in(output.encode()) == []
    stored = interactions(installation)
    assert len(stored) == 4
    assert all("<EMAIL_1>" in record.prompt for record in stored)
    assert sum("<CARD_1>" in record.response for record in stored) == 3
    ((unseen,), _) = installation.shadow_log.read(installation.shadow_log.partitions()[0])
    assert isinstance(unseen, Interaction)
    assert (unseen.variant, "<CARD_1>" in unseen.response) == (SHADOW_VARIANT, True)
    assert sum("<PHONE_1>" in (record.text or "") for record in feedback(installation)) >= 5
    assert {record.user_id for record in stored} == {installation.scrubbers.pseudonym(EMAIL)}


def test_metrics_tell_no_personal_data(installation: Installation) -> None:
    with a_client(installation) as client:
        client.post("/v1/interactions", content=an_interaction("r1", variant=EMAIL).to_json())
        assert found_in(client.get("/metrics").content) == []


def test_nothing_of_a_streamed_answer_reaches_a_file_or_the_output(
    installation: Installation, capfd: pytest.CaptureFixture[str]
) -> None:
    with a_process(installation) as (process, url):
        asyncio.run(_stream_one_chat(url))
        process.terminate()
        output = "".join(process.communicate(timeout=30))
    (record,) = interactions(installation)
    assert "<EMAIL_1>" in record.prompt
    assert record.prompt.split(", then ")[1:-1] == record.response.split(", then ")[1:-1]
    assert leaks(installation.home) == []
    assert found_in(output.encode() + "".join(capfd.readouterr()).encode()) == []


async def _stream_one_chat(url: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        # In pieces, so that no value comes whole.
        parts = [text_event(TEXT[start : start + 5]) for start in range(0, len(TEXT), 5)]
        return await sent(request, [*parts, end_event(), DONE])

    spec = ModelServerSpec(
        application="helpdesk",
        model_version="helpdesk-v0001",
        base_model=Path("tiny.gguf"),
        ready_file=Path("ready.json"),
        system_prompt="Name the desk.",
        serving=ServingConfig(max_tokens=8, threads=1, parallel_requests=2),
        collector_url=url,
    )
    body = {
        "model": "helpdesk",
        "messages": [{"role": "user", "content": TEXT}],
        "stream": True,
        "user": EMAIL,
        "metadata": {"session_id": CARD},
    }
    async with playing(answer) as engine_url:
        collector = httpx.AsyncClient(timeout=30)
        app = create_app(spec, engine_url=engine_url, collector=collector)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://recorder") as client,
        ):
            assert (await client.post("/v1/chat/completions", json=body)).status_code == 200


def test_nothing_that_is_ingested_reaches_a_file_or_the_output(
    installation: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    for name, objects in EXAMPLES.items():
        lines = [orjson.dumps(with_canaries(value)) for value in objects]
        lines = [line.replace(b'"hotel"', b'"helpdesk"') for line in lines]
        # Cut short, and of a wrong type: both go to the quarantine.
        lines += [lines[0][: len(lines[0]) // 2], orjson.dumps({"messages": TEXT, "n": EMAIL})]
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(lines))
    (folder / "packed.jsonl.gz").write_bytes(
        gzip.compress(an_interaction("r8", prompt=TEXT, user_id=EMAIL).to_json())
    )
    result = subprocess.run(
        [sys.executable, "-m", "llm_assets.cli", "ingest", "--application=helpdesk", str(folder)],
        env={
            **os.environ,
            "LLM_ASSETS_HOME": str(installation.home),
            "LLM_ASSETS_APPLICATIONS": str(tmp_path / "applications"),
        },
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert found_in(result.stdout + result.stderr) == []
    assert len(interactions(installation)) >= len(EXAMPLES)
    assert list(installation.home.glob("quarantine/**/*.ndjson"))
    for name, log in (("interactions", Log.interactions), ("feedback", Log.feedback)):
        source = log(installation.home)
        for partition in source.partitions():
            frame, _ = read_table(source, partition)
            installation.table(name).write(partition, frame)
    assert list(installation.home.rglob("*.parquet"))
    assert leaks(installation.home) == []
