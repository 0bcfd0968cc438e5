"""One materialization of an asset that trains, in this process or in one that can be killed.

python -m tests.resources.training_run FOLDER
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import yaml

from llm_assets.resources.trainer import Trainer
from llm_assets.training.job import TrainingJob
from tests.kubernetes.clients import wait_until

IMAGE = "llm-assets:test"


class Outcome(NamedTuple):
    """How a run of Dagster ended: why it failed, nothing if it did not, and what it has logged."""

    failure: str
    messages: list[str]

    @property
    def steps(self) -> list[str]:
        """The messages about steps."""
        return [message for message in self.messages if message.startswith("step ")]

    def holding(self, text: str) -> list[str]:
        """Return the messages that hold a text."""
        return [message for message in self.messages if text in message]


@dataclass(frozen=True)
class TrainingRun:
    """A folder with a job and a configuration of Kubernetes, and what comes of training it."""

    folder: Path

    @property
    def job_file(self) -> Path:
        return self.folder / "job.json"

    @property
    def config_file(self) -> Path:
        return self.folder / "kubernetes.yaml"

    @property
    def job(self) -> TrainingJob:
        return TrainingJob.read(self.job_file)

    def configure(self, **keys: Any) -> None:
        """Write the configuration; keys replace or add to one that suits the emulator."""
        config = {
            "image": IMAGE,
            "namespace": "default",
            "volume": {"claim_name": "work", "mount_path": str(self.folder)},
            "gpu_resource_name": None,
            "poll_seconds": 0.05,
            "termination_grace_period_seconds": 2,
            **keys,
        }
        self.config_file.write_text(yaml.safe_dump(config))

    def behave(self, *lines: str) -> None:
        """Tell the fake worker what to do at each of its starts."""
        self.job.work_dir.mkdir(exist_ok=True)
        (self.job.work_dir / "behaviour").write_text("\n".join(lines))

    @property
    def num_starts(self) -> int:
        """How often the fake worker was started."""
        starts = self.job.work_dir / "starts"
        return len(starts.read_text().splitlines()) if starts.exists() else 0

    def wait_for_step(self, step: int) -> None:
        """Return when the fake worker has saved its progress after a step."""
        checkpoint = self.job.work_dir / "step"
        wait_until(lambda: checkpoint.exists() and checkpoint.read_text() == str(step + 1))

    def materialize(self, trainer: str | None = "k8s", *, max_retries: int = 0) -> Outcome:
        """Train in an asset of Dagster."""

        @dg.asset(retry_policy=dg.RetryPolicy(max_retries=max_retries))
        def checkpoint(context: dg.AssetExecutionContext, trainer: Trainer) -> dg.MaterializeResult:
            trainer.train(context, self.job_file, self.job)
            return dg.MaterializeResult()

        file = str(self.config_file) if self.config_file.exists() else None
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize(
                [checkpoint],
                instance=instance,
                resources={"trainer": Trainer(trainer=trainer, kubernetes=file)},
                raise_on_error=False,
            )
            messages = [entry.user_message for entry in instance.all_logs(result.run_id)]
        return Outcome(_failure_of(result), messages)


def _failure_of(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            told = event.step_failure_data.user_failure_data
            return (told and told.description) or str(event.step_failure_data.error)
    assert result.success
    return ""


if __name__ == "__main__":
    sys.exit(TrainingRun(Path(sys.argv[1])).materialize().failure or None)
