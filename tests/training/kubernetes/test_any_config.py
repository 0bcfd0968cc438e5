"""Whatever passes as a configuration renders manifests that a cluster takes."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from llm_assets.training.kubernetes.config import KubernetesConfig
from llm_assets.training.kubernetes.fields import amount
from llm_assets.training.kubernetes.pod import pod
from llm_assets.training.kubernetes.runtime import check_runtime, training_runtime
from llm_assets.training.kubernetes.train_job import train_job
from llm_assets.training.kubernetes.workload import Manifest
from tests.training.kubernetes.manifests import (
    COMMAND,
    a_workload,
    check_secure,
    check_valid,
    pod_specs,
)

LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
SUBDOMAINS = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
NAMES = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?", fullmatch=True)
KEYS = st.one_of(NAMES, st.tuples(SUBDOMAINS, NAMES).map("/".join))
VARIABLES = st.from_regex(r"X_[A-Za-z0-9_]{0,20}", fullmatch=True)
MEMORY = st.builds("{}{}".format, st.integers(1, 999), st.sampled_from(["Mi", "Gi", "G", "Ti"]))
CPU = st.one_of(st.integers(1, 64), st.sampled_from(["500m", "0.5", "1.25"]))
TOLERATIONS = st.one_of(
    st.fixed_dictionaries({"key": KEYS, "operator": st.just("Exists")}),
    st.fixed_dictionaries({"key": KEYS, "value": NAMES, "effect": st.just("NoSchedule")}),
    st.fixed_dictionaries(
        {"key": KEYS, "effect": st.just("NoExecute"), "toleration_seconds": st.integers(0, 9)}
    ),
)


@st.composite
def configs(draw: Callable[..., Any]) -> KubernetesConfig:
    memory = sorted(draw(st.tuples(MEMORY, MEMORY, MEMORY)), key=amount)
    keys = draw(
        st.fixed_dictionaries(
            {
                "image": st.from_regex(r"[a-z]+(/[a-z]+)?(:[a-z0-9.]+)?", fullmatch=True),
                "namespace": LABELS,
                "volume": st.fixed_dictionaries(
                    {"claim_name": SUBDOMAINS, "mount_path": st.sampled_from(["/work", "/a/b-c"])}
                ),
            },
            optional={
                "image_pull_policy": st.sampled_from(["Always", "IfNotPresent", "Never"]),
                "image_pull_secrets": st.lists(SUBDOMAINS, max_size=2),
                "service_account_name": SUBDOMAINS,
                "run_as_user": st.integers(1, 2**31 - 1),
                "gpu_resource_name": st.one_of(st.none(), KEYS),
                "node_selector": st.dictionaries(KEYS, NAMES, max_size=2),
                "tolerations": st.lists(TOLERATIONS, max_size=2),
                "priority_class_name": SUBDOMAINS,
                "queue_name": LABELS,
                "env": st.dictionaries(VARIABLES, st.text(max_size=9), max_size=2),
                "active_deadline_seconds": st.integers(1, 10**6),
                "termination_grace_period_seconds": st.integers(1, 3600),
                "training_runtime": st.fixed_dictionaries(
                    {
                        "kind": st.sampled_from(["TrainingRuntime", "ClusterTrainingRuntime"]),
                        "name": LABELS,
                    }
                ),
            },
        )
    )
    keys["shared_memory_size"], request, limit = memory
    keys["resources"] = {
        "requests": {"cpu": draw(CPU), "memory": request},
        "limits": {"memory": limit},
    }
    keys["secret_env"] = {
        f"S_{name}": {"name": draw(SUBDOMAINS), "key": draw(st.sampled_from(["key", "a.b_c"]))}
        for name in draw(st.sets(VARIABLES, max_size=2))
    }
    return KubernetesConfig.of_plain(keys)


def rendered(config: KubernetesConfig, num_processes: int) -> list[Manifest]:
    return [
        pod(config, a_workload(), command=COMMAND, variables={}, num_processes=num_processes),
        train_job(
            config,
            a_workload(),
            command=COMMAND,
            variables={},
            num_nodes=2,
            num_processes=num_processes,
        ),
        training_runtime(config, num_processes=num_processes),
    ]


@settings(max_examples=25, deadline=None)
@given(config=configs(), num_processes=st.integers(1, 8))
def test_any_configuration_renders_valid_and_secure_manifests(
    config: KubernetesConfig, num_processes: int
) -> None:
    for manifest in rendered(config, num_processes):
        check_valid(manifest)
        if manifest["kind"] != "TrainJob":
            for spec in pod_specs(manifest):
                check_secure(spec)
    check_runtime(*[training_runtime(config, num_processes=num_processes)] * 2)


@settings(max_examples=20, deadline=None)
@given(config=configs())
def test_secrets_are_only_ever_referred_to(config: KubernetesConfig) -> None:
    for manifest in rendered(config, 1)[:2]:
        is_pod = manifest["kind"] == "Pod"
        container = manifest["spec"]["containers"][0] if is_pod else manifest["spec"]["trainer"]
        from_secrets = {one["name"]: one for one in container["env"] if "valueFrom" in one}
        assert from_secrets.keys() == config.secret_env.keys()
        for name, variable in from_secrets.items():
            assert variable.keys() == {"name", "valueFrom"}
            reference = config.secret_env[name]
            assert variable["valueFrom"]["secretKeyRef"] == {
                "name": reference.name,
                "key": reference.key,
            }
