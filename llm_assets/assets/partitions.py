"""The partitions that the assets share, and the plain values behind their keys."""

from collections.abc import Iterable
from datetime import date

import dagster as dg

from llm_assets.records import EARLIEST
from llm_assets.storage import Partition

# Keys are added by the sensors: an application when its file appears, a model version when a
# cycle opens.
applications = dg.DynamicPartitionsDefinition(name="application")
model_versions = dg.DynamicPartitionsDefinition(name="model_version")

days_of_applications = dg.MultiPartitionsDefinition(
    {
        "application": applications,
        "date": dg.DailyPartitionsDefinition(start_date=EARLIEST.date().isoformat(), end_offset=1),
    }
)


def partition_key(partition: Partition) -> dg.MultiPartitionKey:
    """Return Dagster's key of a day of an application."""
    return dg.MultiPartitionKey(
        {"application": partition.application, "date": partition.date.isoformat()}
    )


def partitions_of(keys: Iterable[str]) -> list[Partition]:
    """Return the days of applications that a run was asked for, in order."""
    partitions = []
    for key in keys:
        application, day = key.split("|")
        partitions.append(Partition(application=application, date=date.fromisoformat(day)))
    return partitions
