"""How content the users of one day were, as far as they said so, however late they said it."""

import polars as pl

from llm_assets.drift.confidence import Calibration, estimate_accuracy
from llm_assets.drift.detectors.calibration import Undefined
from llm_assets.intervals import wilson
from llm_assets.records import FALLBACK_VARIANT

QUALITY_SCHEMA = pl.Schema(
    {
        "metric": pl.String,
        "value": pl.Float64,
        "interval_low": pl.Float64,
        "interval_high": pl.Float64,
        "num_events": pl.Int64,
        "n": pl.Int64,
        "reason": pl.String,
    }
)

_CONTENT_RATING = 4


def quality_scores(
    interactions: pl.DataFrame,
    feedback: pl.DataFrame,
    *,
    calibration: Calibration | Undefined | None = None,
) -> pl.DataFrame:
    """Return one row a rate for the interactions of a day, each with n and a 95 % interval.

    `feedback` is joined; it may hold everything known, what speaks of other interactions is passed
    over. Feedback on a session as a whole counts for the interaction that it was joined to, and
    scores, which judges give and not users, nowhere. Failed interactions count in the error rate
    and the fallback rate only.

    - `satisfaction_rate`: of the answers with a thumb, rating or correction, those whose latest
      such signal is a thumb up or a rating of 4 or 5. A correction says the answer was wrong.
    - `correction_rate`, `feedback_rate`: of all answers, those with a correction, any feedback.
    - `error_rate`: of all interactions, those that ended with a status of 400 or more.
    - `fallback_rate`: of all interactions, those that another model had to answer.
    - `estimated_accuracy`: the satisfaction rate that the answers of `confident_version` would
      have if all of them were judged, estimated from their confidences alone (see `confidence`);
      `calibration` is of `calibration_of`. It is no count, so `num_events` is null.

    A rate of nothing is nan, and so is an estimate that nothing supports; `reason` says why.
    """
    answered = _answered(interactions)
    about = _about(answered, feedback)
    corrected = about.filter(pl.col("kind") == "correction")
    verdicts = _latest_verdicts(about)
    num_answered = answered.height
    num_failed = interactions.height - num_answered
    num_fallen_back = int((interactions["variant"] == FALLBACK_VARIANT).sum())
    rows = [
        _rate("satisfaction_rate", int(verdicts["is_content"].sum()), verdicts.height),
        _rate("correction_rate", corrected["request_id"].n_unique(), num_answered),
        _rate("error_rate", num_failed, interactions.height),
        _rate("feedback_rate", about["request_id"].n_unique(), num_answered),
        _rate("fallback_rate", num_fallen_back, interactions.height),
        _estimated_accuracy(answered, calibration),
    ]
    return pl.DataFrame(rows, schema=QUALITY_SCHEMA, orient="row")


def confident_version(interactions: pl.DataFrame) -> str | None:
    """Return the model version that gave most of a day's answers with a confidence, if any has."""
    versions = _with_confidence(_answered(interactions))["model_version"]
    return None if versions.is_empty() else str(versions.mode().sort()[0])


def calibration_of(
    model_version: str, interactions: pl.DataFrame, feedback: pl.DataFrame
) -> Calibration | Undefined:
    """Return how right a version's answers of some confidence were, as users judged them.

    `interactions` are those of earlier days, `feedback` is joined. Undefined where too few of them
    were judged.
    """
    answers = _with_confidence(_answered(interactions))
    answers = answers.filter(pl.col("model_version") == model_version)
    # In the order of their ids: rates must not depend on how rows came.
    judged = answers.join(_latest_verdicts(_about(answers, feedback)), on="request_id").sort(
        "request_id"
    )
    return Calibration.of(judged["confidence"].to_numpy(), judged["is_content"].to_numpy())


def _answered(interactions: pl.DataFrame) -> pl.DataFrame:
    return interactions.filter(pl.col("status") < 400)


def _with_confidence(answered: pl.DataFrame) -> pl.DataFrame:
    return answered.filter(pl.col("confidence").is_not_null())


def _about(answered: pl.DataFrame, feedback: pl.DataFrame) -> pl.DataFrame:
    given = feedback.filter(pl.col("kind") != "score")
    return given.join(answered.select("request_id"), on="request_id", how="semi")


def _latest_verdicts(feedback: pl.DataFrame) -> pl.DataFrame:
    kind, value = pl.col("kind"), pl.col("value")
    return (
        feedback.filter(kind.is_in(["thumb", "rating", "correction"]))
        # A correction often comes with its thumb down in the same moment: it decides then.
        .sort("time", kind == "correction", "feedback_id")
        .unique("request_id", keep="last", maintain_order=True)
        .select(
            "request_id",
            is_content=((kind == "thumb") & (value > 0))
            | ((kind == "rating") & (value >= _CONTENT_RATING)),
        )
    )


_Row = tuple[str, float, float, float, int | None, int, str | None]


def _rate(metric: str, num_events: int, n: int) -> _Row:
    value = num_events / n if n else float("nan")
    low, high = wilson(num_events, n)
    return (metric, value, low, high, num_events, n, None if n else "n is 0")


def _estimated_accuracy(
    answered: pl.DataFrame, calibration: Calibration | Undefined | None
) -> _Row:
    answers, version = _with_confidence(answered), confident_version(answered)
    if version is not None:
        answers = answers.filter(pl.col("model_version") == version)
    estimate = calibration or Undefined("0 earlier days to calibrate on")
    if version is None:
        estimate = Undefined("0 answers with a confidence")
    if isinstance(estimate, Calibration):
        estimate = estimate_accuracy(answers["confidence"].to_numpy(), estimate)
    if isinstance(estimate, Undefined):
        nan = float("nan")
        return ("estimated_accuracy", nan, nan, nan, None, answers.height, estimate.reason)
    low, high = estimate.interval
    return ("estimated_accuracy", estimate.value, low, high, None, estimate.n, None)
