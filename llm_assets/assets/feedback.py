"""What users asked and how they reacted, a day at a time: the collector's log as tables.

Belongs here: the assets of the group `feedback` and their checks. How the log is read and what a
row holds is in `llm_assets.feedback`.
"""

from collections.abc import Callable, Sequence

import dagster as dg
import polars as pl

from llm_assets.assets.partitions import days_of_applications, partition_key, partitions_of
from llm_assets.feedback.log import Log, Record
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.installation import Installation
from llm_assets.storage import Table


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
        context,
        installation.interaction_log,
        installation.table("interaction_logs"),
        interaction_table,
    )


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
    """Every explicit signal of a user, once, on the day it was given."""
    return _materialize_log(
        context, installation.feedback_log, installation.table("feedback_logs"), feedback_table
    )


def _materialize_log(
    context: dg.AssetExecutionContext,
    log: Log,
    table: Table,
    tabulate: Callable[[Sequence[Record]], pl.DataFrame],
) -> dg.MaterializeResult:
    for partition in partitions_of(context.partition_keys):
        records, bad_lines = log.read(partition)
        for bad_line in bad_lines:
            context.log.warning(str(bad_line))
        if not records and table.generation(partition) is None:
            # A day without traffic gets no file, so it is no day of any reference either.
            context.add_asset_metadata(
                {"dagster/partition_row_count": 0}, partition_key=partition_key(partition)
            )
            continue
        inputs = [str(segment.relative_to(log.root)) for segment in log.segments(partition)]
        generation = table.write(partition, tabulate(records), inputs=inputs)
        context.add_asset_metadata(
            {
                "dagster/partition_row_count": generation.num_rows,
                "num_bad_lines": len(bad_lines),
                "sha256": generation.sha256,
            },
            partition_key=partition_key(partition),
        )
    return dg.MaterializeResult()
