"""Measures how fast logs are ingested and how fast the collector makes records durable.

Ingest, in rows, is set beside `polars.scan_ndjson(file).sink_parquet(out)` on the same lines, which
neither validates nor cleans nor syncs; the collector beside two handlers under uvicorn that read
the body and say 200, one of bare ASGI and one a Starlette route, with the same client. Every number
is of one run, each measured process is fresh, and the sides alternate. The texts are those of
people (chitchat-dataset), one in fifty with personal data put in. Prints one JSON object.

    python benchmarks/feedback.py [--max-rows 1000000] [--small]
"""

import argparse
import asyncio
import contextlib
import importlib.resources
import itertools
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_APPLICATIONS = Path(__file__).parents[1] / "applications"
_APPLICATION = "chitchat"
_FORMATS = ("openai-chat", "otlp")
_PERSONAL_DATA_RATE = 0.02
# Records a request, requests a round, and connections: what arrives at once shares a sync.
_LOADS = ((100, 200, 8), (1, 2000, 8), (1, 4000, 64))
_SPANS_PER_LINE = 10  # what a batching exporter puts on a line


def main() -> None:
    """Run all measurements in a temporary folder and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--max-rows", type=int, default=1_000_000)
    parser.add_argument("--small", action="store_true", help="10,000 rows and short rounds")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_CHILDREN[options.child[0]](*map(Path, options.child[1:]))))
        return
    max_rows = 10_000 if options.small else options.max_rows
    with tempfile.TemporaryDirectory(prefix="llm-assets-benchmark-") as folder:
        result = {
            "ingest": {name: measure_ingest(name, max_rows, Path(folder)) for name in _FORMATS},
            "collector": measure_collector(Path(folder), num_rounds=2 if options.small else 7),
        }
    print(json.dumps(result, indent=2))


def measure_ingest(format_name: str, max_rows: int, folder: Path) -> dict[str, Any]:
    sizes = [size for size in (10_000, 100_000, 1_000_000, 10_000_000) if size <= max_rows]
    by_size: dict[str, Any] = {}
    for size in sizes:
        file = folder / f"{format_name}-{size}.jsonl"
        _write_log(file, format_name, size)
        runs = [
            {
                "polars": _in_child("polars", file, folder / "polars.parquet"),
                "ingest": _in_child("ingest", file, folder / f"{format_name}-{size}-{attempt}"),
            }
            for attempt in range(1 if size > 100_000 else 3)
        ]
        assert all(run["ingest"]["num_accepted"] == size for run in runs)
        # The median of ratios: what else the machine did met both sides of one.
        run = sorted(runs, key=_ratio)[len(runs) // 2]
        by_size[str(size)] = {
            **run,
            "megabytes": round(file.stat().st_size / 1e6, 1),
            "throughput_ratio": round(_ratio(run), 3),
        }
        print(f"{format_name} {size}: {json.dumps(by_size[str(size)])}", file=sys.stderr)
        file.unlink()
    return {
        "rows": by_size,
        # Seconds for each further row, from one size to the next: equal where cost is linear.
        "added_microseconds_per_row": {
            name: [
                round(
                    (by_size[str(b)][name]["seconds"] - by_size[str(a)][name]["seconds"])
                    / (b - a)
                    * 1e6,
                    1,
                )
                for a, b in itertools.pairwise(sizes)
            ]
            for name in ("polars", "ingest")
        },
    }


def _ratio(run: dict[str, Any]) -> float:
    return run["polars"]["seconds"] / run["ingest"]["seconds"]


def _in_child(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _ingest(file: Path, home: Path) -> dict[str, Any]:
    import functools

    from llm_assets.feedback.ingest import ingest
    from llm_assets.feedback.scrubbing.key import load_or_create_key
    from llm_assets.feedback.scrubbing.scrubber import Scrubbers

    started = _clock()
    make_scrub = functools.partial(Scrubbers, {}, load_or_create_key(home))
    report = ingest([file], application=_APPLICATION, home=home, make_scrub=make_scrub)
    return {"num_accepted": report.num_accepted, **_spent(started)}


def _polars(file: Path, out: Path) -> dict[str, Any]:
    import polars as pl

    started = _clock()
    pl.scan_ndjson(file).sink_parquet(out)
    return _spent(started)


_CHILDREN = {"ingest": _ingest, "polars": _polars}


def _clock() -> tuple[float, float]:
    return time.perf_counter(), sum(os.times()[:4])


def _spent(started: tuple[float, float]) -> dict[str, Any]:
    """Return the time since, imports aside, and the most memory, helping processes included."""
    seconds, cpu_seconds = (now - then for now, then in zip(_clock(), started, strict=True))
    status = Path("/proc/self/status").read_text()
    own = int(status.split("VmHWM:")[1].split()[0])
    largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    num_children = min(len(os.sched_getaffinity(0)), 4)
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "peak_mebibytes": (own + num_children * largest_child) >> 10,
    }


def _write_log(file: Path, format_name: str, num_rows: int) -> None:
    make = {"openai-chat": _openai_chat, "otlp": _otlp_span}[format_name]
    rows = (make(*row) for row in itertools.islice(_exchanges(), num_rows))
    with file.open("w", encoding="utf-8") as lines:
        if format_name == "otlp":
            for _ in range(num_rows // _SPANS_PER_LINE):
                spans = list(itertools.islice(rows, _SPANS_PER_LINE))
                scope = {"scope": {"name": "bot"}, "spans": spans}
                service = {"key": "service.name", "value": {"stringValue": "bot"}}
                resource_spans = {"resource": {"attributes": [service]}, "scopeSpans": [scope]}
                lines.write(json.dumps({"resourceSpans": [resource_spans]}) + "\n")
        else:
            lines.writelines(json.dumps(row) + "\n" for row in rows)


def _exchanges() -> Iterator[tuple[int, int, str, str]]:
    """Yield numbers, times, questions, and answers: what people wrote, ten a second."""
    source = importlib.resources.files("chitchat_dataset") / "dataset.json"
    conversations = json.loads(source.read_text(encoding="utf-8")).values()
    turns = [
        " ".join(message["text"] for message in turn)
        for conversation in itertools.islice(conversations, 2000)
        for turn in conversation["messages"]
        if any(message["text"].strip() for message in turn)
    ]
    random_ = random.Random(1)
    for number in itertools.count():
        place = random_.randrange(len(turns) - 4)
        question, answer = turns[place], " ".join(turns[place + 1 : place + 4])
        if random_.random() < _PERSONAL_DATA_RATE:
            digits = f"{random_.randrange(10**7):07}"
            values = (f"anna{digits}@example.com", f"+49 170 {digits}", "4111 1111 1111 1111")
            question += f" I am {random_.choice(values)}"
        yield number, 1_760_000_000 + number // 10, question, answer


def _openai_chat(number: int, seconds: int, question: str, answer: str) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "You are a friendly companion."},
        {"role": "user", "content": question},
    ]
    message = {"role": "assistant", "content": answer}
    return {
        "request": {
            "model": "gpt-4o-mini",
            "messages": messages,
            "temperature": 0.2,
            "user": f"u-{number % 5000}",
        },
        "response": {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": seconds,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 21, "completion_tokens": 14, "total_tokens": 35},
        },
    }


def _otlp_span(number: int, seconds: int, question: str, answer: str) -> dict[str, Any]:
    asked = [{"role": "user", "parts": [{"type": "text", "content": question}]}]
    given = [{"role": "assistant", "parts": [{"type": "text", "content": answer}]}]
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.id": f"chatcmpl-{number}",
        "gen_ai.conversation.id": f"c-{number // 4}",
        "gen_ai.input.messages": json.dumps(asked),
        "gen_ai.output.messages": json.dumps(given),
    }
    ids = random.Random(number)
    counts = {"gen_ai.usage.input_tokens": "21", "gen_ai.usage.output_tokens": "14"}
    return {
        "traceId": f"{ids.getrandbits(128):032x}",
        "spanId": f"{ids.getrandbits(64):016x}",
        "name": "chat gpt-4o-mini",
        "kind": 3,
        "startTimeUnixNano": f"{seconds}000000000",
        "endTimeUnixNano": f"{seconds + 1}200000000",
        "attributes": [
            *({"key": key, "value": {"stringValue": value}} for key, value in attributes.items()),
            *({"key": key, "value": {"intValue": value}} for key, value in counts.items()),
        ],
    }


def measure_collector(folder: Path, *, num_rounds: int) -> dict[str, Any]:
    home = folder / "collector"
    exchanges = _exchanges()
    measured: dict[str, Any] = {}
    with _api(home) as ours, _handler(_ASGI) as asgi, _handler(_STARLETTE) as starlette:
        ports = {"collector": ours, "asgi": asgi, "starlette": starlette}
        for num_records, num_requests, num_connections in _LOADS:
            rates: dict[str, list[float]] = {name: [] for name in ports}
            for _ in range(num_rounds):
                requests = [
                    _request([next(exchanges) for _ in range(num_records)])
                    for _ in range(num_requests)
                ]
                # A round of each by turns, so that whatever else the machine does meets both.
                for name, port in ports.items():
                    seconds, answers = asyncio.run(_send_all(port, requests, num_connections))
                    rates[name].append(num_records * num_requests / seconds)
                    if name == "collector":
                        num_accepted = sum(json.loads(answer)["accepted"] for answer in answers)
                        assert num_accepted == num_records * num_requests
            measured[f"{num_records} a request, {num_connections} connections"] = {
                "records_per_second": {
                    name: round(statistics.median(found)) for name, found in rates.items()
                },
                **{
                    f"ratio_to_{floor}": _median_ratio(rates["collector"], rates[floor])
                    for floor in ("asgi", "starlette")
                },
            }
            print(f"collector: {json.dumps(measured)}", file=sys.stderr)
    num_lines = sum(path.read_bytes().count(b"\n") for path in home.rglob("log/**/*.ndjson"))
    assert num_lines == num_rounds * sum(records * requests for records, requests, _ in _LOADS)
    return {**measured, "num_lines_in_log": num_lines}


def _median_ratio(ours: Sequence[float], floor: Sequence[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(ours, floor, strict=True)), 3)


def _request(exchanges: Sequence[tuple[int, int, str, str]]) -> bytes:
    lines = [
        json.dumps(
            {
                "request_id": f"chatcmpl-{number}",
                "application": _APPLICATION,
                "time": datetime.fromtimestamp(seconds, UTC).isoformat(),
                "model_version": "external",
                "variant": "external",
                "prompt": question,
                "response": answer,
                "messages": [{"role": "user", "content": question}],
            }
        )
        for number, seconds, question, answer in exchanges
    ]
    body = "\n".join(lines).encode()
    head = f"POST /v1/interactions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"content-type: application/x-ndjson\r\n\r\n" + body


async def _send_all(
    port: int, requests: Sequence[bytes], num_connections: int
) -> tuple[float, list[bytes]]:
    """Send requests over some connections that stay open; return the seconds and the bodies."""
    waiting = iter(requests)
    answers: list[bytes] = []

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            answers.append(await reader.readexactly(int(length)))
        writer.close()
        await writer.wait_closed()

    started = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(num_connections)))
    return time.perf_counter() - started, answers


@contextlib.contextmanager
def _api(home: Path) -> Iterator[int]:
    variables = {"LLM_ASSETS_HOME": str(home), "LLM_ASSETS_APPLICATIONS": str(_APPLICATIONS)}
    command = [sys.executable, "-m", "llm_assets.api"]
    with _server(command, {**os.environ, **variables}) as port:
        yield port


_ASGI = """
async def app(scope, receive, send):
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})
"""
_STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def answer(request):
    await request.body()
    return JSONResponse({})

app = Starlette(routes=[Route("/v1/interactions", answer, methods=["POST"])])
"""
_SERVE = """
import sys, uvicorn

port = int(sys.argv[sys.argv.index("--port") + 1])
uvicorn.run(
    app, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off"
)
"""


@contextlib.contextmanager
def _handler(code: str) -> Iterator[int]:
    with _server([sys.executable, "-c", code + _SERVE], dict(os.environ)) as port:
        yield port


@contextlib.contextmanager
def _server(command: Sequence[str], environment: dict[str, str]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    process = subprocess.Popen([*command, "--port", str(port)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
