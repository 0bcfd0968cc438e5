"""Months of human conversations as logs: real drift over time, seen in the Dagster UI.

The package `chitchat-dataset` (MIT) holds 7,168 conversations of people, from April to November
2018, with the time of every message and ratings of most conversations. They are shifted so that
the last one happened today, because the UI plots the newest partitions.
"""

import contextlib
import importlib.resources
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from llm_assets.assets.partitions import applications, model_versions, partition_key
from llm_assets.bootstrap import prepare_dagster_home, register_base_models
from llm_assets.demo.platform import running_platform
from llm_assets.feedback.log import LogWriter
from llm_assets.installation import Installation
from llm_assets.manifest import version_name
from llm_assets.records import Feedback, FeedbackKind, Interaction
from llm_assets.settings import Settings
from llm_assets.storage import Partition

APPLICATION = "chitchat"
# Otherwise Dagster tells of every event on the console; they are in its UI.
_QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
_FIRST_DAY, _LAST_DAY = (f"dagster/asset_partition_range_{end}" for end in ("start", "end"))


def run_demo_drift(settings: Settings, *, as_json: bool) -> int:
    """Ingest the conversations, score every day, and print which months drifted.

    What was ingested before stays as it is: the days are shifted only once. On a terminal the
    platform is started afterwards and stays on until Ctrl-C.
    """
    installation = Installation(settings)
    prepare_dagster_home(settings)
    register_base_models(installation)
    days = [p.date for p in installation.interaction_log.partitions() if _is_ours(p)]
    if not days:
        _say("ingesting the conversations")
        _ingest(installation)
        days = [p.date for p in installation.interaction_log.partitions() if _is_ours(p)]
    _score(installation, Partition(application=APPLICATION, date=min(days)), max(days))
    months = _months(installation)
    print(json.dumps(months) if as_json else _table(months))
    if sys.stdout.isatty():
        with running_platform(settings) as platform:
            print(f"\nThe Dagster UI is at {settings.ui_url}, asset drift_scores. Ctrl-C stops it.")
            with contextlib.suppress(KeyboardInterrupt):
                while platform.is_running:
                    time.sleep(0.5)
    else:
        print(f"`make up` shows the days in the Dagster UI at {settings.ui_url}.", file=sys.stderr)
    return 0


def _is_ours(partition: Partition) -> bool:
    return partition.application == APPLICATION


def _ingest(installation: Installation) -> None:
    source = importlib.resources.files("chitchat_dataset") / "dataset.json"
    conversations = json.loads(source.read_text(encoding="utf-8"))
    records = list(conversation_records(conversations, end=datetime.now(UTC)))
    interactions = [record for record in records if isinstance(record, Interaction)]
    scrub = installation.scrubbers
    LogWriter(installation.interaction_log, scrub).append(interactions)
    ratings = [record for record in records if isinstance(record, Feedback)]
    LogWriter(installation.feedback_log, scrub).append(ratings)
    _say(f"{len(interactions)} turns and {len(ratings)} ratings")


def _score(installation: Installation, first: Partition, last_day: Any) -> None:
    """Work through all days: tables and embeddings, then the baseline, then the scores."""
    from llm_assets.definitions import defs

    last = Partition(application=APPLICATION, date=last_day)
    whole = {_FIRST_DAY: str(partition_key(first)), _LAST_DAY: str(partition_key(last))}
    version = version_name(APPLICATION, 1)
    with dg.DagsterInstance.get() as instance:
        assert applications.name is not None
        assert model_versions.name is not None
        instance.add_dynamic_partitions(applications.name, [APPLICATION])
        instance.add_dynamic_partitions(model_versions.name, [version])
        for name, key, tags in (
            ("daily_logs", None, whole),
            ("first_baseline", version, None),
            ("rescore_drift", None, whole),
        ):
            start = time.monotonic()
            _say(f"{name}: {first.date} to {last.date}")
            job = defs.resolve_job_def(name)
            job.execute_in_process(
                instance=instance, partition_key=key, tags=tags, run_config=_QUIET
            )
            _say(f"{name}: {time.monotonic() - start:.0f} s")


def _months(installation: Installation) -> dict[str, dict[str, int]]:
    """Return for each month how many days were scored and how many of them drifted."""
    table = installation.table("drift_scores")
    months: dict[str, Counter[str]] = {}
    for day in table.dates(APPLICATION):
        scores = table.read(Partition(application=APPLICATION, date=day))
        if scores is None:
            continue
        counts = months.setdefault(f"{day:%Y-%m}", Counter(scored=0, drifted=0, undefined=0))
        if scores["score"].is_nan().all():
            counts["undefined"] += 1
        else:
            counts["scored"] += 1
            counts["drifted"] += int(bool(scores["is_drifted"].any()))
    return {month: dict(counts) for month, counts in months.items()}


def _table(months: dict[str, dict[str, int]]) -> str:
    lines = [f"{'month':<10}{'days scored':>12}{'drifted':>10}{'undefined':>11}"]
    for month, counts in months.items():
        lines.append(
            f"{month:<10}{counts['scored']:>12}{counts['drifted']:>10}{counts['undefined']:>11}"
        )
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def conversation_records(
    conversations: dict[str, Any], *, end: datetime
) -> Iterator[Interaction | Feedback]:
    """Return the conversations as logs: the exchange after the greetings, and the rating.

    A turn is what one person wrote before the other did. The first exchange of nearly every
    conversation is a greeting, so the second one is kept; a minute embeds them all. The mean of a
    conversation's ratings, 1 to 10 by the person who held it, becomes a rating of 1 to 5.
    """
    newest = max(_time(turn[0]) for c in conversations.values() for turn in c["messages"] if turn)
    shift = end - newest
    for conversation_id, conversation in conversations.items():
        turns = [turn for turn in conversation["messages"] if turn]
        if len(turns) < 4:
            continue
        asked, answered = turns[2:4]
        exchange = Interaction(
            request_id=f"{conversation_id}-2",
            application=APPLICATION,
            time=_time(asked[0]) + shift,
            model_version=version_name(APPLICATION, 1),
            variant="external",
            prompt=_text(asked),
            response=_text(answered),
            session_id=conversation_id,
            user_id=asked[0]["sender"],
        )
        yield exchange
        ratings = list(conversation.get("ratings", {}).values())
        if ratings:
            yield Feedback(
                feedback_id=f"{conversation_id}-rating",
                request_id=exchange.request_id,
                application=APPLICATION,
                time=exchange.time + timedelta(minutes=1),
                kind=FeedbackKind.RATING,
                value=min(5.0, max(1.0, sum(ratings) / len(ratings) / 2)),
            )


def _time(message: dict[str, str]) -> datetime:
    return datetime.fromisoformat(message["timestamp"])


def _text(turn: list[dict[str, str]]) -> str:
    return " ".join(message["text"] for message in turn)
