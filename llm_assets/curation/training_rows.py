"""What a training of each method gets to see of a dataset."""

import polars as pl

from llm_assets.curation.dataset import Dataset
from llm_assets.curation.judged import pairs
from llm_assets.errors import UserError


def training_rows(dataset: Dataset, method: str) -> pl.DataFrame:
    """Return the rows of a dataset that a method learns from: never any of the holdout.

    `sft` learns prompt and response, `kto` also is_desirable, `dpo` and `orpo` prompt, chosen and
    rejected; each row has its split, and the request_ids and feedback_ids that it is erased by.

    Raises:
        UserError: the method is not known, or does not learn from feedback.
    """
    match method:
        case "sft":
            return dataset.learnt
        case "kto":
            return dataset.learnt_judged
        case "dpo" | "orpo":
            return pairs(dataset.learnt_judged)
        case "pretraining":
            raise UserError(
                "training.method pretraining: its texts do not come from feedback but from "
                "training.texts_file"
            )
        case _:
            raise UserError(
                f"training.method must be one of sft, kto, dpo, orpo, pretraining, got {method!r}"
            )
