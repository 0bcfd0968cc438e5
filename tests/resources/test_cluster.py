"""What is asked again, what is told at once, and what it says."""

import os
from pathlib import Path

import pytest
import yaml

from llm_assets.resources.cluster import Cluster as ClusterClient
from llm_assets.resources.cluster import ClusterError
from llm_assets.training.kubernetes.pod import pod
from tests.kubernetes.emulator import Cluster
from tests.training.kubernetes.manifests import a_config, a_workload


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def client(cluster: Cluster, said: list[str]) -> ClusterClient:
    return ClusterClient("default", pause_seconds=0.02, say=said.append)


def test_a_server_that_is_busy_is_asked_again_and_that_is_told_once(
    cluster: Cluster, client: ClusterClient, said: list[str]
) -> None:
    cluster.refuse(3)
    assert client.find("Pod", "none") is None
    assert said == [
        "the cluster's API does not answer, asking again: "
        "the server is currently unable to handle the request"
    ]


def test_patience_ends(cluster: Cluster, client: ClusterClient) -> None:
    cluster.refuse(1000)
    with pytest.raises(ClusterError, match="currently unable to handle") as refusal:
        client.with_patience(0.1).select("Pod", "")
    assert refusal.value.status == 503
    cluster.refuse(0)


def test_what_is_wrong_is_told_at_once_in_the_server_s_words(
    client: ClusterClient, said: list[str]
) -> None:
    manifest = pod(a_config(), a_workload(), command=["true"], variables={}, num_processes=1)
    with pytest.raises(ClusterError, match="the namespace of the provided object does not match"):
        client.create(manifest)
    assert said == []


def test_a_kind_that_the_cluster_does_not_have_has_no_objects(client: ClusterClient) -> None:
    assert client.find("ClusterTrainingRuntime", "none") is None
    client.delete("TrainJob", "none")


def test_a_server_that_is_not_there_gives_no_answer(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
    path = tmp_path / "nobody.yaml"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    client = ClusterClient("default", pause_seconds=0.02, say=said.append)
    with pytest.raises(ClusterError, match="no answer") as refusal:
        client.with_patience(0.1).find("Pod", "none")
    assert refusal.value.status == 0
