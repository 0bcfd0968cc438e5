"""The tiny model as training needs it, and jobs on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.training.base_model import prepare_hf
from llm_assets.training.config import TrainingConfig
from llm_assets.training.job import TrainingJob

DESKS = ("money", "sports", "science")
SYSTEM_PROMPT = f"Name the desk that answers the question: {', '.join(DESKS)}."

MakeJob = Callable[..., TrainingJob]


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny_hf(tiny_base_model: BaseModelFile, model_cache: Path) -> Path:
    return prepare_hf(tiny_base_model, model_cache)


@pytest.fixture(scope="session")
def tokenizer(tiny_hf: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_hf)


def rows_frame(num_train: int = 24, num_validation: int = 4) -> pl.DataFrame:
    """Return rows whose prompts differ in length and whose answers are desks."""
    splits = ["train"] * num_train + ["validation"] * num_validation
    return pl.DataFrame(
        [
            (f"Question {number}{' or so' * (number % 5)}?", DESKS[number % 3], split)
            for number, split in enumerate(splits)
        ],
        schema=["prompt", "response", "split"],
        orient="row",
    )


def preference_frame(num_train: int = 24, num_validation: int = 4) -> pl.DataFrame:
    """Return rows that DPO, ORPO, and KTO can learn from: the right desk is better than another."""
    rows = rows_frame(num_train, num_validation).with_row_index()
    wrong = [DESKS[(number + 1) % 3] for number in rows["index"]]
    is_right = pl.col("index") % 2 == 0
    return rows.with_columns(chosen="response", rejected=pl.Series(wrong)).with_columns(
        response=pl.when(is_right).then("chosen").otherwise("rejected"), is_desirable=is_right
    )


@pytest.fixture
def make_job(tmp_path: Path, tiny_hf: Path) -> MakeJob:
    """Return a function that makes a small job; its arguments are settings of the training."""

    def make(**settings: Any) -> TrainingJob:
        return small_job(tmp_path, tiny_hf, **settings)

    return make


def small_job(folder: Path, base_model_dir: Path, **settings: Any) -> TrainingJob:
    """Write rows into a folder and return a job of a few steps that trains on them there."""
    rows_file = folder / "rows.parquet"
    rows_frame().write_parquet(rows_file)
    defaults = {
        "r": 4,
        "num_top_layers": 2,
        "max_steps": 4,
        "train_batch_size": 8,
        "min_train_rows": 10,
        "compute": {"num_threads": 1, "per_device_train_batch_size": 8},
    }
    return TrainingJob(
        model_version="tiny-v0002",
        base_model_dir=base_model_dir,
        rows_file=rows_file,
        system_prompt=SYSTEM_PROMPT,
        config=TrainingConfig.of_plain({**defaults, **settings}),
        output_dir=folder / "adapter",
        work_dir=folder / "work",
    )
