"""One case of `training_gpu.py`, in a process of its own: a model, trained in one way.

It writes one line of JSON for each thing that it has measured, so what comes before a crash stays.
"""

import argparse
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from training_gpu_checks import checks, worker_checks
from training_gpu_model import ARCHITECTURES, chat_rows, full_rows, lora_config
from training_gpu_trainer import Trainer, made_model, start

from llm_assets.training.launch import worker_environment
from llm_assets.training.tokens import Example

# Dense bfloat16, from NVIDIA's data sheets of the H100 (SXM) and the H200.
_PEAK_FLOPS = {"NVIDIA H100 80GB HBM3": 989.4e12, "NVIDIA H200": 989.4e12}
_FULL_LENGTH = 2048
_NUM_WARM_UP = 2
_MIN_STEPS = 2


class Point(NamedTuple):
    """What is timed: kind and number of the rows of a step, and whether activations are kept."""

    rows: str
    micro_batch: int
    gradient_checkpointing: bool


# In the order of the memory that they take on 8 B weights: behind the first that does not fit
# nothing else would.
_POINTS = (
    Point("chat", 16, False),
    Point("chat", 64, True),
    Point("full", 2, True),
    Point("full", 8, True),
    Point("full", 1, False),
    Point("full", 2, False),
    Point("full", 4, False),
    Point("full", 8, False),
)


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", required=True, choices=("lora", "qlora", "checks", "workers"))
    parser.add_argument("--architecture", required=True, choices=ARCHITECTURES)
    parser.add_argument("--folder", required=True, type=Path, help="where the random models lie")
    parser.add_argument("--out", required=True, type=Path, help="where lines of JSON are added")
    parser.add_argument("--seconds", required=True, type=float, help="how long a point is timed")
    options = parser.parse_args()
    os.environ.update(worker_environment(lora_config().compute))
    folder = made_model(options.architecture, options.folder)
    with options.out.open("a") as out:
        for measured in _measured(options, folder):
            print(json.dumps(measured), file=out, flush=True)


def _measured(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    if options.case in ("lora", "qlora"):
        return points(options.architecture, folder, case=options.case, seconds=options.seconds)
    check = checks if options.case == "checks" else worker_checks
    return check(ARCHITECTURES[options.architecture], folder)


def points(
    architecture: str, folder: Path, *, case: str, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yield what each point took, until one needs more memory than there is."""
    import torch

    shape = ARCHITECTURES[architecture]
    examples = {
        "chat": chat_rows(512, vocab_size=shape.vocab_size),
        "full": full_rows(64, length=_FULL_LENGTH, vocab_size=shape.vocab_size),
    }
    began = time.monotonic()
    config = lora_config(load_in_4bit=case == "qlora", train_batch_size=1, learning_rate=1e-4)
    trainer = start(folder, config, num_steps=10**6)
    yield {"load_seconds": time.monotonic() - began, **_machine(trainer)}
    flops = shape.flops_per_token(length=_FULL_LENGTH, r=config.r)
    for point in _POINTS:
        try:
            took = _timed(trainer, point, examples[point.rows], seconds=seconds)
        except torch.OutOfMemoryError:
            yield {**point._asdict(), "is_out_of_memory": True}
            return
        peak_flops = _peak_flops(trainer)
        if point.rows == "full" and peak_flops is not None:
            rate = took["tokens_per_second"] / peak_flops
            took |= {"mfu": rate * flops.lora, "mfu_six_n": rate * flops.six_n}
        yield {**point._asdict(), **took}


def _timed(
    trainer: Trainer, point: Point, examples: Sequence[Example], *, seconds: float
) -> dict[str, Any]:
    from llm_assets.training.energy import open_meter
    from llm_assets.training.engine.guards import require_finite
    from llm_assets.training.engine.memory import peak_memory_bytes

    model = trainer.engine.module.model
    if point.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    else:
        model.gradient_checkpointing_disable()
    size = point.micro_batch
    config = lora_config(
        train_batch_size=size, compute={"bf16": True, "per_device_train_batch_size": size}
    )
    loop = trainer.loop(examples, config)
    batches = itertools.cycle(
        range(start, start + size) for start in range(0, len(examples) - size + 1, size)
    )
    for number in range(_NUM_WARM_UP):
        loop.step(number, next(batches), is_stopping=False)
    _begin_to_count_memory()
    meter = open_meter(num_nodes=1, world_size=1, watts=config.compute.watts)
    joules, began, num_steps, num_tokens = meter.joules(), time.monotonic(), 0, 0
    while num_steps < _MIN_STEPS or time.monotonic() - began < seconds:
        batch = next(batches)
        loss, _ = loop.step(num_steps, batch, is_stopping=False)  # waits for the device
        require_finite(loss, step=num_steps)
        num_tokens += sum(example.num_tokens for example in loop.examples.of(batch))
        num_steps += 1
    took, joules = time.monotonic() - began, meter.joules() - joules
    return {
        "num_steps": num_steps,
        "seconds_per_step": took / num_steps,
        "rows_per_second": num_steps * size / took,
        "tokens_per_second": num_tokens / took,
        "peak_memory_bytes": peak_memory_bytes(),
        "watts": joules / took,
        "joules_per_1000_tokens": 1000 * joules / num_tokens,
        "energy_source": meter.source,
    }


def _begin_to_count_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak_flops(trainer: Trainer) -> float | None:
    import torch

    is_gpu = trainer.device.type == "cuda"
    return _PEAK_FLOPS.get(torch.cuda.get_device_name(trainer.device)) if is_gpu else None


def _machine(trainer: Trainer) -> dict[str, Any]:
    import torch

    from llm_assets.training.library_versions import library_versions

    if trainer.device.type != "cuda":
        return {"device": "cpu", **library_versions()}
    properties = torch.cuda.get_device_properties(trainer.device)
    return {
        "device": properties.name,
        "memory_bytes": properties.total_memory,
        "matmul_flops": _matmul_flops(trainer.device),
        "cuda": torch.version.cuda,
        **library_versions(),
    }


def _matmul_flops(device: Any) -> float:
    """Return how many operations a second a large product in bfloat16 takes: what is possible."""
    import torch

    size, number = 8192, 20
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        torch.mm(left, right)
    torch.cuda.synchronize()
    began = time.monotonic()
    for _ in range(number):
        torch.mm(left, right)
    torch.cuda.synchronize()
    return number * 2 * size**3 / (time.monotonic() - began)


if __name__ == "__main__":
    main()
