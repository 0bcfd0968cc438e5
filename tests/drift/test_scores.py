import math

import numpy as np
import pytest

from llm_assets.drift.config import DriftConfig
from llm_assets.drift.scores import (
    DETECTORS,
    SCORE_SCHEMA,
    DriftScore,
    most_novel,
    score_table,
    score_window,
    undefined_scores,
)
from llm_assets.errors import UserError
from tests.drift.vectors import a_baseline, topic

CONFIG = DriftConfig(min_prompts=20)


def scores_of(current: np.ndarray, baseline: np.ndarray) -> list[DriftScore]:
    return score_window(
        current,
        a_baseline(baseline),
        embedder="hash",
        config=CONFIG,
        rng=np.random.default_rng(0),
    )


def vectors(num: int, centre: int = 0) -> np.ndarray:
    return topic(num, centre=centre, rng=np.random.default_rng(num))


def test_foreign_prompts_drift_in_both_detectors() -> None:
    scores = scores_of(vectors(40, centre=1), vectors(100))
    assert [score.detector for score in scores] == list(DETECTORS)
    for score in scores:
        assert score.is_drifted
        assert score.score > score.threshold
        assert score.interval_low <= score.score <= score.interval_high
        assert (score.n, score.num_baseline, score.reason) == (40, 100, None)


def test_prompts_of_the_same_kind_do_not_drift() -> None:
    assert not any(score.is_drifted for score in scores_of(vectors(40), vectors(100)))


def with_nan(num: int) -> np.ndarray:
    rows = vectors(num).copy()
    rows[3, 2] = np.nan
    return rows


@pytest.mark.parametrize(
    ("current", "baseline", "reason"),
    [
        (vectors(40)[:0], vectors(100), "no prompts on this day"),
        (vectors(1), vectors(100), "1 prompts, fewer than min_prompts 20"),
        (vectors(40), vectors(39), "the baseline (39 prompts) is smaller than the window"),
        (with_nan(40), vectors(100), "1 vectors of the window are not finite"),
        (vectors(40), with_nan(100), "1 vectors of the baseline are not finite"),
        (vectors(1).repeat(40, axis=0), vectors(100), "all 40 prompts of the window are the same"),
        (vectors(40), vectors(1).repeat(90, axis=0), "all 90 prompts of the baseline are"),
    ],
)
def test_an_undefined_score_is_nan_with_a_reason_and_never_an_alarm(
    current: np.ndarray, baseline: np.ndarray, reason: str
) -> None:
    scores = scores_of(current, baseline)
    assert len(scores) == len(DETECTORS)
    for score in scores:
        assert math.isnan(score.score)
        assert not score.is_drifted
        assert reason in (score.reason or "")


def test_vectors_of_another_embedder_are_refused() -> None:
    with pytest.raises(UserError, match="embedded by 'hash', cannot be compared with vectors"):
        score_window(
            vectors(40),
            a_baseline(vectors(100)),
            embedder="another",
            config=CONFIG,
            rng=np.random.default_rng(0),
        )


def test_scores_become_rows_of_one_schema_defined_or_not() -> None:
    defined = score_table(scores_of(vectors(40), vectors(100)), model_version="helpdesk-v0001")
    undefined = score_table(
        undefined_scores("this day belongs to the baseline", n=40, num_baseline=100),
        model_version="helpdesk-v0001",
    )
    assert defined.schema == undefined.schema == SCORE_SCHEMA
    assert undefined["reason"].unique().to_list() == ["this day belongs to the baseline"]


def test_the_most_novel_prompts_are_distinct_and_the_farthest_first() -> None:
    rows = np.concatenate([vectors(5), vectors(2, centre=1)[[0, 0, 1]]])
    prompts = ["a", "b", "c", "d", "e", "far", "far", "away"]
    found = most_novel(prompts, rows, a_baseline(vectors(100)), num_prompts=3)
    assert {prompt.prompt for prompt in found[:2]} == {"far", "away"}
    assert len(found) == 3
    assert found[0].distance >= found[1].distance >= found[2].distance


def test_an_empty_day_has_no_novel_prompts() -> None:
    assert most_novel([], vectors(40)[:0], a_baseline(vectors(100))) == []
