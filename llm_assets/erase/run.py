"""Erasing a user's data while the installation goes on working.

The records are cleaned first and then what was made of them. A run that is in progress meanwhile
may have read what is being erased and write it back, so there is another pass when it has ended,
until nothing ran or nothing was found. Everything may be interrupted and done again.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import polars as pl

from llm_assets.erase import derived
from llm_assets.erase.mentions import still_mentioning
from llm_assets.erase.records import RecordStore, is_selected, record_stores
from llm_assets.erasures import Erasure, Erasures, Mark, Traces, user_digest
from llm_assets.errors import UserError
from llm_assets.feedback.erasure import Found, find
from llm_assets.feedback.scrubbing.key import load_or_create_key
from llm_assets.feedback.scrubbing.scrubber import Scrubbers
from llm_assets.installation import Installation
from llm_assets.manifest import application_of
from llm_assets.storage import locked

_IN_PROGRESS = (
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was erased, or would be; where nothing was found `erasure` is empty.

    `earlier` are the finished erasures of the same user, and `left` the files that nothing
    rewrites and that still hold something of the user.
    """

    erasure: Erasure
    earlier: list[Erasure] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether there was ever anything of the user; otherwise the id may be wrong."""
        return bool(self.earlier) or not self.erasure.is_empty


def preview(
    installation: Installation, *, user: str, application: str | None, now: datetime
) -> Outcome:
    """Return what erasing a user would remove and which versions it reaches; change nothing."""
    erasure = _begun(installation, user, application, now)
    erasure, _ = _look(installation, user, erasure)
    return Outcome(erasure=erasure, earlier=_earlier(installation, erasure))


def erase(
    installation: Installation,
    instance: dg.DagsterInstance,
    *,
    user: str,
    application: str | None,
    say: Callable[[str], None],
    wait_seconds: float = 1800.0,
    pause_seconds: float = 1.0,
) -> Outcome:
    """Remove a user's data from every store and version, and mark what was made of it.

    `say` is told what is waited for.

    Raises:
        UserError: runs did not end in `wait_seconds`; what was found until then is erased.
    """
    records = Erasures.of(installation.home)
    with locked(records.root / ".lock", alone=True):
        for unfinished in records.root.glob(".*.json.*"):
            unfinished.unlink()
        erasure = _begun(installation, user, application, datetime.now(UTC))
        deadline = time.monotonic() + wait_seconds
        texts: set[str] = set()
        for num_passes in count():
            started = datetime.now(UTC)
            erasure, seen = _look(installation, user, erasure)
            texts |= seen.texts
            if erasure.is_empty:
                return Outcome(erasure=erasure, earlier=_earlier(installation, erasure))
            # Whatever ran during the pass before has ended, so nobody knows the data any more.
            if num_passes and not seen.num_rows:
                break
            records.write(erasure)
            _remove(installation, erasure)
            if not _changed_since(instance, started):
                break
            _wait(instance, deadline, pause_seconds, say)
        assert erasure.traces is not None
        # A request's id that Dagster was told leads to nothing any more, so it is not looked for.
        left = still_mentioning(installation.home, {*erasure.traces.user_ids, *texts})
        finished = replace(erasure, finished_at=datetime.now(UTC), traces=None)
        _observe(instance, finished)
        earlier = _earlier(installation, erasure)
        records.write(finished)
    return Outcome(erasure=finished, earlier=earlier, left=left)


def homes(installation: Installation) -> dict[str, Installation]:
    """Return the installation and those that the demo moved aside, by what counts begin with."""
    archives = sorted((installation.home / "archive").glob("*/"))
    moved = {
        f"archive/{path.name}/": Installation(replace(installation.settings, home=path))
        for path in archives
    }
    return {"": installation, **moved}


def _begun(
    installation: Installation, user: str, application: str | None, now: datetime
) -> Erasure:
    """Return the erasure that was interrupted, or a new one."""
    digest = user_digest(user, load_or_create_key(installation.home))
    found = Erasures.of(installation.home).unfinished(digest, application)
    return found or Erasure(user=digest, application=application, begun_at=now)


def _earlier(installation: Installation, erasure: Erasure) -> list[Erasure]:
    return [
        other
        for other in Erasures.of(installation.home).all()
        if other.user == erasure.user and other.finished_at is not None
    ]


class _Seen(NamedTuple):
    """What one look found: the rows of all stores together, and the texts that are theirs alone."""

    num_rows: int
    texts: set[str]


def _look(installation: Installation, user: str, erasure: Erasure) -> tuple[Erasure, _Seen]:
    """Return the erasure with what there is of the user now."""
    application = erasure.application
    found = _find(installation, user, application)
    prompts = {text for raw in found.prompts for text in (raw, raw.strip())}
    caches = [home.embeddings for home in homes(installation).values()]
    keys = {key for cache in caches for key in cache.keys_of(prompts)}
    traces = found.traces | Traces(prompt_keys=frozenset(keys)) | (erasure.traces or Traces())
    counts: dict[str, int] = {}
    days: dict[str, list] = {}
    versions: dict[str, Mark] = {}
    for prefix, home in homes(installation).items():
        for store in record_stores(home):
            lost = store.count(traces, application)
            counts[prefix + store.name] = sum(lost.values())
            for partition in () if prefix or store.name.endswith("unassigned") else lost:
                days.setdefault(partition.application, []).append(partition.date)
        for name, num_rows in derived.count(home, traces, application).items():
            counts[prefix + name] = num_rows
        marks = derived.marks(home, traces, application)
        for name, get in _MARKED.items():
            counts[prefix + name] = sum(map(get, marks.values()))
        versions |= {prefix + version: mark for version, mark in marks.items()}
    counts = {name: num_rows for name, num_rows in counts.items() if num_rows}
    now = replace(erasure, counts=counts, days=days, versions=versions, traces=traces)
    return erasure | now, _Seen(sum(counts.values()), found.texts)


_MARKED: dict[str, Callable[[Mark], int]] = {
    "curated_dataset": lambda mark: mark.num_learnt + mark.num_holdout,
    "embedding_baseline": lambda mark: mark.num_baseline,
    "eval_report": lambda mark: mark.num_samples,
}


def _find(installation: Installation, user: str, application: str | None) -> Found:
    user_ids = {user}
    stores: list[RecordStore] = []
    for home in homes(installation).values():
        stores += record_stores(home)
        if home is installation or (home.home / "secrets").exists():
            user_ids.add(Scrubbers({}, load_or_create_key(home.home)).pseudonym(user))

    def frames(*, is_feedback: bool, is_wanted: bool) -> Iterator[pl.DataFrame]:
        for store in stores:
            if store.is_feedback == is_feedback:
                for partition, frame in store.frames():
                    if is_selected(partition, application) == is_wanted:
                        yield frame

    return find(
        lambda: frames(is_feedback=False, is_wanted=True),
        lambda: frames(is_feedback=True, is_wanted=True),
        lambda: chain(
            frames(is_feedback=False, is_wanted=False), frames(is_feedback=True, is_wanted=False)
        ),
        user_ids=user_ids,
    )


def _remove(installation: Installation, erasure: Erasure) -> None:
    assert erasure.traces is not None
    for home in homes(installation).values():
        for store in record_stores(home):
            store.remove(erasure.traces, erasure.application)
        derived.remove(home, erasure.traces, erasure.application)


def _in_progress(instance: dg.DagsterInstance) -> list[str]:
    runs = instance.get_run_records(dg.RunsFilter(statuses=_IN_PROGRESS))
    return [record.dagster_run.run_id for record in runs]


def _changed_since(instance: dg.DagsterInstance, time: datetime) -> bool:
    """Return whether a run was in progress at some moment since a time."""
    changed = instance.get_run_records(dg.RunsFilter(updated_after=time))
    queued = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)
    return any(record.dagster_run.status not in queued for record in changed) or bool(
        _in_progress(instance)
    )


def _wait(
    instance: dg.DagsterInstance,
    deadline: float,
    pause_seconds: float,
    say: Callable[[str], None],
) -> None:
    """Wait until the runs that are in progress now have ended; later ones read clean stores."""
    overlapping = set(_in_progress(instance))
    if overlapping:
        say(f"waiting for {len(overlapping)} runs in progress, which may have read the data")
    while overlapping := overlapping & set(_in_progress(instance)):
        if time.monotonic() > deadline:
            raise UserError(
                f"run {min(overlapping)} is still in progress and may write back what was erased; "
                f"when it has ended or was terminated, erase again"
            )
        time.sleep(pause_seconds)


def _observe(instance: dg.DagsterInstance, erasure: Erasure) -> None:
    """Say on the assets that were made of the data that it was erased from them."""
    assert erasure.finished_at is not None
    for version, mark in erasure.versions.items():
        if "/" in version:
            continue  # in an archive; what bears the name now is another one
        partitions = {
            "curated_dataset": (version, mark.num_learnt + mark.num_holdout),
            "embedding_baseline": (version, mark.num_baseline),
            "finetuned_checkpoint": (version, mark.num_learnt if mark.has_checkpoint else 0),
            "deployed_endpoint": (
                application_of(version),
                mark.num_learnt if mark.has_served else 0,
            ),
        }
        for asset, (partition, num_rows) in partitions.items():
            if num_rows:
                instance.report_runless_asset_event(
                    dg.AssetObservation(
                        asset,
                        partition=partition,
                        description="data of a user that this was made of was erased",
                        metadata={
                            "erased_at": dg.MetadataValue.timestamp(erasure.finished_at),
                            "num_rows": num_rows,
                            "model_version": version,
                        },
                    )
                )
