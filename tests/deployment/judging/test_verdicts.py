import math

from llm_assets.deployment.judging.verdicts import Outcome, Tally, Verdict, tally


def test_verdicts_are_counted_and_their_scores_averaged() -> None:
    outcomes = [Outcome.CHALLENGER] * 3 + [Outcome.CHAMPION] + [Outcome.TIE] * 4
    verdicts = [
        Verdict(request_id=f"r{n}", outcome=outcome, by="exact_match", reason="")
        for n, outcome in enumerate(outcomes)
    ]
    counted = tally(verdicts)
    assert counted == Tally(num_wins=3, num_losses=1, num_ties=4)
    assert counted.mean_score == sum(verdict.score for verdict in verdicts) / counted.n == 0.625


def test_without_a_verdict_the_mean_is_undefined() -> None:
    assert math.isnan(tally([]).mean_score)
