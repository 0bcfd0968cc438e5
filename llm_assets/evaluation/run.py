"""Asking a model every sample and scoring what it says."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

import polars as pl

from llm_assets.errors import UserError

SAMPLE_SCHEMA = pl.Schema(
    {"prompt": pl.String, "target": pl.String, "answer": pl.String, "score": pl.Float64}
)


class AskError(RuntimeError):
    """A model could not be asked: the evaluation ends, because no answer is not a wrong answer."""


def evaluate(
    samples: pl.DataFrame,
    ask: Callable[[str], str],
    *,
    scorer: Callable[[str, str], bool],
    num_workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Return the samples (prompt, target) with the answer and the score, 1 or 0, in their order.

    `ask` is called from `num_workers` threads at once; `progress` is told how many of how many
    samples are done.

    Raises:
        AskError: `ask` raised; the message gives the sample's number, never its text.
        UserError: there are no samples.
    """
    prompts, targets = samples["prompt"].to_list(), samples["target"].to_list()
    if not prompts:
        raise UserError("evaluation: there are no samples; the holdout split is empty")
    answers = [""] * len(prompts)
    with ThreadPoolExecutor(num_workers, thread_name_prefix="evaluate") as pool:
        futures = {pool.submit(ask, prompt): row for row, prompt in enumerate(prompts)}
        try:
            for num_done, future in enumerate(as_completed(futures), start=1):
                row = futures[future]
                error = future.exception()
                if error is not None:
                    raise AskError(f"sample {row}: {error!r}") from error
                answers[row] = future.result()
                if progress is not None:
                    progress(num_done, len(prompts))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    scores = [float(scorer(a, target)) for a, target in zip(answers, targets, strict=True)]
    columns = {"prompt": prompts, "target": targets, "answer": answers, "score": scores}
    return pl.DataFrame(columns, schema=SAMPLE_SCHEMA)
