"""Whether a candidate is better than the champion it would replace.

Belongs here: the asset of the group `evaluation` and the gate. Scores, intervals, and the gate's
rules are in `llm_assets.evaluation`.
"""

import time

import dagster as dg
import httpx
import polars as pl

from llm_assets.assets.partitions import model_versions
from llm_assets.assets.pictures import picture
from llm_assets.assets.training import finetuned_checkpoint
from llm_assets.curation.store import DatasetStore
from llm_assets.errors import UserError
from llm_assets.evaluation.gate import gate
from llm_assets.evaluation.plot import accuracy_png
from llm_assets.evaluation.report import SAMPLES, EvalReport, build_report
from llm_assets.evaluation.run import evaluate
from llm_assets.evaluation.scorer import SCORERS
from llm_assets.installation import Installation
from llm_assets.manifest import application_of
from llm_assets.serving.temporary import serve


@dg.asset(
    group_name="evaluation",
    partitions_def=model_versions,
    deps=[finetuned_checkpoint],
    kinds={"polars", "parquet"},
    owners=["team:llm-platform"],
)
def eval_report(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    """Candidate and champion on the holdout, each served as it would be in production."""
    version, start = context.partition_key, time.monotonic()
    champion = installation.registry.champion(application_of(version))
    if champion is None:
        raise UserError(f"{version}: there is no champion to compare with")
    dataset = DatasetStore(installation.lance).read(version)
    holdout = dataset.split("holdout").select("prompt", target="response")
    answers = {name: _ask_all(context, installation, name, holdout) for name in (version, champion)}
    report = build_report(
        answers[version],
        answers[champion],
        model_version=version,
        champion_version=champion,
        training_targets=dataset.split("train")["response"].to_list(),
        dataset_version=version,
        dataset_sha256=dataset.sha256,
        seconds=time.monotonic() - start,
    )
    folder = installation.report(version)
    report.write(folder)
    samples = pl.concat(
        [frame.with_columns(model_version=pl.lit(name)) for name, frame in answers.items()]
    )
    samples.write_parquet(folder / SAMPLES)
    return dg.MaterializeResult(
        metadata={
            "n": report.n,
            "accuracy": report.candidate.accuracy,
            "macro_accuracy": report.candidate.macro_accuracy,
            "champion": champion,
            "champion_accuracy": report.champion.accuracy,
            "difference": report.difference,
            "difference_interval": f"[{report.difference_low:+.3f}, {report.difference_high:+.3f}]",
            "majority_rate": report.majority_rate,
            "accuracy_by_target": picture(accuracy_png(report), alt="accuracy by target"),
            "path": dg.MetadataValue.path(folder),
        }
    )


@dg.asset_check(asset=eval_report, blocking=True, partitions_def=model_versions)
def eval_report_beats_champion(
    context: dg.AssetCheckExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.AssetCheckResult:
    """The candidate is better than the champion and than any trivial guess, by its intervals."""
    version = context.partition_key
    report = EvalReport.read(installation.report(version))
    config = installation.application(application_of(version)).evaluation
    verdict = gate(report, config=config)
    return dg.AssetCheckResult(
        passed=verdict.passed,
        metadata={"reasons": dg.MetadataValue.md("\n".join(f"- {r}" for r in verdict.reasons))},
        description=verdict.reasons[0],
    )


def _ask_all(
    context: dg.AssetExecutionContext,
    installation: Installation,
    version: str,
    samples: pl.DataFrame,
) -> pl.DataFrame:
    """Serve a model version for as long as it takes to ask it every sample."""
    application = installation.application(application_of(version))
    config = application.evaluation
    with (
        serve(installation.model_server_spec(version)) as base_url,
        httpx.Client(base_url=base_url, timeout=120) as client,
    ):

        def ask(prompt: str) -> str:
            messages = [{"role": "user", "content": prompt}]
            body = {
                "model": application.name,
                "messages": messages,
                "max_tokens": config.max_tokens,
            }
            response = client.post("/v1/chat/completions", json=body).raise_for_status()
            return response.json()["choices"][0]["message"]["content"]

        context.log.info(f"asking {version} {samples.height} questions")
        return evaluate(samples, ask, scorer=SCORERS[config.scorer], num_workers=config.num_workers)
