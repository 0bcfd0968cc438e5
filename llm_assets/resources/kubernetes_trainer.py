"""Trains on Kubernetes: a pod for one node, a TrainJob for several, again where one was taken away.

`PipesK8sClient` speaks the same protocol, but it waits for ever for a pod that was deleted, for
hours for one that finds no node, and does not know that a training can go on in another pod.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from llm_assets.resources.cluster import Cluster, ClusterError
from llm_assets.resources.exclusive_start import start
from llm_assets.resources.pod_log import PodMessages
from llm_assets.resources.watch import Watch
from llm_assets.training.job import TrainingJob
from llm_assets.training.kubernetes.config import KubernetesConfig
from llm_assets.training.kubernetes.explain import explain, is_refusal, last_word
from llm_assets.training.kubernetes.pod import pod
from llm_assets.training.kubernetes.runtime import check_runtime, training_runtime
from llm_assets.training.kubernetes.state import Stage, State
from llm_assets.training.kubernetes.train_job import train_job
from llm_assets.training.kubernetes.workload import (
    RUN_LABEL,
    Manifest,
    Workload,
    check_paths,
    workload,
)
from llm_assets.training.launch import worker_command

# A step that was interrupted has not long to clean up.
_CLEAN_UP_SECONDS = 20.0


def train_on_kubernetes(
    context: dg.AssetExecutionContext, job_file: Path, job: TrainingJob, config: KubernetesConfig
) -> None:
    """Train a job in a cluster, in as many pods one after the other as it takes.

    Raises:
        dagster.Failure: it cannot be finished, and why; retries are allowed where they may help.
        UserError: a file of the job is not on the volume, or the runtime is not as it must be.
    """
    check_paths(job, job_file, mount_path=config.volume.mount_path)
    cluster = Cluster(config.namespace, pause_seconds=config.poll_seconds, say=context.log.warning)
    wanted = workload(job, run_id=context.run.run_id, claim_name=config.volume.claim_name)
    try:
        _Training(context, job_file, job, config, cluster, wanted).run()
    except ClusterError as error:
        raise dg.Failure(f"Kubernetes, asked about {wanted.name}: {error}") from error


@dataclass(frozen=True)
class _Training:
    context: dg.AssetExecutionContext
    job_file: Path
    job: TrainingJob
    config: KubernetesConfig
    cluster: Cluster
    workload: Workload

    def run(self) -> None:
        if self._is_train_job:
            self._check_runtime()
        name, limit = self.workload.name, self.config.max_restarts
        num_restarts = 0
        while True:
            state, said = self._attempt(is_restart=num_restarts > 0)
            if state.stage is Stage.SUCCEEDED:
                return
            if state.stage is not Stage.LOST or num_restarts == limit:
                break
            num_restarts += 1
            self.context.log.warning(
                f"{name} is lost: {state.reason}; starting it again, {num_restarts} of {limit}"
            )
        raise dg.Failure(
            explain(state, self.config, self.job.config, name=name, said=said),
            allow_retries=not is_refusal(state, said),
        )

    @property
    def _is_train_job(self) -> bool:
        return self.job.config.compute.num_nodes > 1

    def _check_runtime(self) -> None:
        runtime = self.config.training_runtime
        found = self.cluster.find(runtime.kind, runtime.name)
        num_processes = self.job.config.compute.num_processes
        check_runtime(found, training_runtime(self.config, num_processes=num_processes))

    def _attempt(self, *, is_restart: bool) -> tuple[State, str]:
        """Run one workload to its end; return that, and the last word of the worker."""
        messages = PodMessages()
        with dg.open_pipes_session(
            context=self.context,
            context_injector=dg.PipesEnvContextInjector(),
            message_reader=messages,
        ) as session:
            manifest = self._manifest(session.get_bootstrap_env_vars())
            with self._started(manifest, is_restart=is_restart) as uid:
                state = Watch(
                    cluster=self.cluster,
                    config=self.config,
                    messages=messages,
                    kind=manifest["kind"],
                    name=self.workload.name,
                    uid=uid,
                    say=self.context.log.info,
                ).until_end()
        return state, last_word(messages.lines)

    def _manifest(self, variables: Mapping[str, str]) -> Manifest:
        compute = self.job.config.compute
        command = ["python", *worker_command(self.job_file)[1:]]
        if self._is_train_job:
            return train_job(
                self.config,
                self.workload,
                command=command,
                variables=variables,
                num_nodes=compute.num_nodes,
                num_processes=compute.num_processes,
            )
        return pod(
            self.config,
            self.workload,
            command=command,
            variables=variables,
            num_processes=compute.num_processes,
        )

    @contextmanager
    def _started(self, manifest: Manifest, *, is_restart: bool) -> Iterator[str]:
        """Yield the uid of what was started; it is removed however this ends."""
        try:
            yield start(
                self.cluster,
                manifest,
                self.workload,
                is_restart=is_restart,
                timeout_seconds=self.config.pending_timeout_seconds,
                poll_seconds=self.config.poll_seconds,
                say=self.context.log.warning,
            )
        finally:
            self._remove(manifest["kind"], self.workload.name)

    def _remove(self, kind: str, name: str) -> None:
        cluster = self.cluster.with_patience(_CLEAN_UP_SECONDS)
        try:
            found = cluster.find(kind, name)
            # The name may be another run's by now, which trains in earnest.
            if found and found["metadata"]["labels"].get(RUN_LABEL) == self.workload.run_id:
                cluster.delete(kind, name)
        except ClusterError as error:
            self.context.log.warning(
                f"{kind} {name} could not be deleted; the next attempt will do it: {error}"
            )
