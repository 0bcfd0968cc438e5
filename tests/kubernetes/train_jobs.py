"""The controllers of TrainJobs: Kubeflow Trainer and JobSet in one, with their conditions."""

import threading
import time
from pathlib import Path

from tests.kubernetes.job import Job
from tests.kubernetes.job_set import hosts_and_slots, replicated_jobs, targets
from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.objects import TRAIN_JOB, TRAINING_RUNTIME, Object, Objects, now

_TICK_SECONDS = 0.05


class TrainJobs:
    """A thread that makes the Jobs of every TrainJob and writes its status."""

    def __init__(self, objects: Objects, kubelet: Kubelet, folder: Path) -> None:
        self._objects = objects
        self._kubelet = kubelet
        self._folder = folder
        self._runs: dict[str, _Run] = {}
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            self._advance()
            self._objects.wait_for_change(_TICK_SECONDS)

    def _advance(self) -> None:
        train_jobs = {one["metadata"]["uid"]: one for one in self._objects.list(TRAIN_JOB)}
        for uid in self._runs.keys() - train_jobs.keys():
            self._runs.pop(uid).delete()
        for uid, train_job in train_jobs.items():
            if train_job["spec"].get("suspend"):
                message = "TrainJob is suspended"
                _set_condition(self._objects, train_job, "Suspended", "Suspended", message)
            else:
                if uid not in self._runs:
                    self._runs[uid] = _Run(train_job, self._objects, self._kubelet, self._folder)
                self._runs[uid].advance()


class _Run:
    """One TrainJob under way."""

    def __init__(self, train_job: Object, objects: Objects, kubelet: Kubelet, folder: Path) -> None:
        self._train_job = train_job
        self._objects = objects
        self._kubelet = kubelet
        self._started_at = time.monotonic()
        self._is_over = False
        runtime = runtime_of(train_job, objects)
        hostfile = folder / f"{train_job['metadata']['uid']}.hosts"
        self._targets = targets(runtime)
        self._waiting = replicated_jobs(train_job, runtime, hostfile)
        self._jobs: dict[str, Job] = {}
        hostfile.write_text(hosts_and_slots(train_job, runtime, self._waiting))

    def advance(self) -> None:
        """Start what can start, see how the Jobs are, and write the status."""
        if self._is_over:
            return
        self._start_jobs()
        for job in self._jobs.values():
            job.advance()
        counts = [job.counts for job in self._jobs.values()]
        self._objects.change(
            self._train_job, lambda one: one.setdefault("status", {}).update(jobsStatus=counts)
        )
        self._check_end()

    def delete(self) -> None:
        """Delete all Jobs and their pods."""
        for job in self._jobs.values():
            job.delete()

    def _start_jobs(self) -> None:
        for replicated in list(self._waiting):
            if all(self._has_come(*one) for one in replicated.depends_on.items()):
                self._waiting.remove(replicated)
                self._jobs[replicated.name] = Job(replicated, self._objects, self._kubelet)

    def _has_come(self, name: str, status: str) -> bool:
        """Tell whether a Job that another waits for is `Ready` or `Complete`."""
        job = self._jobs.get(name)
        return job is not None and (job.is_ready if status == "Ready" else job.is_complete)

    def _check_end(self) -> None:
        for job in self._jobs.values():
            if job.has_failed:
                message = "jobset failed due to one or more job failures"
                first = f"(first failed job: {job.replicated.job_name})"
                self._end("Failed", "FailedJobs", f"{message} {first}")
                return
        if all(name in self._jobs and self._jobs[name].is_complete for name in self._targets):
            self._end("Complete", "AllJobsCompleted", "jobset completed successfully")
            return
        deadline_seconds = self._train_job["spec"].get("activeDeadlineSeconds")
        if deadline_seconds and time.monotonic() > self._started_at + deadline_seconds:
            message = "TrainJob exceeded its active deadline"
            self._end("Failed", "DeadlineExceeded", message)
            self.delete()

    def _end(self, condition_type: str, reason: str, message: str) -> None:
        """Write the last condition; what is still active is deleted, what ended stays."""
        self._is_over = True
        for job in self._jobs.values():
            if not job.is_complete and not job.has_failed:
                job.delete()
        _set_condition(self._objects, self._train_job, condition_type, reason, message)


def runtime_of(train_job: Object, objects: Objects) -> Object:
    """Return the runtime that a TrainJob names; 404 if there is none."""
    namespace, reference = train_job["metadata"]["namespace"], train_job["spec"]["runtimeRef"]
    kind = reference.get("kind", "ClusterTrainingRuntime")
    name = reference["name"] if kind == TRAINING_RUNTIME.name else f"of kind {kind}"
    return objects.get(TRAINING_RUNTIME, namespace, name)


def _set_condition(
    objects: Objects, train_job: Object, condition_type: str, reason: str, message: str
) -> None:
    condition = {"type": condition_type, "status": "True", "reason": reason, "message": message}

    def change(one: Object) -> None:
        conditions = one.setdefault("status", {}).setdefault("conditions", [])
        if condition_type not in [old["type"] for old in conditions]:
            conditions.append({**condition, "lastTransitionTime": now()})

    objects.change(train_job, change)
