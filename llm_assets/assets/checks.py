"""Holding an asset back whose inputs failed their checks, also in a run of its own.

A blocking check stops what comes after it in its own run only; a person who materializes the next
asset by hand would pass it by. So what spends money or reaches users asks again.
"""

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter

from llm_assets.errors import UserError


def require_passed(instance: dg.DagsterInstance, check: dg.AssetCheckKey, partition: str) -> None:
    """Refuse a partition whose check did not pass when it was last run, or never ran.

    Raises:
        UserError: it did not; the message names the check.
    """
    # No public method of Dagster's gives the history of one partition.
    (*_, last) = (
        None,
        *instance.event_log_storage.get_asset_check_execution_history(
            check, limit=1, partition_filter=PartitionKeyFilter(key=partition)
        ),
    )
    status = "never ran" if last is None else last.status.value.lower()
    if status != "succeeded":
        name = f"{check.asset_key.to_user_string()}.{check.name}"
        raise UserError(f"{partition}: the check {name} {status}: it must pass before this")
