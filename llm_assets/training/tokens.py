"""From rows of text to tokens, of which only the answer's are learnt.

A row becomes the conversation system, user, assistant in the model's own chat template. The prompt
is tokenized by itself, exactly as it will be when the model is served; the answer ends with the
token that ends a turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_assets.errors import UserError
from llm_assets.training.config import Method, TrainingConfig
from llm_assets.training.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TokenRow:
    """A tokenized sequence: `ids[num_prompt:]` are the tokens to learn."""

    ids: Sequence[int]
    num_prompt: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_answer(self) -> int:
        """How many tokens are learnt."""
        return len(self) - self.num_prompt


@dataclass(frozen=True)
class Example:
    """What is learnt from one row: a sequence, or the two that a loss sets against each other.

    Of KTO the second is the row's prompt with the answer of another row, by which it measures how
    far the model has moved.
    """

    sequences: tuple[TokenRow, ...]
    is_desirable: bool = True

    @property
    def num_tokens(self) -> int:
        """How many tokens the sequences have, prompts included."""
        return sum(map(len, self.sequences))

    @property
    def num_answer(self) -> int:
        """How many tokens of them are learnt."""
        return sum(sequence.num_answer for sequence in self.sequences)


def tokenize(
    rows: Sequence[Row],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    system_prompt: str | None,
    config: TrainingConfig,
) -> list[Example]:
    """Tokenize rows by the tokenizer's chat template; texts of pretraining as they are.

    Raises:
        UserError: there is no chat template, it does not put the answer last, an answer has no
            token, or a row is longer than `max_length`, which would cut its answer.
    """
    if config.method is Method.PRETRAINING:
        return [piece for row in rows for piece in _pieces(row, tokenizer, config.max_length)]
    if not tokenizer.chat_template:
        raise UserError("the base model's tokenizer has no chat template, training needs one")
    examples = [
        Example(
            tuple(
                _conversation(row.prompt, response, tokenizer, system_prompt)
                for response in row.responses
            ),
            row.is_desirable,
        )
        for row in rows
    ]
    _require_answers(examples, config)
    return _with_mismatched(examples, config) if config.method is Method.KTO else examples


def _require_answers(examples: Sequence[Example], config: TrainingConfig) -> None:
    # By number and not by text: the message ends up where no erasure of a user reaches.
    for number, example in enumerate(examples, start=1):
        for tokens in example.sequences:
            if len(tokens) > config.max_length:
                raise UserError(
                    f"row {number} in the order of prompts has {len(tokens)} tokens and its answer "
                    f"would be cut: raise training.max_length, which is {config.max_length}"
                )
            if not tokens.num_answer:
                raise UserError(f"row {number} in the order of prompts has no token to learn")


def _with_mismatched(examples: Sequence[Example], config: TrainingConfig) -> list[Example]:
    """Put behind each prompt also the answer of the row before, cut to the longest allowed."""
    others = [*examples[-1:], *examples[:-1]]
    mixed = []
    for example, other in zip(examples, others, strict=True):
        (own,), (strange,) = example.sequences, other.sequences
        ids = [*own.ids[: own.num_prompt], *strange.ids[strange.num_prompt :]]
        mismatched = TokenRow(tuple(ids[: config.max_length]), own.num_prompt)
        mixed.append(Example((own, mismatched), example.is_desirable))
    return mixed


def _conversation(
    prompt_text: str,
    response: str,
    tokenizer: "PreTrainedTokenizerBase",
    system_prompt: str | None,
) -> TokenRow:
    system = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    messages = [*system, {"role": "user", "content": prompt_text}]
    answer = {"role": "assistant", "content": response}
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*messages, answer], tokenize=False)
    assert isinstance(prompt, str)
    assert isinstance(whole, str)
    if not whole.startswith(prompt):
        raise UserError("the base model's chat template does not put the answer behind the prompt")
    if response.strip() not in whole[len(prompt) :]:
        raise UserError("the base model's chat template cuts or changes the answer")
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(whole[len(prompt) :], add_special_tokens=False)["input_ids"]
    # Templates may put a line break behind the end of the turn, which is never generated.
    if tokenizer.eos_token_id in answer_ids:
        last = len(answer_ids) - answer_ids[::-1].index(tokenizer.eos_token_id)
        answer_ids = answer_ids[:last]
    return TokenRow(ids=(*prompt_ids, *answer_ids), num_prompt=len(prompt_ids))


def _pieces(row: Row, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
    """Return a text in pieces; the first token of each predicts and is not predicted."""
    (text,) = row.responses
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    starts = range(0, len(ids) - 1, max_length)
    pieces = [tuple(ids[start : start + max_length]) for start in starts]
    return [Example((TokenRow(piece, 1),)) for piece in pieces if len(piece) > 1]
