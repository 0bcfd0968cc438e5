"""What users asked and how they reacted, a day at a time: the collector's log as tables.

Belongs here: the assets of the group `feedback` and their checks. How the log is read and what a
row holds is in `llm_assets.feedback`.
"""

from datetime import UTC, date, datetime

import dagster as dg

from llm_assets.assets.day_results import DayResults, day_result, days_by_application, validity
from llm_assets.assets.partitions import days_of_applications, partition_key, partitions_of
from llm_assets.feedback.log import Log
from llm_assets.feedback.orphans import orphans
from llm_assets.feedback.tables import read_table
from llm_assets.feedback.validation.validate import validate_feedback, validate_interactions
from llm_assets.installation import Installation
from llm_assets.storage import Partition, Table


@dg.asset(
    group_name="feedback",
    partitions_def=days_of_applications,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"polars", "parquet"},
    owners=["team:llm-platform"],
)
def interaction_logs(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    """Every request and its answer, once, as accepted by the collector or ingested."""
    return _materialize_log(
        context, installation.interaction_log, installation.table("interaction_logs")
    )


@dg.asset_check(asset=interaction_logs, partitions_def=days_of_applications)
def interaction_logs_are_valid(
    context: dg.AssetCheckExecutionContext, installation: dg.ResourceParam[Installation]
) -> DayResults:
    """The day's rows keep to their schema and ranges, and are as many and as fresh as usual."""
    table, now = installation.table("interaction_logs"), datetime.now(UTC)
    for application, days in days_by_application(context).items():
        reports = validate_interactions(
            ((day, table.read(Partition(application=application, date=day))) for day in days),
            num_rows=_num_rows(table, application),
            config=installation.application(application).feedback.validation,
            now=now,
        )
        for report in reports:
            yield validity(context, application, report)
    yield dg.Output(None)


@dg.asset(
    group_name="feedback",
    partitions_def=days_of_applications,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"polars", "parquet"},
    owners=["team:llm-platform"],
)
def feedback_logs(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    """Every signal of a user or a judge, once, on the day it was given."""
    return _materialize_log(context, installation.feedback_log, installation.table("feedback_logs"))


@dg.asset_check(
    asset=feedback_logs, additional_deps=[interaction_logs], partitions_def=days_of_applications
)
def feedback_logs_are_valid(
    context: dg.AssetCheckExecutionContext, installation: dg.ResourceParam[Installation]
) -> DayResults:
    """The day's rows keep to their schema and ranges, and speak of requests that are known."""
    table, now = installation.table("feedback_logs"), datetime.now(UTC)
    for application, days in days_by_application(context).items():
        reports = validate_feedback(
            ((day, table.read(Partition(application=application, date=day))) for day in days),
            known=installation.known_ids(application),
            num_rows=_num_rows(table, application),
            config=installation.application(application).feedback.validation,
            now=now,
        )
        for report in reports:
            yield validity(context, application, report)
    yield dg.Output(None)


@dg.asset_check(
    asset=feedback_logs, additional_deps=[interaction_logs], partitions_def=days_of_applications
)
def feedback_logs_has_no_orphans(
    context: dg.AssetCheckExecutionContext, installation: dg.ResourceParam[Installation]
) -> DayResults:
    """No feedback of the day has waited too long for its request to arrive."""
    now = datetime.now(UTC)
    for application, days in days_by_application(context).items():
        known, config = installation.known_ids(application), installation.application(application)
        for day in days:
            given = installation.feedback_as_given(application, day, day)
            waiting = orphans(given, known, now=now, orphaned_after_days=0)
            after_days = config.feedback.orphaned_after_days
            orphaned = orphans(given, known, now=now, orphaned_after_days=after_days)
            yield day_result(
                context,
                Partition(application=application, date=day),
                has_passed=orphaned.is_empty(),
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "num_feedback": dg.MetadataValue.int(given.height),
                    "num_orphans": dg.MetadataValue.int(orphaned.height),
                    "num_waiting": dg.MetadataValue.int(waiting.height - orphaned.height),
                    "feedback_ids": dg.MetadataValue.json(
                        orphaned["feedback_id"].head(5).to_list()
                    ),
                },
            )
    yield dg.Output(None)


def _materialize_log(
    context: dg.AssetExecutionContext, log: Log, table: Table
) -> dg.MaterializeResult:
    for partition in partitions_of(context.partition_keys):
        rows, bad_lines = read_table(log, partition)
        for bad_line in bad_lines:
            context.log.warning(str(bad_line))
        if rows.is_empty() and table.generation(partition) is None:
            # A day without traffic gets no file, so it is no day of any reference either.
            context.add_asset_metadata(
                {"dagster/partition_row_count": 0}, partition_key=partition_key(partition)
            )
            continue
        inputs = [str(segment.relative_to(log.root)) for segment in log.segments(partition)]
        generation = table.write(partition, rows, inputs=inputs)
        context.add_asset_metadata(
            {
                "dagster/partition_row_count": generation.num_rows,
                "num_bad_lines": len(bad_lines),
                "sha256": generation.sha256,
            },
            partition_key=partition_key(partition),
        )
    return dg.MaterializeResult()


def _num_rows(table: Table, application: str) -> dict[date, int]:
    """Return how many rows the published days of an application have."""
    generations = {
        day: table.generation(Partition(application=application, date=day))
        for day in table.dates(application)
    }
    return {day: found.num_rows for day, found in generations.items() if found is not None}
