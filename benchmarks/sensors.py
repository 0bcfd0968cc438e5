"""Measures how long the sensors look at years of days in which nothing happens.

Every application has days of logs, feedback, drift scores and quality scores, made here. The first
tick has seen nothing yet; the next ones are what Dagster asks for every few seconds. The last line
is a sensor's tick when the application has had a thousand cycles.

    python -W ignore benchmarks/sensors.py [--full]
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl
import yaml

from llm_assets.bootstrap import register_base_models
from llm_assets.drift.baseline import Baseline, BaselineStore
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.installation import Installation
from llm_assets.records import EARLIEST, Feedback, FeedbackKind, Interaction
from llm_assets.sensors import cycle, deployment, logs
from llm_assets.settings import Settings
from llm_assets.storage import MANIFEST, Partition

SENSORS = (
    logs.new_logs_sensor,
    logs.first_baseline_sensor,
    cycle.manual_sensor,
    cycle.change_sensor,
    cycle.quality_sensor,
    cycle.drift_sensor,
    cycle.volume_sensor,
    deployment.deploy_sensor,
    deployment.rollout_sensor,
)
_NUM_TICKS = 5
_NUM_CYCLES = 1000
_NUM_RECORDS = 4


class Ticks(NamedTuple):
    """CPU and wall seconds of the first tick and of the next ones, and the size of the cursor."""

    first_cpu: float
    first_wall: float
    next_cpu: float
    next_wall: float
    cursor_bytes: int


def main() -> None:
    """Print a table for each number of applications."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=int, default=3500, help="partitions of every table")
    parser.add_argument("--full", action="store_true", help="that many for each of ten, too")
    options = parser.parse_args()
    # Nobody has so many days yet; the sensors pass over days from before there were chats.
    logs.EARLIEST = datetime.min.replace(tzinfo=UTC)
    cases = [(1, options.days), (10, options.days // 10)]
    for num_applications, num_days in cases + [(10, options.days)] * options.full:
        print(f"\n{num_applications} application(s) of {num_days} days each")
        print(f"{'sensor':<24}{'first CPU s':>12}{'wall':>7}{'next CPU s':>12}{'wall':>7}", end="")
        print(f"{'cursor bytes':>14}")
        for name, ticks in measure(num_applications, num_days):
            print(f"{name:<24}{ticks.first_cpu:>12.2f}{ticks.first_wall:>7.2f}", end="")
            print(f"{ticks.next_cpu:>12.3f}{ticks.next_wall:>7.3f}{ticks.cursor_bytes:>14}")


def measure(num_applications: int, num_days: int) -> Iterator[tuple[str, Ticks]]:
    """Yield the ticks of each sensor."""
    with tempfile.TemporaryDirectory(prefix="llm-assets-benchmark-") as folder:
        names = [f"desk{number}" for number in range(num_applications)]
        installation = make_installation(Path(folder), names)
        for name in names:
            make_days(installation, name, num_days)
        with dg.DagsterInstance.local_temp(folder) as instance:
            for sensor in SENSORS:
                yield sensor.name, tick(sensor, installation, instance)
            make_cycles(instance, names[0])
            yield "drift, 1,000 cycles", tick(cycle.drift_sensor, installation, instance)


def tick(sensor: Any, installation: Installation, instance: dg.DagsterInstance) -> Ticks:
    context = dg.build_sensor_context(instance, resources={"installation": installation})

    def look() -> None:
        answer = sensor(context)
        if isinstance(answer, Iterator):
            list(answer)

    cpu, wall = timed(look)
    later = [timed(look) for _ in range(_NUM_TICKS)]
    return Ticks(
        first_cpu=cpu,
        first_wall=wall,
        next_cpu=statistics.median(seconds for seconds, _ in later),
        next_wall=statistics.median(seconds for _, seconds in later),
        cursor_bytes=len(context.cursor or ""),
    )


def timed(function: Callable[[], None]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.monotonic()
    function()
    return time.process_time() - cpu, time.monotonic() - wall


def make_installation(folder: Path, names: list[str]) -> Installation:
    base_model = folder / "base.gguf"
    base_model.write_bytes(b"0" * 2**20)
    applications = folder / "applications"
    applications.mkdir()
    for name in names:
        content = {
            "description": name,
            "base_model": {"file": str(base_model)},
            "serving": {},
            "triggers": {"min_new_feedback": 10**9},
        }
        (applications / f"{name}.yaml").write_text(yaml.safe_dump(content))
    installation = Installation(Settings(home=folder / "home", applications=applications))
    for version in register_base_models(installation):
        vectors = np.ones((1, 384), np.float32)
        baseline = Baseline(model_version=version, embedder="e", prompts=["a"], vectors=vectors)
        BaselineStore(installation.lance).write(baseline)
    return installation


def make_days(installation: Installation, name: str, num_days: int) -> None:
    now = datetime.now(UTC)
    for number in range(num_days):
        at = now - timedelta(days=num_days - 1 - number)
        asked, given = records(name, number, max(at, EARLIEST))
        tables = {
            "interaction_logs": interaction_table(asked).with_columns(time=pl.lit(at, _TIME)),
            "feedback_logs": feedback_table(given).with_columns(time=pl.lit(at, _TIME)),
            "drift_scores": _DRIFT,
            "quality_scores": _QUALITY,
        }
        for table, frame in tables.items():
            write(installation.table(table).root, name, at.date(), frame)
        for log, lines in (
            (installation.interaction_log, asked),
            (installation.feedback_log, given),
        ):
            day = log.root / Partition(application=name, date=at.date()).path
            day.mkdir(parents=True)
            content = b"".join(line.to_json() + b"\n" for line in lines)
            (day / "segment.ndjson").write_bytes(content)


def records(name: str, number: int, at: datetime) -> tuple[list[Interaction], list[Feedback]]:
    asked = [
        Interaction(
            request_id=f"{number}-{place}",
            application=name,
            time=at,
            model_version=f"{name}-v0001",
            variant="champion",
            prompt="where is my parcel",
            response="post",
            user_id=f"user-{place}",
        )
        for place in range(_NUM_RECORDS)
    ]
    given = [
        Feedback(
            feedback_id=request.request_id,
            application=name,
            request_id=request.request_id,
            time=at,
            kind=FeedbackKind.THUMB,
            value=1.0,
        )
        for request in asked
    ]
    return asked, given


_TIME = pl.Datetime("us", "UTC")
_COUNTS = {"n": pl.Int64, "num_baseline": pl.Int64, "num_events": pl.Int64}
_DRIFT = pl.DataFrame(
    {
        "detector": ["mean_shift", "novelty", "topic_growth"],
        "n": 400,
        "num_baseline": 4000,
        "score": 0.1,
        "threshold": 0.2,
        "effect_size": 0.01,
        "decides": True,
        "is_drifted": False,
        "reason": pl.Series([None] * 3, dtype=pl.String),
    },
    schema_overrides=_COUNTS,
)
_QUALITY = pl.DataFrame(
    {
        "metric": ["satisfaction_rate", "correction_rate", "error_rate"],
        "value": [0.9, 0.0, 0.0],
        "num_events": [36, 0, 0],
        "n": [40, 400, 400],
    }
)


def write(root: Path, name: str, day: date, frame: pl.DataFrame) -> None:
    """Publish a day as `storage.Table` does, without waiting for the disk."""
    folder = root / Partition(application=name, date=day).path
    folder.mkdir(parents=True)
    frame.write_parquet(folder / "made.parquet")
    generation = {"file": "made.parquet", "num_rows": frame.height, "sha256": "", "inputs": []}
    (folder / MANIFEST).write_text(json.dumps(generation))
    os.utime(folder / MANIFEST, (1, 1))


def make_cycles(instance: dg.DagsterInstance, name: str) -> None:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name="improvement_cycle")
    def improvement_cycle() -> None:
        nothing()

    for number in range(_NUM_CYCLES):
        instance.create_run_for_job(
            improvement_cycle,
            tags={"llm_assets/application": name, "dagster/run_key": f"{name}:drift:{number}"},
            status=dg.DagsterRunStatus.SUCCESS,
        )


if __name__ == "__main__":
    main()
