"""What a training leaves: a folder of weights that is whole or not there."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict

from llm_assets.errors import UserError
from llm_assets.manifest import MANIFEST
from llm_assets.storage import sha256_of, write_json_atomically
from llm_assets.training.engine.checkpoints import Progress
from llm_assets.training.engine.data import Data
from llm_assets.training.engine.memory import peak_memory_bytes
from llm_assets.training.engine.trained import Trained, save
from llm_assets.training.job import HISTORY, RESULT, TrainingJob, TrainingResult
from llm_assets.training.library_versions import library_versions


def finished(job: TrainingJob, fingerprint: str) -> TrainingResult | None:
    """Return what an earlier attempt at the same job has left, or None.

    What an attempt at another job left there is replaced, until a manifest makes it a version.

    Raises:
        UserError: the output directory holds something else.
    """
    folder = job.output_dir
    if not folder.exists():
        return None
    is_kept = (folder / MANIFEST).exists() or not (folder / RESULT).exists()
    if not is_kept and TrainingResult.read(folder).fingerprint == fingerprint:
        return TrainingResult.read(folder)
    if is_kept:
        raise UserError(f"output_dir: {folder} exists, and what was trained is not replaced")
    return None


def metrics_of(progress: Progress, data: Data, after: float) -> dict[str, float]:
    """Return the numbers of a training, whose probe has the loss `after`."""
    losses = [report.loss for report in progress.reports]
    last = losses[-max(1, len(losses) // 10) :]
    metrics = {
        "num_train_rows": len(data.train),
        "num_validation_rows": len(data.validation),
        "num_replay_rows": len(data.replay),
        "num_steps": progress.step,
        "num_epochs": progress.num_rows / len(data.train),
        "num_tokens_seen": progress.num_tokens,
        "num_answer_tokens_seen": progress.num_answer_tokens,
        "train_loss_first_step": losses[0],
        "train_loss": sum(last) / len(last),
        "num_attempts": progress.num_attempts,
        "seconds_of_steps": progress.seconds_of_steps,
        "seconds": progress.seconds,
        "cpu_seconds": progress.cpu_seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "energy_watt_hours": progress.energy_joules / 3600,
    }
    if data.held_out:
        assert progress.probe_loss_before is not None
        metrics |= {"validation_loss_before": progress.probe_loss_before, "validation_loss": after}
    return metrics


def write_result(
    job: TrainingJob,
    part: Trained,
    progress: Progress,
    metrics: Mapping[str, float],
    *,
    energy_source: str,
) -> TrainingResult:
    """Write the weights and their numbers into the output directory, and clear the work folder.

    Raises:
        UserError: an adapter is what it was at the start, or the output directory is taken.
    """
    job.output_dir.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name: what a killed attempt left is overwritten, and one trains at a time.
    temporary = job.output_dir.with_name(f".{job.output_dir.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        result = TrainingResult(
            model_version=job.model_version,
            recipe=job.recipe,
            fingerprint=progress.fingerprint,
            weights_sha256=sha256_of(save(part, temporary, job.config)),
            library_versions=library_versions(),
            energy_source=energy_source,
            metrics=dict(metrics),
        )
        write_json_atomically(temporary / HISTORY, [asdict(r) for r in progress.reports])
        write_json_atomically(temporary / RESULT, asdict(result))
        if finished(job, progress.fingerprint) is None:
            shutil.rmtree(job.output_dir, ignore_errors=True)
        temporary.rename(job.output_dir)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return result
