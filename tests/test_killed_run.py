"""Dagster itself, with its daemon: the process of a run is killed and the cycle goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.cycle_requests import request_cycle
from llm_assets.installation import Installation
from llm_assets.manifest import MANIFEST, ModelManifest
from llm_assets.sensors.jobs import improvement_cycle
from llm_assets.training.job import read_history
from tests.cycles import add_partitions, execute, write_logs
from tests.installations import CANDIDATE, VERSION, a_dagster_instance, an_installation

pytestmark = pytest.mark.chaos

_NUM_STEPS, _SAVE_STEPS = 1500, 50
_TRAINING = {
    "r": 4,
    "num_top_layers": 2,
    "max_steps": _NUM_STEPS,
    "min_train_rows": 10,
    "compute": {"num_threads": 1, "save_steps": _SAVE_STEPS},
}


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    with an_installation(tmp_path, tiny_base_model, training=_TRAINING) as made:
        yield made


@pytest.fixture
def instance(installation: Installation) -> Iterator[dg.DagsterInstance]:
    """Return Dagster's instance when days are worked through and a person has asked for a cycle."""
    with a_dagster_instance(installation) as instance:
        register_base_models(installation)
        write_logs(installation)
        add_partitions(instance, VERSION)
        execute(instance, "daily_logs", days=True)
        execute(instance, "first_baseline", version=VERSION)
        request_cycle(installation.home, "helpdesk", "a test", now=datetime.now(UTC))
        yield instance


@pytest.fixture
def platform(installation: Installation, instance: dg.DagsterInstance) -> Iterator[None]:
    command = [sys.executable, "-m", "dagster", "dev", "-m", "llm_assets.definitions"]
    settings = installation.settings
    log = installation.home / "dagster.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*command, "--host", settings.ui_host, "--port", str(settings.ui_port)],
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        yield
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait(condition: Callable[[], Any], *, seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def _supervisor(job_file: Path) -> int | None:
    """Return the process that supervises a job: the one whose parent is not another worker."""
    workers = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(job_file).encode() in (folder / "cmdline").read_bytes():
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                workers[int(folder.name)] = int(stat[1])
    return next((pid for pid, parent in workers.items() if parent not in workers), None)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _materializations(instance: dg.DagsterInstance, asset: str) -> int:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[CANDIDATE]), limit=10
    )
    return len(records.records)


@pytest.mark.usefixtures("platform")
def test_a_killed_run_goes_on_in_another_one_and_trains_once(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    workplace = installation.home / "run" / "training" / CANDIDATE
    _wait(lambda: list((workplace / "checkpoints").glob("step-*")))
    supervisor = _supervisor(workplace / "job.json")
    assert supervisor is not None
    os.kill(_parent(supervisor), signal.SIGKILL)
    _wait(lambda: not Path(f"/proc/{supervisor}").exists(), seconds=40)
    folder = installation.model(CANDIDATE)
    _wait(lambda: (folder / MANIFEST).exists())
    _wait(lambda: _materializations(instance, "eval_report"))
    runs = instance.get_runs(dg.RunsFilter(job_name=improvement_cycle.name))
    assert len(runs) == 2
    assert runs[0].parent_run_id == runs[1].run_id
    assert _materializations(instance, "curated_dataset") == 1
    assert _materializations(instance, "finetuned_checkpoint") == 1
    manifest = ModelManifest.read(folder)
    assert manifest.run_id == runs[0].run_id
    assert manifest.metrics["num_attempts"] == 2
    assert [r.step for r in read_history(folder)] == list(range(1, _NUM_STEPS + 1))
