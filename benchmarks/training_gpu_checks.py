"""What must be true on a GPU before its times mean anything, in `training_gpu.py`."""

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from training_gpu_model import Architecture, chat_rows, full_rows, lora_config
from training_gpu_trainer import start

from llm_assets.errors import UserError
from llm_assets.training.config import TrainingConfig
from llm_assets.training.job import TrainingJob
from llm_assets.training.launch import has_gpu, run_worker

_BATCH = range(4)
_LENGTH = 256
_NUM_BEFORE, _NUM_AFTER = 17, 3
# A step's loss in bfloat16 moves by less than this part when only the order of sums is another.
_TOLERANCE = 2e-3

# Two steps of the worker: with which settings of the training section.
_JOBS: Mapping[str, Mapping[str, Any]] = {
    "LoRA in float32": {"compute": {"bf16": False}},
    "LoRA, lower layers frozen": {"num_top_layers": 2},
    "LoRA, gradient checkpointing": {"compute": {"gradient_checkpointing": True}},
    "LoRA, ZeRO 3": {"compute": {"zero_stage": 3}},
    "QLoRA": {"load_in_4bit": True},
    "KTO": {"method": "kto", "learning_rate": 1e-4},
    "all weights": {"finetuning": "full", "learning_rate": 1e-4},
    "a refusal": {"target_modules": ["nothing"]},
}
_REFUSED = "a refusal"
_METRICS = ("train_loss_first_step", "train_loss", "peak_memory_bytes", "seconds")


def checks(architecture: Architecture, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield whether training teaches, goes on where it stopped, and packs without mixing rows."""
    for name, settings in {"LoRA": {}, "QLoRA": {"load_in_4bit": True}}.items():
        if name == "QLoRA" and not has_gpu():
            continue
        config = lora_config(train_batch_size=len(_BATCH), **settings)
        yield from _check(name, architecture, folder, config)


def _check(
    name: str, architecture: Architecture, folder: Path, config: TrainingConfig
) -> Iterator[dict[str, Any]]:
    from llm_assets.training.engine.checkpoints import Checkpoints, Progress
    from llm_assets.training.engine.deepspeed_engine import restore_optimizer, state_of

    num_steps = _NUM_BEFORE + _NUM_AFTER
    rows = full_rows(len(_BATCH), length=_LENGTH, vocab_size=architecture.vocab_size)
    trainer = start(folder, config, num_steps=num_steps)
    loop = trainer.loop(rows, config)
    losses = [loop.step(n, _BATCH, is_stopping=False)[0] for n in range(_NUM_BEFORE)]
    with tempfile.TemporaryDirectory() as work_dir:
        checkpoints = Checkpoints(Path(work_dir))
        state = {key: value.cpu() for key, value in state_of(trainer.engine)}
        checkpoints.save(state, Progress(fingerprint=name, step=_NUM_BEFORE))
        losses += [loop.step(n, _BATCH, is_stopping=False)[0] for n in range(_NUM_AFTER)]
        state = checkpoints.load(_NUM_BEFORE)
    yield {
        "check": f"{name}: the loss of a repeated batch falls",
        "is_passed": losses[-1] < 0.99 * losses[0],
        "losses": losses,
    }
    yield _packing(name, trainer.loop(chat_rows(16, vocab_size=architecture.vocab_size), config))
    trainer = start(folder, config, num_steps=num_steps, state=state)
    restore_optimizer(trainer.engine, state, step=_NUM_BEFORE)
    loop = trainer.loop(rows, config)
    restored = [loop.step(n, _BATCH, is_stopping=False)[0] for n in range(_NUM_AFTER)]
    expected = losses[_NUM_BEFORE:]
    yield {
        "check": f"{name}: a training that was interrupted goes on as if it had not been",
        "is_passed": all(map(_is_close, restored, expected)),
        "losses": expected,
        "losses_after_restoring": restored,
    }


def _packing(name: str, loop: Any) -> dict[str, Any]:
    """Compare rows that share sequences with the same rows each in one of its own."""
    import torch

    from llm_assets.training.engine.scoring import token_logps

    loop.engine.eval()
    numbers = range(len(loop.examples.examples))
    with torch.no_grad():
        packed, _ = token_logps(loop.engine, loop.examples, numbers)
        alone = [token_logps(loop.engine, loop.examples, [number])[0] for number in numbers]
    difference = (packed - torch.cat(alone)).abs().mean().item()
    spread = packed.std().item()
    return {
        "check": f"{name}: packed rows are scored as if they were alone",
        "is_passed": difference < 0.05 * spread,
        "mean_difference_of_log_probability": difference,
        "standard_deviation_of_log_probability": spread,
    }


def _is_close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=_TOLERANCE)


def worker_checks(_: Architecture, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield how the worker ends, started as a user starts it, all jobs at once.

    One job breaks a rule when the processes have found each other: the worker must still say so.
    """
    jobs = {
        name: settings
        for name, settings in _JOBS.items()
        if has_gpu() or not settings.get("load_in_4bit")
    }
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(len(jobs)) as pool:
        folders = [Path(work, str(number)) for number in range(len(jobs))]
        yield from pool.map(_worker_check, jobs, jobs.values(), folders, [folder] * len(jobs))


def _worker_check(
    name: str, settings: Mapping[str, Any], folder: Path, model: Path
) -> dict[str, Any]:
    check = f"worker: {name}"
    folder.mkdir()
    rows = [
        {"prompt": f"What is {n}?", "response": f"It is {n}.", "is_desirable": n % 2 == 0}
        for n in range(16)
    ]
    splits = ["train"] * 12 + ["validation"] * 4
    lines = [json.dumps({**row, "split": s}) for row, s in zip(rows, splits, strict=True)]
    (folder / "rows.ndjson").write_text("\n".join(lines))
    defaults = {"max_steps": 2, "train_batch_size": 4, "min_train_rows": 4, "eval_steps": 1}
    job = TrainingJob(
        model_version="random-v0002",
        base_model_dir=model,
        rows_file=folder / "rows.ndjson",
        system_prompt="Answer.",
        config=lora_config(**defaults, **settings),
        output_dir=folder / "out",
        work_dir=folder / "work",
    )
    try:
        result = run_worker(job, folder / "job.json")
    except UserError as error:
        is_refused = str(error).endswith("exit code 1")
        return {"check": check, "is_passed": name == _REFUSED and is_refused, "error": str(error)}
    return {
        "check": check,
        "is_passed": name != _REFUSED,
        "energy_source": result.energy_source,
        **{metric: result.metrics[metric] for metric in _METRICS},
    }
