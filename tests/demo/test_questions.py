from collections import Counter

import pytest

from llm_assets.demo.questions import DESKS, MAX_QUESTIONS_PER_DESK, Question, load_questions
from llm_assets.normalise import normalise


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return load_questions(seed=0)


def test_no_question_comes_twice(questions: list[Question]) -> None:
    texts = {question.text.casefold().rstrip("?!. ") for question in questions}
    assert len(texts) == len(questions) > 450


def test_few_questions_become_one_when_curated(questions: list[Question]) -> None:
    assert len({normalise(question.text) for question in questions}) > 0.98 * len(questions)


def test_every_answer_is_a_desk_and_no_desk_outweighs_the_others(questions: list[Question]) -> None:
    counts = Counter(question.desk for question in questions)
    assert set(counts) == set(DESKS)
    assert max(counts.values()) == MAX_QUESTIONS_PER_DESK
    assert min(counts.values()) >= 10


def test_a_question_is_of_a_usual_length_and_one_line(questions: list[Question]) -> None:
    assert all(8 <= len(question.text) <= 160 for question in questions)
    assert all(question.text == " ".join(question.text.split()) for question in questions)


def test_the_seed_alone_decides_the_order(questions: list[Question]) -> None:
    assert load_questions(seed=0) == questions
    assert load_questions(seed=1) != questions
