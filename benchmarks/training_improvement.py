"""What a training makes of the example application: accuracy on questions it has not seen."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import polars as pl
from training_data import Pair, Workplace, helpdesk_pairs

from llm_assets.errors import UserError
from llm_assets.evaluation.run import evaluate
from llm_assets.evaluation.scorer import SCORERS
from llm_assets.intervals import newcombe, wilson
from llm_assets.serving.adapter import convert_adapter
from llm_assets.serving.gguf import prepare_base
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.serving.temporary import serve
from llm_assets.training.job import TrainingResult
from llm_assets.training.launch import worker_command


def measure_improvement(workplace: Workplace, *, max_steps: int | None) -> dict[str, Any]:
    """Train the application as it is configured; print its accuracy before and after."""
    application = workplace.application
    pairs, known = helpdesk_pairs(), workplace.pairs("helpdesk")
    holdout = pairs[len(known) :]
    settings = application.training.model_dump(mode="json")
    if max_steps is not None:
        settings["max_steps"] = max_steps
    job = workplace.job("helpdesk-improvement", known, **settings)
    folder = job.rows_file.parent
    for before in (job.output_dir, job.work_dir):
        shutil.rmtree(before, ignore_errors=True)
    job.write(folder / "job.json")
    started = time.monotonic()
    with (folder / "log").open("w") as log:
        subprocess.run(
            worker_command(folder / "job.json"), stdout=log, stderr=subprocess.STDOUT, check=True
        )
    minutes = (time.monotonic() - started) / 60
    metrics = TrainingResult.read(job.output_dir).metrics
    right = {
        "before": _num_right(workplace, holdout, adapter=None),
        "after": _num_right(workplace, holdout, adapter=job.output_dir),
    }
    n = len(holdout)
    print(f"\n{metrics['num_train_rows']:.0f} rows, {metrics['num_steps']:.0f} steps, ", end="")
    print(f"{job.config.compute.num_threads} threads: {minutes:.1f} minutes, ", end="")
    print(f"{metrics['cpu_seconds']:.0f} CPU s; {n} questions of the holdout")
    for name, successes in right.items():
        low, high = wilson(successes, n)
        print(f"  accuracy {name:8}{successes / n:7.3f}  [{low:.3f}, {high:.3f}]")
    low, high = newcombe(right["after"], n, right["before"], n)
    difference = (right["after"] - right["before"]) / n
    print(f"  difference       {difference:+7.3f}  [{low:+.3f}, {high:+.3f}]")
    return {"n": n, "num_right": right, "minutes": minutes, "metrics": metrics}


def _num_right(workplace: Workplace, holdout: Sequence[Pair], *, adapter: Path | None) -> int:
    """Serve the base model, with an adapter or alone, as long as it takes to ask all questions."""
    application = workplace.application
    if application.serving is None:
        raise UserError("the example application is not served")
    folder = workplace.folder / "served"
    base = prepare_base(
        application.base_model.resolve(), folder, quantization=application.serving.quantization
    )
    spec = ModelServerSpec(
        application=application.name,
        model_version="helpdesk-v0001" if adapter is None else "helpdesk-v0002",
        base_model=base,
        adapter=None
        if adapter is None
        else convert_adapter(base, adapter, folder / "adapter.gguf"),
        system_prompt=application.system_prompt,
        serving=application.serving,
        ready_file=folder / "ready.json",
    )
    config = application.evaluation
    with serve(spec) as base_url, httpx.Client(base_url=base_url, timeout=120) as client:

        def ask(prompt: str) -> str:
            body = {
                "model": application.name,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": config.max_tokens,
            }
            response = client.post("/v1/chat/completions", json=body).raise_for_status()
            return response.json()["choices"][0]["message"]["content"]

        samples = pl.DataFrame(holdout, schema=["prompt", "target"], orient="row")
        scored = evaluate(
            samples, ask, scorer=SCORERS[config.scorer], num_workers=config.num_workers
        )
    return int(scored["score"].sum())
