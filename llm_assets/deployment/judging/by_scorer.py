"""A pair judged by the application's scorer and what users said the answer should have been."""

from collections.abc import Callable, Mapping

from llm_assets.deployment.judging.pairs import Pair
from llm_assets.deployment.judging.verdicts import Outcome, Verdict
from llm_assets.normalise import normalise

Scorer = Callable[[str, str], bool]


def judge_by_scorer(
    pair: Pair, *, scorer: Scorer, scorer_name: str, wanted: Mapping[str, str]
) -> Verdict | None:
    """Return who gave the wanted answer, or None where the pair cannot be judged.

    `wanted` has wanted answers by normalised prompt. Without one, answers that are the same to the
    scorer are a tie, and nothing can be said of others.
    """
    target = wanted.get(normalise(pair.prompt))
    if target is None:
        if not scorer(pair.challenger_answer, pair.champion_answer):
            return None
        outcome, reason = Outcome.TIE, "the answers are the same"
    else:
        outcome, reason = _RESULTS[
            scorer(pair.challenger_answer, target), scorer(pair.champion_answer, target)
        ]
    return Verdict(request_id=pair.request_id, outcome=outcome, by=scorer_name, reason=reason)


# By whether the challenger's and the champion's answer are the wanted one.
_RESULTS: Mapping[tuple[bool, bool], tuple[Outcome, str]] = {
    (True, False): (Outcome.CHALLENGER, "only the challenger gave the wanted answer"),
    (False, True): (Outcome.CHAMPION, "only the champion gave the wanted answer"),
    (True, True): (Outcome.TIE, "both gave the wanted answer"),
    (False, False): (Outcome.TIE, "neither gave the wanted answer"),
}
