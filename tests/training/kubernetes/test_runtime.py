import copy
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from llm_assets.errors import UserError
from llm_assets.training.kubernetes.runtime import check_runtime, main, training_runtime
from llm_assets.training.kubernetes.workload import Manifest
from tests.training.kubernetes.manifests import (
    KUBERNETES,
    a_config,
    check_secure,
    check_valid,
    pod_specs,
)

FOLDER = Path(__file__).parents[3] / "deploy" / "training"


def a_runtime(num_processes: int = 4, **keys: Any) -> Manifest:
    made = training_runtime(a_config(**keys), num_processes=num_processes)
    check_valid(made)
    return made


def test_nodes_and_launcher_are_of_our_image_with_gpus_and_without_rights() -> None:
    node, launcher = pod_specs(a_runtime())
    for spec in (node, launcher):
        check_secure(spec)
        container = spec["containers"][0]
        assert container["name"] == "node"
        assert container["image"] == "registry.example/llm-assets:1"
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "4"


def test_the_launcher_comes_when_the_nodes_are_ready_and_is_a_node_itself() -> None:
    spec = a_runtime()["spec"]
    node, launcher = spec["template"]["spec"]["replicatedJobs"]
    assert (node["name"], launcher["name"]) == ("node", "launcher")
    assert launcher["dependsOn"] == [{"name": "node", "status": "Ready"}]
    assert spec["mlPolicy"]["mpi"]["runLauncherAsNode"] is True
    # Kubeflow makes as many launchers as this says.
    assert spec["mlPolicy"]["numNodes"] == 1


def test_a_disruption_fails_the_job_at_once_and_is_remembered() -> None:
    for job in a_runtime()["spec"]["template"]["spec"]["replicatedJobs"]:
        spec = job["template"]["spec"]
        assert spec["backoffLimit"] == 0
        assert spec["podFailurePolicy"]["rules"][0]["action"] == "FailJob"


def test_a_runtime_of_the_cluster_is_in_no_namespace() -> None:
    made = a_runtime(training_runtime={"kind": "ClusterTrainingRuntime", "name": "ours"})
    assert made["metadata"].keys() == {"name", "labels"}
    assert a_runtime()["metadata"]["namespace"] == "llm"


def test_what_is_deployed_is_what_the_example_makes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["runtime", str(FOLDER / "kubernetes.yaml"), "--num-processes", "4"]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    printed = capsys.readouterr().out
    assert (FOLDER / "training-runtime.yaml").read_text().endswith(printed)
    check_valid(yaml.safe_load(printed))


def test_a_wrong_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["runtime", str(tmp_path / "none.yaml")])
    with pytest.raises(SystemExit, match=r"^error: .*none.yaml: cannot be read"):
        main()


def test_the_role_allows_what_is_asked_for() -> None:
    role, binding = yaml.safe_load_all((FOLDER / "rbac.yaml").read_text())
    for manifest in (role, binding):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    allowed = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert allowed == {
        *((kind, verb) for kind in ("pods", "trainjobs") for verb in ("create", "delete", "get")),
        ("pods", "list"),
        ("trainjobs", "list"),
        ("pods/log", "get"),
        ("events", "list"),
        ("jobs", "list"),
        ("trainingruntimes", "get"),
    }


def test_a_runtime_as_it_must_be_passes_however_numbers_are_written() -> None:
    expected = a_runtime()
    found = copy.deepcopy(expected)
    for spec in pod_specs(found):
        spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = 4
    check_runtime(found, expected)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (None, "TrainingRuntime deepspeed-distributed is not in the cluster"),
        (a_runtime(image="old:1"), "image must be registry.example/llm-assets:1, got old:1"),
        (a_runtime(num_processes=1), "resources must be"),
    ],
)
def test_another_runtime_is_refused_with_the_command_that_mends_it(
    found: Manifest | None, problem: str
) -> None:
    with pytest.raises(UserError) as refusal:
        check_runtime(found, a_runtime())
    assert problem in str(refusal.value)
    assert "--num-processes 4 | kubectl apply -f -" in str(refusal.value)
