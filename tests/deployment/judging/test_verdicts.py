from llm_assets.deployment.judging.verdicts import Outcome, Verdict


def test_the_mean_of_the_scores_says_who_is_better() -> None:
    outcomes = [Outcome.CHALLENGER] * 3 + [Outcome.CHAMPION] + [Outcome.TIE] * 4
    verdicts = [
        Verdict(request_id=f"r{n}", outcome=outcome, by="exact_match", reason="")
        for n, outcome in enumerate(outcomes)
    ]
    assert sum(verdict.score for verdict in verdicts) / len(verdicts) == 0.625
