"""Looks at a pod or a TrainJob until it has ended, and hands on what it writes meanwhile.

It never waits for what cannot come: a pod that was deleted has ended, one that finds no node or
does not end in its time is given up. A training whose API server is away goes on, and so does this.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from llm_assets.resources.cluster import Cluster
from llm_assets.resources.exclusive_start import JOB_SET_LABEL
from llm_assets.resources.pod_log import PodLog, PodMessages
from llm_assets.training.kubernetes.config import KubernetesConfig
from llm_assets.training.kubernetes.state import Stage, State, pod_state, train_job_state

_REPLICATED_JOB_LABEL = "jobset.sigs.k8s.io/replicatedjob-name"
# How much longer than its time a pod may take before its kubelet is not believed in any more.
_DELAY_SECONDS = 60.0
# The log of a pod that has ended is asked for so often if it cannot be read.
_NUM_LAST_READS = 5


class Seen(NamedTuple):
    """What was seen of a workload: its state, and the pod in which the worker writes, if any."""

    state: State
    pod: str | None


@dataclass
class Watch:
    """Watches over the workload of a kind, name and uid; `say` hears when its state changes."""

    cluster: Cluster
    config: KubernetesConfig
    messages: PodMessages
    kind: str
    name: str
    uid: str
    say: Callable[[str], None]
    _log: PodLog | None = field(default=None, init=False)

    def until_end(self) -> State:
        """Return how it ended; what it wrote until then was handed on, if it could be read."""
        last = State(Stage.PENDING)
        since = time.monotonic()
        while True:
            state, pod = self._look()
            if state.stage is not last.stage:
                since = time.monotonic()
            if (state.stage, state.keyword) != (last.stage, last.keyword):
                self.say(f"{self.name}: {state}")
            self._read(pod, state)
            if not state.is_end:
                state = self._patiently(state, pod, seconds=time.monotonic() - since)
            if state.is_end:
                return state
            last = state
            time.sleep(self.config.poll_seconds)

    def _look(self) -> Seen:
        found = self.cluster.find(self.kind, self.name)
        if self.kind == "Pod":
            return Seen(pod_state(found, uid=self.uid), self.name)
        selector = f"{JOB_SET_LABEL}={self.name}"
        pods = self.cluster.select("Pod", selector)
        launchers = [
            one
            for one in pods
            if one["metadata"]["labels"].get(_REPLICATED_JOB_LABEL) == "launcher"
        ]
        state = train_job_state(
            found,
            uid=self.uid,
            launchers=launchers,
            pods=pods,
            jobs=self.cluster.select("Job", selector),
        )
        return Seen(state, launchers[-1]["metadata"]["name"] if launchers else None)

    def _read(self, pod: str | None, state: State) -> None:
        """Take what the pod has written since; a replacement is read from its beginning."""
        if pod is None or state.stage in (Stage.QUEUED, Stage.PENDING, Stage.NOT_STARTED):
            return
        if self._log is None or self._log.pod != pod:
            self._log = PodLog(self.cluster, pod, self.messages)
        # Of a pod that was lost there may be nothing to read any more, and it matters less.
        is_last = state.is_end and state.stage is not Stage.LOST
        for _ in range(_NUM_LAST_READS if is_last else 1):
            if self._log.read(is_over=state.is_end):
                return
            time.sleep(self.config.poll_seconds)

    def _patiently(self, state: State, pod: str | None, *, seconds: float) -> State:
        """Return the state in which a workload has been for so long, or that it is given up."""
        config = self.config
        grace_seconds = config.termination_grace_period_seconds + _DELAY_SECONDS
        match state.stage:
            case Stage.PENDING if seconds > config.pending_timeout_seconds:
                warnings = self.cluster.warnings(pod) if pod else []
                reasons = [reason for reason in (state.reason, *warnings[-1:]) if reason]
                waited = f"pending for more than {config.pending_timeout_seconds:.0f} seconds"
                return State(Stage.NOT_STARTED, "; ".join([waited, *reasons]))
            case Stage.RUNNING if seconds > config.active_deadline_seconds + grace_seconds:
                return State(Stage.TOO_LONG)
            case Stage.STOPPING if seconds > grace_seconds:
                return State(Stage.LOST, "it does not stop, so its node may be lost")
        return state
