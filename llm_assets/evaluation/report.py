"""The evaluation report of a model version: the candidate against the champion it would replace."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import polars as pl
import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.errors import UserError
from llm_assets.evaluation.paired import paired_difference
from llm_assets.intervals import wilson
from llm_assets.json_file import read_json, write_json
from llm_assets.normalise import normalise

REPORT = "eval_report.json"
SAMPLES = "samples.parquet"
_CONFIG = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class ModelScore:
    """One model's accuracy with its 95 % Wilson interval, and its mean accuracy over targets."""

    model_version: str
    accuracy: float
    interval_low: float
    interval_high: float
    macro_accuracy: float


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class TargetScore:
    """How many of the samples with one target each model got right."""

    target: str
    n: int
    num_correct_candidate: int
    num_correct_champion: int


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class EvalReport:
    """Both models on the same `n` samples; `difference` is the candidate's less the champion's.

    `majority_rate` is the accuracy of always naming `majority_target`, the most frequent target
    of the training rows: what can be had without reading the prompt.
    """

    candidate: ModelScore
    champion: ModelScore
    dataset_version: str
    dataset_sha256: str
    n: int
    difference: float
    difference_low: float
    difference_high: float
    majority_target: str
    majority_rate: float
    targets: list[TargetScore]
    seconds: float

    @property
    def model_version(self) -> str:
        """The candidate's model version, which the report belongs to."""
        return self.candidate.model_version

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the report that lies in a folder.

        Raises:
            UserError: there is none, or it is damaged; the message names the file.
        """
        path = folder / REPORT
        return read_json(path, cls, missing="no evaluation report")

    def write(self, folder: Path) -> None:
        """Write the report into a folder, atomically."""
        write_json(folder / REPORT, self)


def build_report(
    candidate: pl.DataFrame,
    champion: pl.DataFrame,
    *,
    model_version: str,
    champion_version: str,
    training_targets: Sequence[str],
    dataset_version: str,
    dataset_sha256: str,
    seconds: float,
) -> EvalReport:
    """Compare what `evaluate` returned for both models on the same samples.

    Raises:
        UserError: there are no samples, or the two did not get the same ones.
    """
    key = ["prompt", "target"]
    if candidate.is_empty() or not candidate.select(key).equals(champion.select(key)):
        raise UserError(
            f"evaluation of {model_version}: needs the same samples as {champion_version}, "
            f"got {candidate.height} and {champion.height} that are not the same"
        )
    if not training_targets:
        raise UserError(f"evaluation of {model_version}: dataset {dataset_version} trains nothing")
    first, second = _is_correct(candidate), _is_correct(champion)
    value, interval = paired_difference(first, second)
    # The label that is first in the alphabet wins a tie, so that a report can be made again.
    counts = Counter(normalise(target) for target in training_targets)
    majority = min(counts, key=lambda target: (-counts[target], target))
    targets = candidate["target"].to_list()
    num_majority = sum(normalise(target) == majority for target in targets)
    return EvalReport(
        candidate=_score(model_version, candidate),
        champion=_score(champion_version, champion),
        dataset_version=dataset_version,
        dataset_sha256=dataset_sha256,
        n=len(first),
        difference=value,
        difference_low=interval.low,
        difference_high=interval.high,
        majority_target=majority,
        majority_rate=num_majority / len(first),
        targets=_target_scores(targets, first, second),
        seconds=seconds,
    )


def _is_correct(samples: pl.DataFrame) -> list[bool]:
    return (samples["score"] > 0.5).to_list()


def _score(model_version: str, samples: pl.DataFrame) -> ModelScore:
    correct = _is_correct(samples)
    low, high = wilson(sum(correct), len(correct))
    per_target = samples.group_by("target").agg(pl.col("score").mean()).sort("target")
    return ModelScore(
        model_version=model_version,
        accuracy=sum(correct) / len(correct),
        interval_low=low,
        interval_high=high,
        macro_accuracy=sum(per_target["score"].to_list()) / per_target.height,
    )


def _target_scores(
    targets: Sequence[str], candidate: Sequence[bool], champion: Sequence[bool]
) -> list[TargetScore]:
    frame = pl.DataFrame({"target": targets, "candidate": candidate, "champion": champion})
    sums = frame.group_by("target").agg(
        n=pl.len(),
        num_correct_candidate=pl.col("candidate").sum(),
        num_correct_champion=pl.col("champion").sum(),
    )
    rows = sums.sort("n", "target", descending=[True, False]).to_dicts()
    return [TargetScore(**row) for row in rows]
