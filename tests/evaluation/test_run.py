import threading
import time

import polars as pl
import pytest

from llm_assets.errors import UserError
from llm_assets.evaluation.run import SAMPLE_SCHEMA, AskError, evaluate
from llm_assets.evaluation.scorer import exact_match


def samples(num: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"prompt": [f"p{i}" for i in range(num)], "target": [f"t{i}" for i in range(num)]}
    )


def test_answers_stand_beside_their_prompts_whatever_order_they_come_in() -> None:
    barrier = threading.Barrier(4, timeout=10)

    def ask(prompt: str) -> str:
        barrier.wait()
        return prompt.replace("p", "T") if prompt != "p3" else "wrong"

    told: list[tuple[int, int]] = []
    result = evaluate(
        samples(8),
        ask,
        scorer=exact_match,
        num_workers=4,
        progress=lambda done, total: told.append((done, total)),
    )
    assert result.schema == SAMPLE_SCHEMA
    assert result["answer"].to_list() == ["T0", "T1", "T2", "wrong", "T4", "T5", "T6", "T7"]
    assert result["score"].to_list() == [1, 1, 1, 0, 1, 1, 1, 1]
    assert told == [(i, 8) for i in range(1, 9)]


def test_a_failure_names_the_sample_and_never_becomes_a_zero() -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        if prompt == "p2":
            raise TimeoutError("no answer in 5 s")
        time.sleep(0.01)  # gives the evaluation the chance to stop
        return "t"

    with pytest.raises(AskError, match=r"sample 2: TimeoutError\('no answer in 5 s'\)"):
        evaluate(samples(200), ask, scorer=exact_match, num_workers=1)
    assert len(asked) < 200


def test_no_samples_are_refused() -> None:
    with pytest.raises(UserError, match="the holdout split is empty"):
        evaluate(samples(0), str, scorer=exact_match, num_workers=1)
