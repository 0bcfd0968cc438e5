"""How a worker is started, for everyone who starts one."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from llm_assets.errors import UserError
from llm_assets.training.compute import ComputeConfig
from llm_assets.training.job import TrainingJob, TrainingResult


def worker_command(job_file: Path) -> list[str]:
    """Return the command that trains what a job file says."""
    return [sys.executable, "-m", "llm_assets.training.worker", "--job", str(job_file)]


def worker_environment(compute: ComputeConfig) -> Mapping[str, str]:
    """Return the variables that a process sets before it imports torch.

    It sets them itself, so that what it computes does not depend on how it was started.
    """
    return {
        **({} if has_gpu() else {"DS_ACCELERATOR": "cpu"}),
        "OMP_NUM_THREADS": str(compute.num_threads),
        # Threads that spin while they wait make a busy machine five times slower.
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "0",
        # The same sums in the same order, wherever in memory the numbers happen to lie.
        "MKL_CBWR": "AUTO,STRICT",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def has_gpu() -> bool:
    """Return whether an NVIDIA GPU can be used, without asking PyTorch, which takes seconds."""
    return Path("/dev/nvidiactl").exists() and os.environ.get("CUDA_VISIBLE_DEVICES") != ""


def run_worker(job: TrainingJob, job_file: Path) -> TrainingResult:
    """Train in a process of its own and wait for it; its progress goes to this terminal.

    Raises:
        UserError: the worker refused the job or failed; it has said why on its standard error.
    """
    job.write(job_file)
    finished = subprocess.run(worker_command(job_file), check=False)
    if finished.returncode != 0:
        raise UserError(
            f"training of {job.model_version} failed with exit code {finished.returncode}"
        )
    return TrainingResult.read(job.output_dir)
