from pathlib import Path

import polars as pl
import pytest

from llm_assets.errors import UserError
from llm_assets.training.config import Method, TrainingConfig
from llm_assets.training.rows import Row, read_rows
from tests.training.conftest import rows_frame


@pytest.mark.parametrize("form", ["rows.parquet", "rows.ndjson"])
def test_rows_are_read_in_an_order_that_does_not_depend_on_the_file(tmp_path: Path, form: str):
    frame = rows_frame(12, 3)
    path = tmp_path / form
    read = []
    for shuffled in (frame, frame.reverse()):
        if path.suffix == ".parquet":
            shuffled.write_parquet(path)
        else:
            shuffled.write_ndjson(path)
        read.append(read_rows(path, TrainingConfig(min_train_rows=12)))
    assert read[0] == read[1]
    assert len(read[0].train) == 12
    assert len(read[0].validation) == 3


def test_too_few_rows_are_refused_with_both_numbers(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    rows_frame(7, 9).write_parquet(path)
    with pytest.raises(UserError, match="7 train rows, at least 8 are needed"):
        read_rows(path, TrainingConfig(min_train_rows=8))


def test_an_empty_data_set_is_refused(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    rows_frame(0, 0).write_parquet(path)
    with pytest.raises(UserError, match="0 train rows"):
        read_rows(path, TrainingConfig(min_train_rows=1))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"split": "holdout"}, "row 25: split must be one of .*, got 'holdout'"),
        ({"response": " "}, "row 25: response must be a text, got ' '"),
        ({"prompt": None}, "row 25: prompt must be a text, got None"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, str | None], message: str):
    path = tmp_path / "rows.parquet"
    good = {"prompt": "a", "response": "b", "split": "train"}
    bad = pl.DataFrame([good | row], schema=rows_frame().schema)
    pl.concat([rows_frame(24, 0), bad]).write_parquet(path)
    with pytest.raises(UserError, match=message):
        read_rows(path, TrainingConfig(min_train_rows=1))


def test_a_missing_column_is_named(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    rows_frame().drop("split").write_parquet(path)
    with pytest.raises(UserError, match="column 'split' is missing"):
        read_rows(path, TrainingConfig(min_train_rows=1))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"x", "must be in a file that ends in one of"),
        ("rows.ndjson", b"", "the file is empty"),
        ("rows.ndjson", b"{not json}\n", "cannot be read"),
        ("rows.parquet", b"not parquet", "cannot be read"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, content: bytes, message: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: .*{message}"):
        read_rows(path, TrainingConfig(min_train_rows=1))


PREFERENCES = pl.DataFrame(
    [("a?", "good", "bad", True, "train"), ("b?", "better", "worse", False, "validation")],
    schema=["prompt", "chosen", "rejected", "is_desirable", "split"],
    orient="row",
)


@pytest.mark.parametrize("method", [Method.DPO, Method.ORPO])
def test_a_pair_has_the_better_answer_first(tmp_path: Path, method: Method):
    path = tmp_path / "rows.parquet"
    PREFERENCES.write_parquet(path)
    rows = read_rows(path, TrainingConfig(method=method, min_train_rows=1))
    assert rows.train == [Row("a?", ("good", "bad"))]
    assert rows.validation == [Row("b?", ("better", "worse"))]


def test_an_answer_that_was_judged_keeps_its_judgement(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    PREFERENCES.rename({"chosen": "response"}).write_parquet(path)
    rows = read_rows(path, TrainingConfig(method=Method.KTO, min_train_rows=1))
    assert rows.train == [Row("a?", ("good",), True)]
    assert rows.validation == [Row("b?", ("better",), False)]


def test_a_judgement_that_is_none_is_refused(tmp_path: Path):
    path = tmp_path / "rows.ndjson"
    path.write_text('{"prompt": "a", "response": "b", "is_desirable": 1, "split": "train"}\n')
    with pytest.raises(UserError, match="row 1: is_desirable must be true or false, got 1"):
        read_rows(path, TrainingConfig(method=Method.KTO, min_train_rows=1))


def test_replayed_rows_come_from_a_file_of_their_own(tmp_path: Path):
    path, replay = tmp_path / "rows.parquet", tmp_path / "replay.ndjson"
    rows_frame().write_parquet(path)
    replay.write_text('{"prompt": "hello", "response": "hi"}\n')
    rows = read_rows(path, TrainingConfig(replay_file=str(replay), min_train_rows=1))
    assert rows.replay == [Row("hello", ("hi",))]
    PREFERENCES.write_parquet(path)
    config = TrainingConfig(method=Method.DPO, replay_file=str(replay), min_train_rows=1)
    with pytest.raises(UserError, match="method 'dpo' cannot replay"):
        read_rows(path, config)


def test_stopping_early_needs_something_to_stop_by(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    rows_frame(24, 0).write_parquet(path)
    with pytest.raises(UserError, match="early_stopping_patience needs validation rows"):
        read_rows(path, TrainingConfig(early_stopping_patience=1, min_train_rows=1))


def test_other_rows_have_another_hash(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    hashes = set()
    for number in (24, 25):
        rows_frame(number).write_parquet(path)
        hashes.add(read_rows(path, TrainingConfig(min_train_rows=1)).sha256)
    assert len(hashes) == 2
