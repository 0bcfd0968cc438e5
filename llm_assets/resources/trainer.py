"""How `finetuned_checkpoint` trains: in a process of this machine, or in pods of a cluster.

The resource hands out one method, so the asset does not know where it trains. What it is to be is
read when a run starts, from its configuration or else from the environment.
"""

import os
import subprocess
import sys
from collections import deque
from pathlib import Path

import dagster as dg

from llm_assets.errors import UserError
from llm_assets.resources.kubernetes_trainer import train_on_kubernetes
from llm_assets.training.job import TrainingJob
from llm_assets.training.kubernetes.config import read_kubernetes_config
from llm_assets.training.kubernetes.explain import REFUSAL, last_word
from llm_assets.training.launch import worker_command

# How long a worker may take to write a checkpoint when its step is interrupted.
_STOP_SECONDS = 60.0
_NUM_KEPT_LINES = 50


class Trainer(dg.ConfigurableResource):
    """Trains a job to its end.

    `trainer` is `subprocess` or `k8s`; None is LLM_ASSETS_TRAINER, which is `subprocess` where it
    is not set. `kubernetes` is the file of a `KubernetesConfig`; None is LLM_ASSETS_TRAINER_CONFIG.
    """

    trainer: str | None = None
    kubernetes: str | None = None

    def train(self, context: dg.AssetExecutionContext, job_file: Path, job: TrainingJob) -> None:
        """Run the worker of a job until it has finished; its messages come as it sends them.

        Raises:
            dagster.Failure: it failed. Retries are allowed unless the user has to act before.
        """
        try:
            self._train(context, job_file, job)
        except UserError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    def _train(self, context: dg.AssetExecutionContext, job_file: Path, job: TrainingJob) -> None:
        trainer = self.trainer or os.environ.get("LLM_ASSETS_TRAINER") or "subprocess"
        if trainer == "subprocess":
            _train_in_subprocess(context, job_file)
        elif trainer == "k8s":
            file = self.kubernetes or os.environ.get("LLM_ASSETS_TRAINER_CONFIG")
            if not file:
                raise UserError("LLM_ASSETS_TRAINER_CONFIG: must name the file for trainer 'k8s'")
            config = read_kubernetes_config(Path(file))
            train_on_kubernetes(context, job_file, job, config)
        else:
            raise UserError(f"LLM_ASSETS_TRAINER: must be 'subprocess' or 'k8s', got {trainer!r}")


def _train_in_subprocess(context: dg.AssetExecutionContext, job_file: Path) -> None:
    """Train as `PipesSubprocessClient` would, and keep what the worker says of its failure."""
    lines: deque[str] = deque(maxlen=_NUM_KEPT_LINES)
    with (
        dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
        ) as session,
        subprocess.Popen(
            worker_command(job_file),
            env={**os.environ, **session.get_bootstrap_env_vars()},
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stderr
        try:
            for line in process.stderr:
                sys.stderr.write(line)
                lines.append(line.rstrip("\n"))
            code = process.wait()
        finally:
            _stop(process)
    if code == 0:
        return
    said = last_word(lines)
    if code == 1 and said.startswith(REFUSAL):
        raise dg.Failure(said.removeprefix(REFUSAL), allow_retries=False)
    raise dg.Failure(f"the worker ended with exit code {code}: {said}")


def _stop(process: subprocess.Popen[str]) -> None:
    """Have a process that still runs write a checkpoint and end."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
