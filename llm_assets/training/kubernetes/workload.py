"""What a training is called in a cluster, and the labels by which it is found again."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_assets.errors import UserError
from llm_assets.manifest import application_of
from llm_assets.training.job import TrainingJob

Manifest = dict[str, Any]

RUN_LABEL = "dagster/run-id"
VERSION_LABEL = "llm-assets/model-version"
# Which output a workload writes, and so which workloads must not run beside each other.
OUTPUT_LABEL = "llm-assets/output"

# Behind it Kubeflow adds at most `-launcher-0-0` to make the name of a host, which is a DNS label.
_LONGEST_VERSION = 24


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The name and the labels of what trains one model version for one run of Dagster.

    The name says which output is written, not which run wants it: a cluster gives a name once, so
    nothing can write the same output at the same time, whoever starts it. The label says whose it
    is: the same run asking again finds what it has started, another run has to remove it first.
    """

    name: str
    labels: dict[str, str]

    @property
    def run_id(self) -> str:
        """The run of Dagster that wants it."""
        return self.labels[RUN_LABEL]

    @property
    def selector(self) -> str:
        """The label selector of everything that writes the same output."""
        return f"{OUTPUT_LABEL}={self.labels[OUTPUT_LABEL]}"


def workload(job: TrainingJob, *, run_id: str, claim_name: str) -> Workload:
    """Return what trains a job; its files lie on the volume of a claim."""
    output = hashlib.sha256(f"{claim_name}:{job.output_dir}".encode()).hexdigest()[:16]
    version = re.sub("[^a-z0-9]+", "-", job.model_version.lower())[:_LONGEST_VERSION].strip("-")
    return Workload(
        name=f"train-{version}-{output[:10]}",
        labels={
            "app.kubernetes.io/name": "llm-assets",
            "app.kubernetes.io/component": "training",
            "llm-assets/application": application_of(job.model_version),
            VERSION_LABEL: job.model_version,
            OUTPUT_LABEL: output,
            RUN_LABEL: run_id,
        },
    )


def check_paths(job: TrainingJob, job_file: Path, *, mount_path: str) -> None:
    """Check that all files of a job lie on the volume, where pods see them.

    Raises:
        UserError: one lies elsewhere.
    """
    files = {
        "the job file": job_file,
        "base_model_dir": job.base_model_dir,
        "rows_file": job.rows_file,
        "output_dir": job.output_dir,
        "work_dir": job.work_dir,
        "training.texts_file": job.config.texts_file,
        "training.replay_file": job.config.replay_file,
        "training.compute.deepspeed": job.config.compute.deepspeed,
    }
    for name, path in files.items():
        if path is not None and not Path(path).is_relative_to(mount_path):
            raise UserError(
                f"{name} must lie below volume.mount_path ({mount_path}), which pods see, "
                f"got {path}"
            )
