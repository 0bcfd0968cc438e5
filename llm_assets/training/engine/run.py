"""A whole training, by one of the processes that share it: from a job to a folder of weights."""

import warnings

import torch

from llm_assets.errors import UserError
from llm_assets.training.energy import open_meter
from llm_assets.training.engine import deepspeed_engine, guards
from llm_assets.training.engine.base import device_of
from llm_assets.training.engine.checkpoints import Checkpoints, Progress
from llm_assets.training.engine.clock import Clock
from llm_assets.training.engine.result import finished, metrics_of, write_result
from llm_assets.training.engine.setup import prepare, settle_torch
from llm_assets.training.engine.steps import Steps, Stop
from llm_assets.training.job import TrainingJob
from llm_assets.training.processes import Rank
from llm_assets.training.progress import Reporter
from llm_assets.training.rows import read_rows
from llm_assets.training.work_folder import clear


def run(job: TrainingJob, rank: Rank, reporter: Reporter) -> None:
    """Train a job into its output directory, from its last checkpoint if there is one.

    Raises:
        UserError: the rows, the base model, or the hyperparameters cannot give trained weights, or
            they take more memory than the GPU has.
    """
    try:
        _run(job, rank, reporter)
    except torch.OutOfMemoryError as error:  # it would come again after a restart
        raise UserError(
            "the GPU ran out of memory: lower training.compute.per_device_train_batch_size, or set "
            "training.compute.gradient_checkpointing or training.load_in_4bit"
        ) from error


def _run(job: TrainingJob, rank: Rank, reporter: Reporter) -> None:
    stop = Stop()
    job.work_dir.mkdir(parents=True, exist_ok=True)
    # PEFT and DeepSpeed call transformers and torch by names that are going to change.
    warnings.filterwarnings("ignore", category=FutureWarning)
    rows = read_rows(job.rows_file, job.config)
    fingerprint = job.fingerprint(rows.sha256)
    result = finished(job, fingerprint)
    if result is not None:
        reporter.say(f"{job.model_version} is trained already")
        reporter.finish(result.metrics)
        return
    compute = job.config.compute
    meter = open_meter(num_nodes=compute.num_nodes, world_size=rank.world_size, watts=compute.watts)
    clock = Clock(meter, world_size=rank.world_size)
    settle_torch(job.config)
    device = device_of(rank.local_rank)
    deepspeed_engine.start_group(rank, device)
    checkpoints = Checkpoints(job.work_dir)
    # One decides for all, since on a volume of a network each may see another state.
    step = deepspeed_engine.agreed(checkpoints.last(fingerprint), device)
    progress = checkpoints.progress(step) if step else Progress(fingerprint=fingerprint)
    progress.num_attempts += 1
    if step == 0 and rank.rank == 0:
        clear(job.work_dir)
    loop, data = prepare(job, rows, rank, reporter, checkpoints, progress, device=device)
    if progress.probe_loss_before is None:
        progress.probe_loss_before = loop.mean_loss(data.probe)
    Steps(
        config=job.config,
        loop=loop,
        data=data,
        progress=progress,
        checkpoints=checkpoints,
        clock=clock,
        reporter=reporter,
        stop=stop,
    ).take()
    if job.config.early_stopping_patience is not None and checkpoints.has_best:
        deepspeed_engine.replace_weights(loop.engine, checkpoints.load_best())
    after = loop.mean_loss(data.probe)
    guards.require_movement(progress.probe_loss_before, after)
    clock.tick(progress)
    metrics = metrics_of(progress, data, after)
    with deepspeed_engine.gathered(loop.engine.module):
        if rank.rank == 0:
            write_result(job, loop.engine.module, progress, metrics, energy_source=meter.source)
            clear(job.work_dir)
    reporter.finish(metrics)
