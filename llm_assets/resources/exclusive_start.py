"""Starts a workload when nothing else writes the same output, whoever left it there.

A run worker that was killed leaves its pod behind, and it goes on training. The next attempt takes
it over if it is the same run of Dagster, and otherwise removes it and waits until it is gone.
"""

import time
from collections.abc import Callable, Iterator

import dagster as dg

from llm_assets.resources.cluster import Cluster, ClusterError, Json
from llm_assets.training.kubernetes.state import pod_state, train_job_state
from llm_assets.training.kubernetes.workload import RUN_LABEL, Manifest, Workload

JOB_SET_LABEL = "jobset.sigs.k8s.io/jobset-name"


def start(
    cluster: Cluster,
    manifest: Manifest,
    workload: Workload,
    *,
    is_restart: bool,
    timeout_seconds: float,
    poll_seconds: float,
    say: Callable[[str], None],
) -> str:
    """Return the uid of what runs a manifest, which was created or was there already.

    A first start has precedence over the runs before it; a restart has not: whoever started in the
    meantime trains instead, or two runs would remove each other's pods for ever.

    Raises:
        dagster.Failure: another run has taken over, or what has to go is not gone in time.
        ClusterError: the cluster refuses.
    """
    deadline = time.monotonic() + timeout_seconds
    removed: set[str] = set()
    while True:
        others = list(_writers(cluster, workload))
        for kind, other in others:
            name, run_id = other["metadata"]["name"], _run_id(other)
            if run_id == workload.run_id and _is_wanted(kind, other, manifest):
                return other["metadata"]["uid"]
            if is_restart and run_id not in ("", workload.run_id):
                raise dg.Failure(
                    f"run {run_id} has started to train the same model version, so this one ends",
                    allow_retries=False,
                )
            # A TrainJob's pods carry no run: they go with it.
            if run_id and "deletionTimestamp" not in other["metadata"] and name not in removed:
                say(f"{kind} {name} of run {run_id} is still there: deleting it first")
                cluster.delete(kind, name)
                removed.add(name)
        if not others:
            try:
                return cluster.create(manifest)["metadata"]["uid"]
            except ClusterError as error:
                if error.status != 409:
                    raise
        if time.monotonic() > deadline:
            raise dg.Failure(_obstacle(others, manifest))
        time.sleep(poll_seconds)


def _writers(cluster: Cluster, workload: Workload) -> Iterator[tuple[str, Json]]:
    """Yield all that may write the output of a workload, with its kind; a TrainJob's pods too."""
    for kind in ("TrainJob", "Pod"):
        for found in cluster.select(kind, workload.selector):
            yield kind, found
    for found in cluster.select("Pod", f"{JOB_SET_LABEL}={workload.name}"):
        if (found.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            yield "Pod", found


def _is_wanted(kind: str, found: Json, manifest: Manifest) -> bool:
    """Return whether an object is what a manifest would make, and still goes on."""
    if (kind, found["metadata"]["name"]) != (manifest["kind"], manifest["metadata"]["name"]):
        return False
    if "deletionTimestamp" in found["metadata"]:
        return False
    uid = found["metadata"]["uid"]
    if kind == "Pod":
        return not pod_state(found, uid=uid).is_end
    return not train_job_state(found, uid=uid, launchers=[], pods=[], jobs=[]).is_end


def _run_id(found: Json) -> str:
    return (found["metadata"].get("labels") or {}).get(RUN_LABEL, "")


def _obstacle(others: list[tuple[str, Json]], manifest: Manifest) -> str:
    if not others:
        name = manifest["metadata"]["name"]
        return f"the name {name} is taken by a {manifest['kind']} that is not ours"
    kind, other = others[0]
    name, namespace = other["metadata"]["name"], other["metadata"]["namespace"]
    node = (other.get("spec") or {}).get("nodeName", "of its own")
    return (
        f"{kind} {name} does not end. If its node ({node}) is gone for good: "
        f"kubectl delete {kind.lower()} {name} --namespace {namespace} --force"
    )
