from pathlib import Path

import pytest

from llm_assets.errors import UserError
from llm_assets.training.config import TrainingConfig
from llm_assets.training.kubernetes.workload import check_paths
from tests.training.kubernetes.manifests import a_job, a_workload


def test_the_name_says_which_output_is_written_not_which_run_writes_it() -> None:
    first, second = a_workload("run-1"), a_workload("run-2")
    assert first.name == second.name
    assert first.selector == second.selector
    assert (first.run_id, second.run_id) == ("run-1", "run-2")
    elsewhere = a_workload(output_dir=Path("/work/other/helpdesk-v0002"))
    assert elsewhere.name != first.name
    assert elsewhere.selector != first.selector


def test_people_find_it_by_the_version_and_the_application() -> None:
    made = a_workload()
    assert made.name.startswith("train-helpdesk-v0002-")
    assert made.labels["llm-assets/model-version"] == "helpdesk-v0002"
    assert made.labels["llm-assets/application"] == "helpdesk"


def test_a_long_name_leaves_room_for_what_kubeflow_adds() -> None:
    made = a_workload(model_version=f"{'a-' * 26}a-v0002")
    assert len(f"{made.name}-launcher-0-0") <= 63
    assert "--" not in made.name


def test_files_outside_the_volume_are_named() -> None:
    check_paths(a_job(), Path("/work/job.json"), mount_path="/work")
    with pytest.raises(UserError, match=r"^rows_file must lie below volume.mount_path \(/work\)"):
        check_paths(a_job(rows_file=Path("/home/rows")), Path("/work/job.json"), mount_path="/work")
    config = TrainingConfig.of_plain({"compute": {"deepspeed": "ds.json"}})
    with pytest.raises(UserError, match=r"^training.compute.deepspeed must lie below"):
        check_paths(a_job(config=config), Path("/work/job.json"), mount_path="/work")
