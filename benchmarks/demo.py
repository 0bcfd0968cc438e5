"""Measures the demo's stages, the load time of the definitions, and the endpoint's latency.

Prints one JSON object. Figures that depend on the machine stand beside a floor measured in the same
run: the definitions beside `import dagster`, the endpoint beside the model server behind it.

    python benchmarks/demo.py [--size small|full]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from llm_assets.demo.platform import is_ready, running_platform, wait_for
from llm_assets.demo.questions import load_questions
from llm_assets.demo.run import APPLICATION
from llm_assets.serving.status import ServingStatus
from llm_assets.settings import Settings

_NUM_REQUESTS = 200
_NUM_LOADS = 5


def main() -> None:
    """Run all measurements in a temporary home and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=("small", "full"), default="small")
    size = parser.parse_args().size
    with tempfile.TemporaryDirectory(prefix="llm-assets-benchmark-") as folder:
        os.environ["LLM_ASSETS_HOME"] = folder
        demo = measure_demo(size)
        result = {
            "demo": demo,
            "definitions": measure_definitions(),
            "endpoint": measure_endpoint(Settings.from_environment()),
        }
    print(json.dumps(result, indent=2))


def measure_demo(size: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "llm_assets.cli", "demo", "--size", size, "--json"]
    start = time.monotonic()
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    summary = json.loads(finished.stdout)
    return {
        "size": size,
        "seconds": time.monotonic() - start,
        "stages": summary["stages"],
        "cycle_steps": summary["steps"],
        "accuracy_before": summary["before"]["accuracy"],
        "accuracy_after": summary["after"]["accuracy"],
        "n": summary["n"],
    }


def measure_definitions() -> dict[str, float]:
    ours = _median_seconds("import llm_assets.definitions")
    floor = _median_seconds("import dagster")
    return {"load_seconds": ours, "import_dagster_seconds": floor, "ratio": ours / floor}


def measure_endpoint(settings: Settings) -> dict[str, Any]:
    questions = [question.text for question in load_questions(seed=1)[:_NUM_REQUESTS]]
    with running_platform(settings) as platform:
        wait_for(
            lambda: is_ready(settings), timeout_seconds=120, what="the platform", child=platform
        )
        time.sleep(10)  # Dagster has just started; its first ticks are over by then
        endpoint = ServingStatus.read(Path(settings.home)).applications[APPLICATION]
        direct = f"http://127.0.0.1:{endpoint.port}"
        # Interleaved, so that whatever else the machine does meets both.
        latencies: dict[str, list[float]] = {"gateway": [], "model_server": []}
        with httpx.Client(timeout=60) as client:
            for question in questions:
                for name, url in (("gateway", settings.endpoint_url), ("model_server", direct)):
                    latencies[name].append(_ask(client, url, question))
    measured: dict[str, Any] = {name: _quantiles(values) for name, values in latencies.items()}
    ratio = measured["gateway"]["p50_seconds"] / measured["model_server"]["p50_seconds"]
    return {**measured, "p50_ratio": ratio, "num_requests": len(questions)}


def _ask(client: httpx.Client, url: str, question: str) -> float:
    body = {"model": APPLICATION, "messages": [{"role": "user", "content": question}]}
    start = time.perf_counter()
    client.post(f"{url}/v1/chat/completions", json=body).raise_for_status()
    return time.perf_counter() - start


def _quantiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=20)
    return {"p50_seconds": cuts[9], "p95_seconds": cuts[18]}


def _median_seconds(statement: str) -> float:
    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-W", "ignore", "-c", statement], check=True)
        return time.perf_counter() - start

    return statistics.median(once() for _ in range(_NUM_LOADS))


if __name__ == "__main__":
    main()
