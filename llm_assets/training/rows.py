"""From rows of prompt and response to tokens, of which only the answer's are learnt.

A row becomes the conversation system, user, assistant in the model's own chat template. The prompt
is tokenized by itself, exactly as it will be when the model is served; the answer ends with the
token that ends a turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llm_assets.errors import UserError
from llm_assets.training.config import TrainingConfig

if TYPE_CHECKING:
    import polars as pl
    from transformers import PreTrainedTokenizerBase

COLUMNS = ("prompt", "response", "split")
SPLITS = ("train", "validation")


class Row(NamedTuple):
    """One prompt and the answer that is wanted."""

    prompt: str
    response: str


@dataclass(frozen=True)
class TokenRow:
    """A tokenized row: `ids[num_prompt:]` are the tokens to learn."""

    ids: Sequence[int]
    num_prompt: int

    def __len__(self) -> int:
        return len(self.ids)


class Rows(NamedTuple):
    """The rows of a job, each split in an order that does not depend on the file's."""

    train: list[Row]
    validation: list[Row]


def read_rows(path: Path, *, min_train_rows: int) -> Rows:
    """Read and check the rows of a job; columns beyond `COLUMNS` are ignored.

    Raises:
        UserError: the file cannot be read, a column is missing, a value is empty or not a text, a
            split is neither train nor validation, or there are too few rows to train on.
    """
    frame = _read_frame(path)
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing")
    splits: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for number, (prompt, response, split) in enumerate(frame.select(COLUMNS).iter_rows(), start=1):
        for name, value in (("prompt", prompt), ("response", response)):
            if not isinstance(value, str) or not value.strip():
                raise UserError(f"{path}: row {number}: {name} must be a text, got {value!r}")
        if split not in splits:
            raise UserError(f"{path}: row {number}: split must be one of {SPLITS}, got {split!r}")
        splits[split].append(Row(prompt, response))
    if len(splits["train"]) < min_train_rows:
        raise UserError(
            f"{path}: {len(splits['train'])} train rows, at least {min_train_rows} are needed "
            "(training.min_train_rows)"
        )
    return Rows(train=sorted(splits["train"]), validation=sorted(splits["validation"]))


def tokenize(
    rows: Sequence[Row],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    system_prompt: str | None,
    config: TrainingConfig,
) -> list[TokenRow]:
    """Tokenize rows by the tokenizer's chat template.

    Raises:
        UserError: there is no chat template, it does not put the answer last, an answer has no
            token, or a row is longer than `max_length`, which would cut its answer.
    """
    if not tokenizer.chat_template:
        raise UserError("the base model's tokenizer has no chat template, training needs one")
    tokenized = [_tokenize_row(row, tokenizer, system_prompt) for row in rows]
    # By number and not by text: the message ends up where no erasure of a user reaches.
    for number, tokens in enumerate(tokenized, start=1):
        if len(tokens) > config.max_length:
            raise UserError(
                f"row {number} in the order of prompts has {len(tokens)} tokens and its answer "
                f"would be cut: raise training.max_length, which is {config.max_length}"
            )
        if len(tokens) == tokens.num_prompt:
            raise UserError(f"row {number} in the order of prompts has no token to learn")
    return tokenized


def _tokenize_row(
    row: Row, tokenizer: "PreTrainedTokenizerBase", system_prompt: str | None
) -> TokenRow:
    system = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    messages = [*system, {"role": "user", "content": row.prompt}]
    answer = {"role": "assistant", "content": row.response}
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*messages, answer], tokenize=False)
    assert isinstance(prompt, str)
    assert isinstance(whole, str)
    if not whole.startswith(prompt):
        raise UserError("the base model's chat template does not put the answer behind the prompt")
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(whole[len(prompt) :], add_special_tokens=False)["input_ids"]
    # Templates may put a line break behind the end of the turn, which is never generated.
    if tokenizer.eos_token_id in answer_ids:
        last = len(answer_ids) - answer_ids[::-1].index(tokenizer.eos_token_id)
        answer_ids = answer_ids[:last]
    return TokenRow(ids=(*prompt_ids, *answer_ids), num_prompt=len(prompt_ids))


def _read_frame(path: Path) -> "pl.DataFrame":
    import polars as pl

    readers = {".parquet": pl.read_parquet, ".ndjson": pl.read_ndjson, ".jsonl": pl.read_ndjson}
    if path.suffix not in readers:
        raise UserError(f"{path}: rows must be in a file that ends in one of {sorted(readers)}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    try:
        return readers[path.suffix](path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
