import pytest

from llm_assets.deployment.judging.by_scorer import judge_by_scorer
from llm_assets.deployment.judging.pairs import Pair
from llm_assets.deployment.judging.verdicts import Verdict
from tests.deployment.judging.pairs import a_pair


def is_same(answer: str, target: str) -> bool:
    return answer.lower() == target.lower()


def judged(pair: Pair, wanted: dict[str, str]) -> Verdict | None:
    return judge_by_scorer(pair, scorer=is_same, scorer_name="is_same", wanted=wanted)


@pytest.mark.parametrize(
    ("champion", "challenger", "outcome"),
    [
        ("trivia", "Sports", "challenger"),
        ("Sports", "trivia", "champion"),
        ("sports", "SPORTS", "tie"),
        ("trivia", "movies", "tie"),
    ],
)
def test_the_better_answer_is_the_one_that_users_wanted(
    champion: str, challenger: str, outcome: str
) -> None:
    pair = a_pair(
        prompt="Do you like TENNIS?", champion_answer=champion, challenger_answer=challenger
    )
    verdict = judged(pair, {"do you like tennis": "sports"})
    assert verdict is not None
    assert (verdict.outcome, verdict.by, verdict.request_id) == (outcome, "is_same", "r1")


def test_without_a_wanted_answer_the_same_answers_are_a_tie() -> None:
    verdict = judged(a_pair(champion_answer="sports", challenger_answer="Sports"), {})
    assert verdict is not None
    assert verdict.outcome == "tie"


def test_without_a_wanted_answer_others_are_not_judged() -> None:
    assert judged(a_pair(), {"another prompt": "sports"}) is None
