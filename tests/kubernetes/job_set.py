"""What Kubeflow Trainer makes of a TrainJob and its runtime: Jobs, their pods, a file of hosts.

By Kubeflow Trainer 2 (`pkg/runtime`): the replicated job that is labelled as the ancestor of the
trainer gets its command, image and variables, and has as many pods as `mlPolicy.numNodes` says;
`trainer.numNodes` counts the pods of `node`, without the launcher where that is a node as well, but
at least one.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubernetes.objects import JOB, POD, Object, random_suffix

LAUNCHER, NODE = "launcher", "node"
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"

_ANCESTOR = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
_HOSTFILE_VARIABLE = "OMPI_MCA_orte_default_hostfile"


@dataclass(frozen=True)
class ReplicatedJob:
    """One Job of a TrainJob, with its pods' template completed."""

    name: str
    job_name: str
    namespace: str
    train_job: str
    num_pods: int
    subdomain: str
    depends_on: dict[str, str]
    template: Object

    @property
    def hosts(self) -> list[str]:
        """Return the names under which the pods find each other."""
        return [f"{self.job_name}-{index}.{self.subdomain}" for index in range(self.num_pods)]

    @property
    def manifest(self) -> Object:
        """Return the Job."""
        spec = {
            **copy.deepcopy(self.template["spec"]),
            "completionMode": "Indexed",
            "parallelism": self.num_pods,
            "completions": self.num_pods,
        }
        metadata = {"name": self.job_name, "namespace": self.namespace, "labels": self._labels}
        return {
            "apiVersion": JOB.api_version,
            "kind": JOB.name,
            "metadata": metadata,
            "spec": spec,
            "status": {},
        }

    def pod(self, index: int) -> Object:
        """Return a new pod of the Job."""
        template = copy.deepcopy(self.template["spec"]["template"])
        metadata = template.get("metadata") or {}
        labels = {
            **(metadata.get("labels") or {}),
            **self._labels,
            "batch.kubernetes.io/job-name": self.job_name,
            "job-name": self.job_name,
            INDEX_LABEL: str(index),
        }
        host = f"{self.job_name}-{index}"
        spec = {**template["spec"], "hostname": host, "subdomain": self.subdomain}
        for container in spec["containers"]:
            _set(container, {"name": "JOB_COMPLETION_INDEX", "value": str(index)})
        name = f"{host}-{random_suffix()}"
        metadata |= {"name": name, "namespace": self.namespace, "labels": labels}
        return {
            "apiVersion": POD.api_version,
            "kind": POD.name,
            "metadata": metadata,
            "spec": spec,
        }

    @property
    def _labels(self) -> dict[str, str]:
        prefix = "jobset.sigs.k8s.io"
        return {
            f"{prefix}/jobset-name": self.train_job,
            f"{prefix}/replicatedjob-name": self.name,
            f"{prefix}/replicatedjob-replicas": "1",
            f"{prefix}/job-index": "0",
            f"{prefix}/restart-attempt": "0",
        }


def replicated_jobs(train_job: Object, runtime: Object, hostfile: Path) -> list[ReplicatedJob]:
    """Return the Jobs of a TrainJob in the runtime's order."""
    job_set = runtime["spec"]["template"]["spec"]
    network = job_set.get("network") or {}
    made = []
    for replicated in job_set["replicatedJobs"]:
        template = copy.deepcopy(replicated["template"])
        if _is_trainer(template):
            _apply_trainer(template, train_job)
        if replicated["name"] == LAUNCHER:
            _name_hosts(template, hostfile)
        name = train_job["metadata"]["name"]
        depends_on = replicated.get("dependsOn") or []
        made.append(
            ReplicatedJob(
                name=replicated["name"],
                job_name=f"{name}-{replicated['name']}-0",
                namespace=train_job["metadata"]["namespace"],
                train_job=name,
                num_pods=_num_pods(replicated, train_job, runtime),
                subdomain=network.get("subdomain") or name,
                depends_on={one["name"]: one["status"] for one in depends_on},
                template=template,
            )
        )
    return made


def targets(runtime: Object) -> list[str]:
    """Return the names of the replicated jobs whose success is the success of the whole."""
    job_set = runtime["spec"]["template"]["spec"]
    named = (job_set.get("successPolicy") or {}).get("targetReplicatedJobs")
    return named or [replicated["name"] for replicated in job_set["replicatedJobs"]]


def hosts_and_slots(train_job: Object, runtime: Object, jobs: list[ReplicatedJob]) -> str:
    """Return the file of hosts from which `mpirun` takes where, and how often, it starts."""
    is_node = {NODE, LAUNCHER} if _mpi(runtime).get("runLauncherAsNode") else {NODE}
    slots = _num_processes(train_job, runtime)
    hosts = [host for job in jobs if job.name in is_node for host in job.hosts]
    return "".join(f"{host} slots={slots}\n" for host in hosts)


def _num_pods(replicated: Object, train_job: Object, runtime: Object) -> int:
    num_nodes = _trainer(train_job).get("numNodes")
    if replicated["name"] == NODE and num_nodes is not None:
        return max(num_nodes - 1, 1) if _mpi(runtime).get("runLauncherAsNode") else num_nodes
    if _is_trainer(replicated["template"]):
        return (runtime["spec"].get("mlPolicy") or {}).get("numNodes") or 1
    return replicated["template"]["spec"].get("parallelism") or 1


def _num_processes(train_job: Object, runtime: Object) -> int:
    """Return the processes on a node: as given, otherwise one for every GPU."""
    trainer = _trainer(train_job)
    given = trainer.get("numProcPerNode") or _mpi(runtime).get("numProcPerNode") or 1
    if trainer.get("numProcPerNode") or given > 1:
        return given
    limits = (trainer.get("resourcesPerNode") or {}).get("limits") or {}
    return max([1, *(int(amount) for name, amount in limits.items() if "gpu" in name)])


def _apply_trainer(template: Object, train_job: Object) -> None:
    trainer = _trainer(train_job)
    for container in _node_containers(template):
        for field in ("image", "command", "args"):
            if trainer.get(field):
                container[field] = trainer[field]
        if trainer.get("resourcesPerNode"):
            container["resources"] = trainer["resourcesPerNode"]
        for variable in trainer.get("env") or []:
            _set(container, variable)


def _name_hosts(template: Object, hostfile: Path) -> None:
    for container in _node_containers(template):
        _set(container, {"name": _HOSTFILE_VARIABLE, "value": str(hostfile)})


def _node_containers(template: Object) -> list[Object]:
    containers = template["spec"]["template"]["spec"]["containers"]
    return [container for container in containers if container["name"] == NODE]


def _set(container: Object, variable: Object) -> None:
    others = [one for one in container.get("env") or [] if one["name"] != variable["name"]]
    container["env"] = [*others, variable]


def _is_trainer(template: Object) -> bool:
    labels = (template.get("metadata") or {}).get("labels") or {}
    return _ANCESTOR.items() <= labels.items()


def _trainer(train_job: Object) -> dict[str, Any]:
    return train_job["spec"].get("trainer") or {}


def _mpi(runtime: Object) -> dict[str, Any]:
    return (runtime["spec"].get("mlPolicy") or {}).get("mpi") or {}
