from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.training.config import TrainingConfig
from llm_assets.training.rows import Row, read_rows, tokenize
from tests.training.conftest import rows_frame

# The vocabulary of SmolLM2 lacks bytes that only control characters and unassigned ones have.
TEXTS = st.text(st.characters(exclude_categories=["C"]), min_size=1).filter(str.strip)


@settings(max_examples=40)
@given(TEXTS, TEXTS, st.none() | TEXTS)
def test_exactly_the_answer_and_the_end_of_its_turn_are_learnt(
    tokenizer: Any, prompt: str, response: str, system_prompt: str | None
):
    config = TrainingConfig(max_length=100_000)
    row = Row(prompt, response)
    (tokens,) = tokenize([row], tokenizer, system_prompt=system_prompt, config=config)
    learnt = tokenizer.decode(tokens.ids[tokens.num_prompt :])
    given_ids = list(tokens.ids[: tokens.num_prompt])
    assert learnt == f"{response}<|im_end|>"
    assert tokens.ids[-1] == tokenizer.eos_token_id
    system = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    served = tokenizer.apply_chat_template(
        [*system, {"role": "user", "content": prompt}], add_generation_prompt=True
    )
    assert given_ids == served["input_ids"]


def test_a_row_whose_answer_would_be_cut_is_refused(tokenizer: Any):
    config = TrainingConfig(max_length=16)
    with pytest.raises(UserError, match="its answer would be cut"):
        tokenize([Row("Why? " * 20, "money")], tokenizer, system_prompt=None, config=config)


def test_a_tokenizer_without_a_chat_template_is_refused():
    class Bare:
        chat_template = None

    bare: Any = Bare()
    with pytest.raises(UserError, match="no chat template"):
        tokenize([Row("a", "b")], bare, system_prompt=None, config=TrainingConfig())


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
        read.append(read_rows(path, min_train_rows=12))
    assert read[0] == read[1]
    assert len(read[0].train) == 12
    assert len(read[0].validation) == 3


def test_too_few_rows_are_refused_with_both_numbers(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    rows_frame(7, 9).write_parquet(path)
    with pytest.raises(UserError, match="7 train rows, at least 8 are needed"):
        read_rows(path, min_train_rows=8)


def test_an_empty_data_set_is_refused(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    rows_frame(0, 0).write_parquet(path)
    with pytest.raises(UserError, match="0 train rows"):
        read_rows(path, min_train_rows=1)


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
        read_rows(path, min_train_rows=1)


def test_a_missing_column_is_named(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    rows_frame().drop("split").write_parquet(path)
    with pytest.raises(UserError, match="column 'split' is missing"):
        read_rows(path, min_train_rows=1)


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
        read_rows(path, min_train_rows=1)
