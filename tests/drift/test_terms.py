import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.drift.terms import MIN_USERS, Usage, shared_words, typical_terms, words

OTHERS = [f"please tell me about the {word}" for word in ("cat", "dog", "sun", "sea") * 50]


def terms_of(prompts: Sequence[str], users: Sequence[str] | None = None) -> list[str]:
    each = [f"user {row}" for row in range(len(prompts))]
    return typical_terms(prompts, users or each, Usage.of([*OTHERS, *prompts]))


def test_the_terms_tell_prompts_from_the_others() -> None:
    prompts = [f"please tell me about the refund of order {row}" for row in range(20)]
    assert set(terms_of(prompts)) == {"refund", "order", "of"}


@pytest.mark.parametrize(("num_users", "expected"), [(MIN_USERS - 1, []), (MIN_USERS, ["refund"])])
def test_a_term_takes_five_users(num_users: int, expected: list[str]) -> None:
    users = [f"user {row % num_users}" for row in range(60)]
    assert terms_of(["refund"] * 60, users) == expected


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["refund", "parcel", "jane", "smith"]), max_size=4),
            st.integers(0, 8),
        ),
        max_size=60,
    )
)
def test_no_term_is_left_of_any_one_user_alone(said: list[tuple[list[str], int]]) -> None:
    prompts = [" ".join(chosen) for chosen, _ in said]
    users = [f"user {user}" for _, user in said]
    for term in terms_of(prompts, users):
        writers = {user for prompt, user in zip(prompts, users, strict=True) if term in prompt}
        assert len(writers) >= MIN_USERS


def test_what_others_say_often_too_is_no_term() -> None:
    assert terms_of(["please tell me about the cat"] * 20) == []


def test_a_word_of_few_of_the_prompts_is_no_term() -> None:
    different = ["".join(pair) for pair in itertools.permutations("abcdefghijk", 2)]
    assert terms_of([*different[:90], *["zebra"] * 9]) == []
    assert terms_of([*different[:90], *["zebra"] * 11]) == ["zebra"]


def test_forms_of_one_word_are_one_term() -> None:
    assert terms_of(["meeting"] * 15 + ["meetings"] * 10) == ["meeting"]


def test_without_prompts_or_others_there_are_no_terms() -> None:
    assert terms_of([]) == []
    prompts = ["refund"] * 9
    assert typical_terms(prompts, [f"{row}" for row in range(9)], Usage.of(prompts)) == []


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", set()),
        ("🙂 12345 a!", set()),
        ("\uff32\uff25\uff26und refund", {"refund"}),
        ("退款订单", {"退款", "款订", "订单"}),
        ("api返回", {"api", "返回"}),
        ("x" * 5000, {"x" * 1000}),
        ("\ud800 lost", {"lost"}),
    ],
)
def test_words_of_odd_prompts(prompt: str, expected: set[str]) -> None:
    assert words(prompt) == expected


def test_what_one_prompt_says_is_not_shared() -> None:
    assert shared_words([]) == shared_words(["where is my parcel"]) == []
    assert shared_words(["my parcel", "a letter"]) == []
