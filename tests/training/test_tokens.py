from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.training.config import Method, TrainingConfig
from llm_assets.training.rows import Row
from llm_assets.training.tokens import tokenize

# The vocabulary of SmolLM2 lacks bytes that only control characters and unassigned ones have.
TEXTS = st.text(st.characters(exclude_categories=["C"]), min_size=1).filter(str.strip)


@settings(max_examples=40)
@given(TEXTS, TEXTS, st.none() | TEXTS)
def test_exactly_the_answer_and_the_end_of_its_turn_are_learnt(
    tokenizer: Any, prompt: str, response: str, system_prompt: str | None
):
    config = TrainingConfig(max_length=100_000)
    row = Row(prompt, (response,))
    (example,) = tokenize([row], tokenizer, system_prompt=system_prompt, config=config)
    (tokens,) = example.sequences
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
        tokenize([Row("Why? " * 20, ("money",))], tokenizer, system_prompt=None, config=config)


def test_a_tokenizer_without_a_chat_template_is_refused():
    class Bare:
        chat_template = None

    bare: Any = Bare()
    with pytest.raises(UserError, match="no chat template"):
        tokenize([Row("a", ("b",))], bare, system_prompt=None, config=TrainingConfig())


def test_a_chat_template_that_cuts_the_answer_is_refused(tokenizer: Any):
    class Cutting:
        chat_template = "{{ cut }}"
        eos_token_id = 0

        def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> str:
            return "".join(message["content"][:5] for message in messages)

    cutting: Any = Cutting()
    rows = [Row("why?", ("a long answer",))]
    with pytest.raises(UserError, match="chat template cuts or changes the answer"):
        tokenize(rows, cutting, system_prompt=None, config=TrainingConfig())


def test_a_pair_is_two_answers_behind_one_prompt(tokenizer: Any):
    config = TrainingConfig(method=Method.DPO)
    pair = Row("a?", ("good", "bad"))
    (example,) = tokenize([pair], tokenizer, system_prompt=None, config=config)
    chosen, rejected = example.sequences
    assert chosen.ids[: chosen.num_prompt] == rejected.ids[: rejected.num_prompt]
    assert tokenizer.decode(chosen.ids[chosen.num_prompt :]) == "good<|im_end|>"
    assert tokenizer.decode(rejected.ids[rejected.num_prompt :]) == "bad<|im_end|>"


def test_a_judged_answer_stands_beside_the_answer_of_another_row(tokenizer: Any):
    config = TrainingConfig(method=Method.KTO)
    rows = [Row(f"{name}?", (name,), name == "a") for name in "abc"]
    examples = tokenize(rows, tokenizer, system_prompt=None, config=config)
    assert [example.is_desirable for example in examples] == [True, False, False]
    for row, other, example in zip(rows, [rows[-1], *rows], examples, strict=False):
        own, mismatched = example.sequences
        assert own.ids[: own.num_prompt] == mismatched.ids[: mismatched.num_prompt]
        assert tokenizer.decode(own.ids[own.num_prompt :]) == f"{row.responses[0]}<|im_end|>"
        strange = tokenizer.decode(mismatched.ids[mismatched.num_prompt :])
        assert strange == f"{other.responses[0]}<|im_end|>"


@settings(max_examples=40)
@given(TEXTS, st.integers(8, 40))
def test_a_text_is_cut_into_pieces_that_together_are_the_text(
    tokenizer: Any, text: str, max_length: int
):
    config = TrainingConfig(
        method=Method.PRETRAINING, texts_file="texts.ndjson", max_length=max_length
    )
    pieces = tokenize([Row("", (text,))], tokenizer, system_prompt="ignored", config=config)
    ids = [token for piece in pieces for token in piece.sequences[0].ids]
    whole = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    assert ids == whole[: len(ids)]
    assert len(whole) - len(ids) <= 1  # a last token alone predicts nothing
    assert all(2 <= len(piece.sequences[0]) <= max_length for piece in pieces)
    assert all(piece.num_answer == piece.num_tokens - 1 for piece in pieces)
