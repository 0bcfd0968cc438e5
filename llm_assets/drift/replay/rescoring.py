"""Past days scored against baselines that simulated cycles would have made."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from llm_assets.drift.baseline import (
    MAX_BASELINE_PROMPTS,
    Baseline,
    first_prompts,
    reference_dates,
    same_weekdays,
)
from llm_assets.drift.config import OF_ANSWERS, DriftConfig
from llm_assets.drift.reference import Reference, Sample
from llm_assets.drift.replay.simulation import Origin
from llm_assets.drift.scores import score_window, undefined_scores
from llm_assets.drift.window import window


@dataclasses.dataclass(kw_only=True)
class Rescorer:
    """Scores days anew as `replay.Rescore` does; it holds the baseline that it used last.

    `days` are those with traffic, in order, and `interactions` gives one of them. `vectors` gives
    those of prompts, None where one of them is not kept, by the embedder of that name, which is
    the one that `recorded_with` asks for. `stored` gives the baseline of a version, None where it
    has none; that of the versions `of_first_days` is the traffic of the first days. `seed` is for
    what is drawn for a day.
    """

    days: Sequence[date]
    interactions: Callable[[date], pl.DataFrame]
    vectors: Callable[[Sequence[str]], np.ndarray | None]
    stored: Callable[[str], Baseline | None]
    of_first_days: frozenset[str]
    seed: Callable[[date], int]
    embedder: str
    recorded_with: DriftConfig
    _last: tuple[Any, Reference | None] = (None, None)

    def __call__(
        self, day: date, origin: Origin, config: DriftConfig
    ) -> Sequence[Mapping[str, Any]] | None:
        """Return the day's rows; None where vectors are not kept, or there is no such baseline."""
        if config.embedding_model != self.recorded_with.embedding_model:
            return None
        detectors = [detector for detector in config.detectors if detector not in OF_ANSWERS]
        prompts = self._prompts(day, config)
        reason = self._undefined_reason(day, prompts, origin, config)
        if reason is not None:
            scores = undefined_scores(
                reason, n=len(prompts), num_baseline=0, config=config, detectors=detectors
            )
            return [dataclasses.asdict(score) for score in scores]
        vectors, reference = self.vectors(prompts), self._reference(day, origin, config)
        if vectors is None or reference is None:
            return None
        scored = score_window(
            Sample(vectors=vectors, prompts=prompts),
            reference,
            embedder=self.embedder,
            config=config,
            rng=np.random.default_rng(self.seed(day)),
            detectors=detectors,
        )
        return [dataclasses.asdict(score) for score in scored.scores]

    def _undefined_reason(
        self, day: date, prompts: Sequence[str], origin: Origin, config: DriftConfig
    ) -> str | None:
        if not prompts:
            return "no prompts on this day"
        if config.reference == "same_weekday":
            if not same_weekdays(day, self.days, config=config):
                return f"no prompts on this weekday in {config.seasonal_weeks} weeks before"
        elif origin in self.of_first_days and day in reference_dates(self.days, config=config):
            return f"the day belongs to the baseline of {origin}"
        return None

    def _reference(self, day: date, origin: Origin, config: DriftConfig) -> Reference | None:
        """Return what a day is scored against; what it depends on is the key of the last one."""
        is_seasonal = config.reference == "same_weekday"
        made_of = (day, config.seasonal_weeks) if is_seasonal else (origin, config.reference_days)
        key = (*made_of, config.max_prompts)
        if self._last[0] != key:
            baseline = (
                self._of_days(same_weekdays(day, self.days, config=config), config)
                if is_seasonal
                else self._baseline(origin, config)
            )
            reference = None if baseline is None else Reference(baseline)
            self._last = (key, reference)
        return self._last[1]

    def _baseline(self, origin: Origin, config: DriftConfig) -> Baseline | None:
        if isinstance(origin, date):
            return self._newest(origin, config)
        is_as_stored = config.reference_days == self.recorded_with.reference_days
        if is_as_stored or origin not in self.of_first_days:
            return self.stored(origin)
        first = reference_dates(self.days, config=config)
        rows = [self.interactions(day) for day in first]
        return self._made_of(first_prompts(pl.concat(rows)) if rows else [])

    def _newest(self, until: date, config: DriftConfig) -> Baseline | None:
        newest: list[str] = []
        for day in reversed([day for day in self.days if day <= until]):
            newest = [*self._prompts(day, config), *newest]
            if len(newest) >= MAX_BASELINE_PROMPTS:
                break
        return self._made_of(newest[-MAX_BASELINE_PROMPTS:])

    def _of_days(self, days: Sequence[date], config: DriftConfig) -> Baseline | None:
        return self._made_of([prompt for day in days for prompt in self._prompts(day, config)])

    def _made_of(self, prompts: Sequence[str]) -> Baseline | None:
        vectors = self.vectors(prompts) if prompts else None
        if vectors is None:
            return None
        return Baseline(
            model_version="simulated", embedder=self.embedder, prompts=prompts, vectors=vectors
        )

    def _prompts(self, day: date, config: DriftConfig) -> list[str]:
        drawn = window(self.interactions(day), max_prompts=config.max_prompts)
        return drawn["prompt"].to_list()
