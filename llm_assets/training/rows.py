"""The rows that a training learns from, by method, as a file holds them.

| method | columns beside `split` |
|---|---|
| sft | `prompt`, `response` |
| kto | `prompt`, `response`, `is_desirable` |
| dpo, orpo | `prompt`, `chosen`, `rejected` |
| pretraining | `text` |
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llm_assets.errors import UserError
from llm_assets.training.config import Method, TrainingConfig

if TYPE_CHECKING:
    import polars as pl

TEXT_COLUMNS: Mapping[Method, tuple[str, ...]] = {
    Method.SFT: ("prompt", "response"),
    Method.KTO: ("prompt", "response"),
    Method.DPO: ("prompt", "chosen", "rejected"),
    Method.ORPO: ("prompt", "chosen", "rejected"),
    Method.PRETRAINING: ("text",),
}
SPLITS = ("train", "validation")


class Row(NamedTuple):
    """A prompt and what is learnt behind it: one answer, or the better and the worse one.

    The `prompt` of a text of pretraining is empty.
    """

    prompt: str
    responses: tuple[str, ...]
    is_desirable: bool = True


class Rows(NamedTuple):
    """The rows of a job, each split in an order that does not depend on the file's.

    `replay` are rows from elsewhere that keep alive what the model could do before.
    """

    train: list[Row]
    validation: list[Row]
    replay: list[Row]

    @property
    def sha256(self) -> str:
        """The hash of the content."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()


def read_rows(path: Path, config: TrainingConfig) -> Rows:
    """Read and check the rows of a job; columns that its method does not know are ignored.

    Raises:
        UserError: a file cannot be read, a column is missing, a value is empty or not of its kind,
            a split is neither train nor validation, there are too few rows to train on, or there is
            no validation to stop early by.
    """
    splits: dict[str, list[Row]] = {split: [] for split in SPLITS}
    frame = read_frame(path)
    rows = _rows(path, frame, config.method)
    for number, (row, split) in enumerate(
        zip(rows, _column(path, frame, "split"), strict=True), start=1
    ):
        if split not in splits:
            raise UserError(f"{path}: row {number}: split must be one of {SPLITS}, got {split!r}")
        splits[split].append(row)
    if len(splits["train"]) < config.min_train_rows:
        raise UserError(
            f"{path}: {len(splits['train'])} train rows, at least {config.min_train_rows} are "
            "needed (training.min_train_rows)"
        )
    if config.early_stopping_patience is not None and not splits["validation"]:
        raise UserError(f"{path}: training.early_stopping_patience needs validation rows")
    return Rows(
        train=sorted(splits["train"]),
        validation=sorted(splits["validation"]),
        replay=_read_replay(config),
    )


def _read_replay(config: TrainingConfig) -> list[Row]:
    if config.replay_file is None:
        return []
    path = Path(config.replay_file)
    if config.method not in (Method.SFT, Method.PRETRAINING):
        raise UserError(f"training.replay_file: method {config.method.value!r} cannot replay")
    return sorted(_rows(path, read_frame(path), config.method))


def _rows(path: Path, frame: "pl.DataFrame", method: Method) -> list[Row]:
    columns = [_texts(path, frame, name) for name in TEXT_COLUMNS[method]]
    if method is Method.PRETRAINING:
        return [Row("", (text,)) for (text,) in zip(*columns, strict=True)]
    if method is Method.KTO:
        labels = _column(path, frame, "is_desirable")
        for number, label in enumerate(labels, start=1):
            if not isinstance(label, bool):
                rule = "is_desirable must be true or false"
                raise UserError(f"{path}: row {number}: {rule}, got {label!r}")
        pairs = zip(*columns, labels, strict=True)
        return [Row(prompt, (response,), label) for prompt, response, label in pairs]
    return [Row(prompt, tuple(responses)) for prompt, *responses in zip(*columns, strict=True)]


def _texts(path: Path, frame: "pl.DataFrame", name: str) -> Sequence[str]:
    values = _column(path, frame, name)
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{path}: row {number}: {name} must be a text, got {value!r}")
    return values


def _column(path: Path, frame: "pl.DataFrame", name: str) -> list:
    if name not in frame.columns:
        raise UserError(f"{path}: column {name!r} is missing")
    return frame[name].to_list()


def read_frame(path: Path) -> "pl.DataFrame":
    """Read a file of rows: Parquet, or NDJSON.

    Raises:
        UserError: the file is missing, empty, of another kind, or damaged.
    """
    import polars as pl

    readers = {".parquet": pl.read_parquet, ".ndjson": pl.read_ndjson, ".jsonl": pl.read_ndjson}
    if path.suffix not in readers:
        raise UserError(f"{path}: rows must be in a file that ends in one of {sorted(readers)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    try:
        return readers[path.suffix](path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
