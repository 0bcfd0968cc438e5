"""The results of a check on each day of a run.

A run may be over many days, for which Dagster would keep one result. A check that yields a
`DayResults` gives each day its own; the output at its end says that the step is done.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import dagster as dg

from llm_assets.assets.partitions import partition_key, partitions_of
from llm_assets.feedback.validation.validate import DayReport
from llm_assets.storage import Partition

# An iterator of evaluations and an output, of which the type of Dagster's decorator knows nothing.
DayResults = Any


def days_by_application(context: dg.AssetCheckExecutionContext) -> dict[str, list[date]]:
    """Return the days that a run is over."""
    days: dict[str, list[date]] = {}
    for partition in partitions_of(context.partition_keys):
        days.setdefault(partition.application, []).append(partition.date)
    return days


def day_result(
    context: dg.AssetCheckExecutionContext,
    partition: Partition,
    *,
    has_passed: bool,
    severity: dg.AssetCheckSeverity,
    metadata: Mapping[str, dg.MetadataValue],
) -> dg.AssetCheckEvaluation:
    """Return the result of the running check on one day."""
    (check,) = context.selected_asset_check_keys
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=has_passed,
        severity=severity,
        metadata=metadata,
        partition=str(partition_key(partition)),
    )


def validity(
    context: dg.AssetCheckExecutionContext, application: str, report: DayReport
) -> dg.AssetCheckEvaluation:
    """Return what came of a validation: every rule, and the first rows that break one."""
    violations, usual = report.violations, report.usual
    metadata: dict[str, dg.MetadataValue] = {
        "num_rows": dg.MetadataValue.int(report.num_rows),
        "num_weeks_before": dg.MetadataValue.int(usual.num_weeks),
        "rules": _table(
            {
                "rule": outcome.rule.name,
                "claim": outcome.rule.claim,
                "passed": outcome.has_passed,
                "num_broken": outcome.num_broken,
                "n": outcome.num_rows,
            }
            for outcome in report.outcomes
        ),
    }
    if not math.isnan(usual.median):
        metadata["usual_num_rows"] = dg.MetadataValue.text(
            f"{usual.low:.0f} to {usual.high:.0f}; median {usual.median:g} of "
            f"{usual.num_weeks} weeks"
        )
    if violations:
        metadata["offending_rows"] = _table(
            {"rule": outcome.rule.name, "id": offender.id or "", "value": str(offender.value)}
            for outcome in violations
            for offender in outcome.offenders
        )
    is_error = any(outcome.rule.is_error for outcome in violations)
    return day_result(
        context,
        Partition(application=application, date=report.day),
        has_passed=not violations,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )


def _table(rows: Iterable[dict[str, str | int | bool]]) -> dg.MetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows])
