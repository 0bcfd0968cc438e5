from pathlib import Path

from llm_assets.training.work_folder import clear


def test_what_a_training_made_goes_and_what_it_was_given_stays(tmp_path: Path):
    for name in ("job.json", "rows.parquet", "lock"):
        (tmp_path / name).touch()
    given = sorted(tmp_path.iterdir())
    (tmp_path / "checkpoints" / "step-000000010").mkdir(parents=True)
    for name in (
        "best.safetensors",
        "best.safetensors.tmp",
        "reference.safetensors",
        "states-0a.bin",
        "states-0a.bin.tmp",
    ):
        (tmp_path / name).touch()
    clear(tmp_path)
    assert sorted(tmp_path.iterdir()) == given
