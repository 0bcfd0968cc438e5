"""A cluster for each test, with the Python client configured for it."""

from collections.abc import Iterator
from pathlib import Path

import kubernetes
import pytest

from tests.kubernetes.clients import IMAGE, Core
from tests.kubernetes.emulator import Cluster, emulator


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with emulator(tmp_path / "cluster", images={IMAGE: {"FROM_IMAGE": "yes"}}) as running:
        kubernetes.config.load_kube_config(str(running.kubeconfig))
        yield running


@pytest.fixture
def core(cluster: Cluster) -> Core:
    return kubernetes.client.CoreV1Api()
