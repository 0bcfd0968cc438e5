"""What a help desk needs before a cycle: three days of corrected questions, and its partitions."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from llm_assets.assets.partitions import applications, model_versions, partition_key
from llm_assets.definitions import defs
from llm_assets.feedback.log import LogWriter
from llm_assets.installation import Installation
from llm_assets.storage import Partition
from tests.installations import DESKS
from tests.records import a_correction, an_interaction

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
DAYS = [NOON - timedelta(days=number) for number in (2, 1, 0)]
SUBJECTS = [
    "interest rates",
    "tennis balls",
    "distant galaxies",
    "cheap loans",
    "marathon training",
    "cell biology",
    "bank accounts",
    "football rules",
    "black holes",
    "tax returns",
    "chess openings",
    "volcanic rocks",
]
PHRASES = ("what should I know about {}?", "who can tell me more of {}?")


def write_logs(installation: Installation) -> None:
    """Ask every subject in two ways on three days; every answer is corrected."""
    interactions, corrections = [], []
    for number in range(len(SUBJECTS) * len(PHRASES) * len(DAYS)):
        day, number_in_day = divmod(number, len(SUBJECTS) * len(PHRASES))
        phrase, subject = divmod(number_in_day, len(SUBJECTS))
        time = DAYS[day] + timedelta(minutes=number_in_day)
        prompt = PHRASES[phrase].format(SUBJECTS[subject]) + " please" * day
        request_id, desk = f"r{number}", DESKS[subject % len(DESKS)]
        interactions.append(an_interaction(request_id, time=time, prompt=prompt, response="?"))
        corrections.append(a_correction(f"f{number}", request_id, desk, time=time))
    LogWriter(installation.interaction_log, lambda record: record).append(interactions)
    LogWriter(installation.feedback_log, lambda record: record).append(corrections)


def add_partitions(instance: dg.DagsterInstance, *versions: str) -> None:
    """Add the help desk and some of its model versions."""
    assert applications.name is not None
    assert model_versions.name is not None
    instance.add_dynamic_partitions(applications.name, ["helpdesk"])
    instance.add_dynamic_partitions(model_versions.name, versions)


def execute(
    instance: dg.DagsterInstance,
    job: str,
    *,
    days: bool = False,
    version: str | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a job over all days, or for a version; only a cycle may fail."""
    ends = [
        str(partition_key(Partition(application="helpdesk", date=day.date())))
        for day in (DAYS[0], DAYS[-1])
    ]
    names = [f"dagster/asset_partition_range_{end}" for end in ("start", "end")]
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=version,
        tags=dict(zip(names, ends, strict=True)) if days else None,
        raise_on_error=job != "improvement_cycle",
    )
