import json
from pathlib import Path

import pytest

from llm_assets.errors import UserError
from llm_assets.training.job import TrainingJob, TrainingResult
from tests.training.conftest import MakeJob


def test_a_job_survives_its_file(make_job: MakeJob, tmp_path: Path):
    job = make_job(num_top_layers=None)
    job.write(tmp_path / "job.json")
    assert TrainingJob.read(tmp_path / "job.json") == job


def test_the_recipe_is_plain_json(make_job: MakeJob):
    recipe = make_job(r=8).recipe
    assert json.loads(json.dumps(recipe)) == recipe
    assert recipe["config"]["r"] == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"r": 0}}, "config.r: Input should be greater than or equal to 1, got 0"),
        ({"surprise": 1}, "surprise: unknown key"),
        ({"base_model_dir": "/nowhere"}, "base_model_dir: no model in /nowhere"),
        ({"rows_file": "/nowhere"}, "rows_file: no such file: /nowhere"),
    ],
)
def test_a_bad_job_names_its_file_and_key(
    make_job: MakeJob, tmp_path: Path, change: dict[str, object], message: str
):
    path = tmp_path / "job.json"
    make_job().write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError) as caught:
        TrainingJob.read(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_missing_job_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="no such job file"):
        TrainingJob.read(tmp_path / "job.json")


def test_a_folder_without_an_adapter_has_no_result(tmp_path: Path):
    with pytest.raises(UserError, match="nothing was trained here"):
        TrainingResult.read(tmp_path)
