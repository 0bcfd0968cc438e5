from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_assets.errors import UserError
from llm_assets.training.kubernetes.config import read_kubernetes_config
from tests.training.kubernetes.manifests import REQUIRED, a_config

ROOT = Path(__file__).parents[3]
LABEL_RULE = "at most 63 lower-case letters, digits and '-'"


def test_the_example_is_read() -> None:
    config = read_kubernetes_config(ROOT / "deploy" / "training" / "kubernetes.yaml")
    assert config.resources.requests.cpu == "8"
    assert config.secret_env["HF_TOKEN"].name == "hugging-face"


def test_image_namespace_and_volume_are_enough() -> None:
    config = a_config()
    assert config.gpu_resource_name == "nvidia.com/gpu"
    assert config.training_runtime.name == "deepspeed-distributed"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"image": "my image"}, "image: must be an image, without spaces, got 'my image'"),
        ({"namespace": "LLM"}, LABEL_RULE),
        ({"namespace": "llm."}, LABEL_RULE),
        ({"service_account_name": "train_er"}, "service_account_name: must be lower-case"),
        ({"volume": {"claim_name": "w", "mount_path": "work"}}, "volume.mount_path: must be an"),
        ({"volume": {"claim_name": "w"}}, "volume.mount_path: is missing"),
        ({"run_as_user": 0}, "run_as_user: "),
        (
            {"resources": {"limits": {"memory": "lots"}}},
            "resources.limits.memory: must be a quantity above 0",
        ),
        ({"resources": {"limits": {"memory": "0"}}}, "must be a quantity above 0"),
        ({"resources": {"limits": {"memory": "16gb"}}}, "must be a quantity above 0"),
        ({"resources": {"limits": {"memory": 64}}}, "at least 1Mi; a suffix such as Gi may be"),
        ({"resources": {"requests": {"cpu": True}}}, "resources.requests.cpu: "),
        (
            {"resources": {"requests": {"memory": "9Gi"}}},
            "resources: requests.memory must be at most limits.memory (8Gi)",
        ),
        ({"gpu_resource_name": "nvidia.com/"}, "gpu_resource_name: must be the key of a label"),
        ({"shared_memory_size": "9Gi"}, "must be at most resources.limits.memory (8Gi)"),
        ({"node_selector": {"a b": "x"}}, "node_selector.a b.[key]: must be the key of a label"),
        ({"node_selector": {"gpu": "a/b"}}, "node_selector.gpu: must be the value of a label"),
        ({"node_selector": {"gpu": True}}, "node_selector.gpu: "),
        ({"tolerations": [{"operator": "Equal"}]}, "tolerations.0: key is missing"),
        (
            {"tolerations": [{"operator": "Exists", "value": "x"}]},
            "tolerations.0: value must be left out where operator is 'Exists'",
        ),
        (
            {"tolerations": [{"key": "a", "toleration_seconds": 3}]},
            "tolerations.0: toleration_seconds needs effect 'NoExecute'",
        ),
        ({"tolerations": [{"key": "a", "operator": "In"}]}, "tolerations.0.operator: "),
        ({"env": {"9LIVES": "x"}}, "env.9LIVES.[key]: must be the name of a variable"),
        ({"env": {"RANK": "0"}}, "env and secret_env must not set RANK"),
        ({"env": {"DAGSTER_PIPES_CONTEXT": "x"}}, "must not set DAGSTER_PIPES_CONTEXT"),
        (
            {"env": {"A": "x"}, "secret_env": {"A": {"name": "s", "key": "k"}}},
            "A must be in env or in secret_env, not in both",
        ),
        ({"secret_env": {"A": {"name": "s"}}}, "secret_env.A.key: is missing"),
        ({"secret_env": {"A": {"name": "s", "key": "a/b"}}}, "secret_env.A.key: "),
        ({"active_deadline_seconds": 0}, "active_deadline_seconds: "),
        ({"poll_seconds": 0}, "poll_seconds: "),
        ({"queue": "training"}, "queue: unknown key"),
    ],
)
def test_what_a_cluster_would_refuse_is_told_in_one_line(
    tmp_path: Path, keys: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "kubernetes.yaml"
    path.write_text(yaml.safe_dump({**REQUIRED, **keys}))
    with pytest.raises(UserError) as refusal:
        read_kubernetes_config(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert problem in message
    assert "\n" not in message


def test_numbers_are_quantities_as_in_kubernetes() -> None:
    amounts = a_config(resources={"requests": {"cpu": 0.5}, "limits": {"cpu": 4}}).resources
    assert (amounts.requests.cpu, amounts.limits.cpu) == ("0.5", "4")


def test_a_limit_may_be_left_out() -> None:
    config = a_config(resources={"requests": {"memory": "1Ti"}, "limits": {}})
    assert config.resources.limits.memory is None
