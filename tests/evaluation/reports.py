"""Reports for tests, made of which samples each model got right."""

from collections.abc import Sequence

import polars as pl

from llm_assets.evaluation.report import EvalReport, build_report
from llm_assets.evaluation.run import SAMPLE_SCHEMA


def scored(targets: Sequence[str], correct: Sequence[bool]) -> pl.DataFrame:
    """Return what `evaluate` returns."""
    columns = {
        "prompt": [f"prompt {i}" for i in range(len(targets))],
        "target": list(targets),
        "answer": [t if ok else "wrong" for t, ok in zip(targets, correct, strict=True)],
        "score": [float(ok) for ok in correct],
    }
    return pl.DataFrame(columns, schema=SAMPLE_SCHEMA)


def a_report(
    targets: Sequence[str],
    candidate: Sequence[bool],
    champion: Sequence[bool],
    *,
    training_targets: Sequence[str] = ("money",),
) -> EvalReport:
    """Return the report of helpdesk-v0002 against helpdesk-v0001."""
    return build_report(
        scored(targets, candidate),
        scored(targets, champion),
        model_version="helpdesk-v0002",
        champion_version="helpdesk-v0001",
        training_targets=training_targets,
        dataset_version="helpdesk-v0002",
        dataset_sha256="ab" * 32,
        seconds=1.5,
    )
