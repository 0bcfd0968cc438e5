"""One day of an application held against what it should be like: what `drift_scores` is made of.

The statistics are in `llm_assets.drift`; here is gathered what they compare.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

import numpy as np
import polars as pl

from llm_assets.applications import Application
from llm_assets.curation.store import DatasetStore
from llm_assets.drift.baseline import Baseline, BaselineStore, reference_dates, same_weekdays
from llm_assets.drift.config import Detector
from llm_assets.drift.detectors.calibration import Undefined
from llm_assets.drift.detectors.language import language_shares
from llm_assets.drift.detectors.texts import TextReference
from llm_assets.drift.embedding.embeddings import Embedder, embed
from llm_assets.drift.plot import map_png
from llm_assets.drift.reference import Reference, Sample
from llm_assets.drift.scores import DriftScore, score_window, undefined_scores
from llm_assets.drift.topics import Topic, what_moved
from llm_assets.drift.window import window
from llm_assets.installation import Installation
from llm_assets.storage import Partition

_MAX_ANSWERS = 10_000


class ScoredDay(NamedTuple):
    """The version that served most of a day, its scores, what moved, and a map where defined.

    The map is a PNG that holds no text of users but public names of topics. `languages` holds the
    share of each language where their mix is not the usual one.
    """

    model_version: str
    scores: Sequence[DriftScore]
    topics: Sequence[Topic] = ()
    map_png: bytes | None = None
    languages: Mapping[str, float] = {}


@dataclass
class DayScorer:
    """Scores days of one application; what several days are compared with is made only once."""

    installation: Installation
    application: Application
    embedder: Embedder = field(init=False)
    _reference: tuple[str, Reference] | None = field(default=None, init=False)
    _answers: tuple[str, tuple[date, ...], TextReference] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.embedder = self.installation.embedder(self.application.name)

    def score(self, day: date) -> ScoredDay:
        """Score a day; where it cannot be, the scores say why."""
        name, config = self.application.name, self.application.drift
        rows = self._window(day)
        if rows.is_empty():
            return self._undefined("none", "no prompts on this day", n=0)
        version = self._version_of(str(rows["model_version"].mode().sort()[0]))
        reference = self._find_reference(version, day)
        if isinstance(reference, Undefined):
            return self._undefined(version, reference.reason, n=rows.height)
        reason = self._why_not(reference, version, day)
        if reason is not None:
            num_baseline = len(reference.vectors)
            return self._undefined(version, reason, n=rows.height, num_baseline=num_baseline)
        prompts = rows["prompt"].to_list()
        sample = Sample(
            vectors=self._embed(prompts),
            prompts=prompts,
            responses=_answers(rows)["response"].to_list(),
        )
        found = score_window(
            sample,
            reference,
            embedder=self.embedder.name,
            config=config,
            rng=np.random.default_rng(Partition(application=name, date=day).seed),
            answers=self._find_answers(version, day),
        )
        if found.growth is None:
            return ScoredDay(version, found.scores)
        topics = what_moved(
            rows,
            sample.vectors,
            reference.prompts,
            reference.vectors,
            found.growth,
            found.novel,
        )
        picture = map_png(
            sample.vectors,
            reference.vectors,
            title=f"{name}, {day}",
            topics=[(topic.public_name, topic.rows) for topic in topics],
        )
        shares = language_shares(prompts) if _has_other_languages(found.scores) else {}
        return ScoredDay(version, found.scores, topics, picture, shares)

    def _undefined(self, version: str, reason: str, *, n: int, num_baseline: int = 0) -> ScoredDay:
        config = self.application.drift
        scores = undefined_scores(reason, n=n, num_baseline=num_baseline, config=config)
        return ScoredDay(version, scores)

    def _window(self, day: date) -> pl.DataFrame:
        rows = self.installation.interactions(self.application.name, day, day)
        return window(rows, max_prompts=self.application.drift.max_prompts)

    def _embed(self, prompts: Sequence[str]) -> np.ndarray:
        return embed(prompts, cache=self.installation.embeddings, embedder=self.embedder)

    def _why_not(self, reference: Reference, version: str, day: date) -> str | None:
        """Return why a day must not be held against a reference, or None where it may."""
        other = reference.baseline.other_embedder(self.embedder.name)
        if other is None and self.application.drift.reference == "baseline":
            days = reference_days(self.installation, self.application, version)
            return f"the day belongs to the baseline of {version}" if day in days else None
        return other

    def _version_of(self, model: str) -> str:
        """Return the model version that a model's traffic is held against.

        A model that is served elsewhere goes by a name of its own: the champion stands for it.
        """
        entry = self.installation.registry.entry(self.application.name)
        return model if model in entry.versions or entry.champion is None else entry.champion

    def _find_reference(self, version: str, day: date) -> Reference | Undefined:
        """Return what a day is compared with, or why there is nothing."""
        if self.application.drift.reference == "same_weekday":
            return self._same_weekday(version, day)
        store = BaselineStore(self.installation.lance)
        if version not in store.model_versions(self.application.name):
            return Undefined(f"{version} has no baseline yet")
        if self._reference is None or self._reference[0] != version:
            self._reference = version, Reference(store.read(version))
        return self._reference[1]

    def _same_weekday(self, version: str, day: date) -> Reference | Undefined:
        name, config = self.application.name, self.application.drift
        dates = self.installation.table("interaction_logs").dates(name)
        days = same_weekdays(day, dates, config=config)
        prompts = [prompt for earlier in days for prompt in self._window(earlier)["prompt"]]
        if not prompts:
            return Undefined(f"no prompts on this weekday in {config.seasonal_weeks} weeks before")
        return Reference(
            Baseline(
                model_version=version,
                embedder=self.embedder.name,
                prompts=prompts,
                vectors=self._embed(prompts),
            )
        )

    def _find_answers(self, version: str, day: date) -> TextReference | Undefined:
        """Return the answers of a version's first days, which later ones are compared with."""
        if self._answers is None or self._answers[0] != version:
            days, answers = self._first_answers(version)
            self._answers = version, days, TextReference(answers)
        _, days, reference = self._answers
        needed = self.application.drift.reference_days
        if len(days) < needed or day <= days[-1]:
            return Undefined(
                f"the answers of the first {needed} days of {version} are what later ones are "
                "compared with"
            )
        return reference

    def _first_answers(self, version: str) -> tuple[tuple[date, ...], list[str]]:
        """Return the first days on which a version gave most answers, and these answers."""
        name, config = self.application.name, self.application.drift
        promoted = [
            step.time.date()
            for step in self.installation.registry.history(name)
            if step.model_version == version and step.action == "promote"
        ]
        entry = self.installation.registry.entry(name)
        is_first = not promoted or version == entry.versions[0]
        start = date.min if is_first else promoted[0]
        days: list[date] = []
        answers: list[str] = []
        for day in self.installation.table("interaction_logs").dates(name):
            if day < start:
                continue
            rows = _answers(self.installation.interactions(name, day, day))
            if rows.is_empty() or self._version_of(str(rows["model_version"].mode()[0])) != version:
                continue
            most = max(1, _MAX_ANSWERS // config.reference_days)
            answers += window(rows, max_prompts=most)["response"].to_list()
            days.append(day)
            if len(days) == config.reference_days:
                break
        return tuple(days), answers


def reference_days(
    installation: Installation, application: Application, version: str
) -> list[date]:
    """Return the days whose traffic is a version's baseline; none if it has a training set."""
    if version in DatasetStore(installation.lance).model_versions(application.name):
        return []
    days = installation.table("interaction_logs").dates(application.name)
    return reference_dates(days, config=application.drift)


def _answers(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter((pl.col("status") < 400) & (pl.col("response").str.strip_chars() != ""))


def _has_other_languages(scores: Sequence[DriftScore]) -> bool:
    return any(s.detector is Detector.LANGUAGE and s.score > s.threshold for s in scores)
