"""A training on several nodes: Kubeflow's TrainJob, which starts the processes by `mpirun`.

The launcher is a node as well. What `mpirun` starts on the others comes by ssh and inherits
nothing, so every variable that a process needs is named with `-x`. Rank 0 is always on the
launcher, wherever the launcher stands in the file of hosts.
"""

from collections.abc import Mapping, Sequence

from llm_assets.training.kubernetes.config import KubernetesConfig
from llm_assets.training.kubernetes.pod import environment, metadata, resources
from llm_assets.training.kubernetes.workload import Manifest, Workload

API_VERSION = "trainer.kubeflow.org/v1alpha1"

_PORT = 29500
# The name of the launcher may be known to the cluster's DNS later than the launcher runs, and
# without it the nodes cannot answer.
_LAUNCH = """\
trap 'exit 143' TERM
for second in $(seq 120); do
  getent hosts "$MASTER_ADDR" > /dev/null && exec mpirun "$@"
  sleep 1
done
echo "failed: $MASTER_ADDR had no address for 120 seconds" >&2
exit 3
"""


def train_job(
    config: KubernetesConfig,
    workload: Workload,
    *,
    command: Sequence[str],
    variables: Mapping[str, str],
    num_nodes: int,
    num_processes: int,
) -> Manifest:
    """Return the manifest of a TrainJob that runs a command in `num_processes` on every node."""
    variables = {
        **variables,
        "MASTER_ADDR": f"{workload.name}-launcher-0-0.{workload.name}",
        "MASTER_PORT": str(_PORT),
    }
    env = environment(config, variables)
    exported = [word for name in ("PATH", *_names(env)) for word in ("-x", name)]
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainJob",
        "metadata": metadata(config, workload),
        "spec": {
            "runtimeRef": {
                "apiGroup": API_VERSION.partition("/")[0],
                "kind": config.training_runtime.kind,
                "name": config.training_runtime.name,
            },
            "activeDeadlineSeconds": config.active_deadline_seconds,
            "trainer": {
                "image": config.image,
                "numNodes": num_nodes,
                "numProcPerNode": num_processes,
                "resourcesPerNode": resources(config, num_processes=num_processes),
                "env": env,
                "command": ["sh", "-c", _LAUNCH, "launch"],
                # Bound to a core, the threads of a process would share that one.
                "args": ["--bind-to", "none", *exported, *command],
            },
        },
    }


def _names(env: Sequence[Manifest]) -> list[str]:
    return [variable["name"] for variable in env]
