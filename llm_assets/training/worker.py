"""The process that trains: `python -m llm_assets.training.worker --job job.json`.

It reports through Dagster Pipes when Dagster started it and to its terminal otherwise, and it ends
with a whole output directory or none.
"""

import argparse
import importlib.metadata
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from dataclasses import asdict
from pathlib import Path

from llm_assets.errors import UserError
from llm_assets.storage import sha256_of, write_json_atomically
from llm_assets.training import batches, launch
from llm_assets.training.job import TrainingJob, TrainingResult
from llm_assets.training.progress import Reporter, open_reporter
from llm_assets.training.rows import Rows, read_rows, tokenize

_LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "tokenizers", "safetensors", "numpy")


def main() -> None:
    """Train the adapter of a job file; exit with 1 and one line where the user must act."""
    parser = argparse.ArgumentParser(prog="llm_assets.training.worker", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="the job file")
    job_file = parser.parse_args().job
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A worker started in the background of a shell would inherit that it ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with open_reporter() as reporter:
            run(TrainingJob.read(job_file), reporter)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def run(job: TrainingJob, reporter: Reporter) -> TrainingResult:
    """Train the adapter of a job into its output directory.

    Raises:
        UserError: the rows, the base model, or the hyperparameters cannot give a trained adapter.
    """
    os.environ.update(launch.worker_environment(job.config))
    # PEFT and DeepSpeed call transformers and torch by names that are going to change.
    warnings.filterwarnings("ignore", category=FutureWarning)
    rows = read_rows(job.rows_file, min_train_rows=job.config.min_train_rows)
    job.output_dir.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=job.output_dir.parent, prefix=f".{job.output_dir.name}."))
    try:
        result = _train(job, rows, reporter, temporary)
        write_json_atomically(temporary / "training.json", asdict(result))
        temporary.chmod(0o755)
        if job.output_dir.exists():
            raise UserError(f"{job.output_dir}: another worker has made it in the meantime")
        temporary.rename(job.output_dir)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    reporter.finish(result.metrics)
    return result


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide what comes out of a training."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _train(job: TrainingJob, rows: Rows, reporter: Reporter, folder: Path) -> TrainingResult:
    started = time.monotonic()
    reporter.say(f"loading the base model for {job.model_version}")
    import torch
    from transformers import AutoTokenizer

    from llm_assets.training import loop, lora

    config = job.config
    torch.set_num_threads(config.num_threads)
    torch.use_deterministic_algorithms(True)
    tokenizer = AutoTokenizer.from_pretrained(job.base_model_dir)
    train, validation = (
        tokenize(split, tokenizer, system_prompt=job.system_prompt, config=config) for split in rows
    )
    model = lora.load_base(job.base_model_dir)
    num_frozen = lora.num_frozen_layers(model, config)
    steps = batches.plan(len(train), config)
    reporter.say(
        f"running {len(train)} train and {len(validation)} validation rows through the "
        f"{num_frozen} frozen layers"
    )
    states = lora.frozen_states(
        model,
        [*train, *validation],
        num_layers=num_frozen,
        batch_size=config.per_device_train_batch_size,
    )
    upper = lora.add_adapter(model, config)
    engine = loop.start_engine(upper, config, num_steps=len(steps))
    examples = loop.Examples(train, states._replace(rests=states.rests[: len(train)]))
    held_out = loop.Examples(validation, states._replace(rests=states.rests[len(train) :]))
    batch_size = config.per_device_train_batch_size
    before = loop.mean_loss(engine, upper.head, held_out, batch_size=batch_size)
    prepared = time.monotonic()
    losses = loop.train(engine, upper.head, examples, steps=steps, reporter=reporter)
    trained = time.monotonic()
    after = loop.mean_loss(engine, upper.head, held_out, batch_size=batch_size)
    with loop.gathered(upper):
        lora.save_adapter(upper.model, folder)
    seen = [train[row] for step in steps for batch in step for row in batch]
    last = losses[-max(1, len(losses) // 10) :]
    metrics = {
        "num_train_rows": len(train),
        "num_validation_rows": len(validation),
        "num_steps": len(steps),
        "num_epochs": len(seen) / len(train),
        "num_tokens_seen": sum(len(row) for row in seen),
        "num_answer_tokens_seen": sum(loop.num_answer(row) for row in seen),
        "train_loss_first_step": losses[0],
        "train_loss": sum(last) / len(last),
        "seconds_before_steps": prepared - started,
        "seconds_of_steps": trained - prepared,
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time(),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    if validation:
        metrics |= {"validation_loss_before": before, "validation_loss": after}
    return TrainingResult(
        model_version=job.model_version,
        recipe=job.recipe,
        adapter_sha256=sha256_of(folder / lora.ADAPTER_FILE),
        library_versions=library_versions(),
        metrics=metrics,
    )


if __name__ == "__main__":
    main()
