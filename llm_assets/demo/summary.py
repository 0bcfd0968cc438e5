"""The table at the end of the demonstration: every number is read from what the run left."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llm_assets.curation.store import DatasetStore
from llm_assets.deployment.registry import Transition
from llm_assets.evaluation.gate import gate
from llm_assets.evaluation.report import EvalReport, ModelScore
from llm_assets.installation import Installation

_WIDTH = 22


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the demonstration found out."""

    champion_before: str
    champion_after: str
    before: ModelScore
    after: ModelScore
    n: int
    difference: tuple[float, float, float]
    majority_target: str
    majority_rate: float
    cause: str
    rows: dict[str, int]
    num_requests: int
    num_right: int
    rollout: str
    num_trial_requests: int
    bad_candidate: str
    is_bad_refused: bool
    bad_reason: str
    stages: dict[str, float]
    steps: dict[str, float]
    ui_url: str

    @property
    def is_success(self) -> bool:
        """Whether the better candidate serves and the bad one was refused."""
        return self.champion_after != self.champion_before and self.is_bad_refused

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {**asdict(self), "is_success": self.is_success}

    def table(self) -> str:
        """Return the table that people read."""
        low, high = self.difference[1:]
        rows = ", ".join(f"{count} {name}" for name, count in self.rows.items())
        lines = {
            "champion": f"{self.champion_before} before, {self.champion_after} now",
            "accuracy before": _accuracy(self.before, self.n),
            "accuracy after": _accuracy(self.after, self.n),
            "improvement": f"{self.difference[0]:+.2f} [{low:+.2f}, {high:+.2f}]",
            f"always {self.majority_target!r}": f"{self.majority_rate:.2f}",
            "replayed": f"{self.num_requests} questions, {self.num_right} answered right",
            "noticed": self.cause,
            "training data": rows,
            "rollout": f"{self.rollout}; {self.num_trial_requests} questions of new users",
            "bad candidate": f"{self.bad_candidate} "
            + ("refused: " if self.is_bad_refused else "NOT REFUSED: ")
            + self.bad_reason,
            "seconds": _seconds(self.stages),
            "of which in the cycle": _seconds(self.steps),
            "Dagster UI": self.ui_url,
        }
        return "\n".join(f"{name:<{_WIDTH}} {text}" for name, text in lines.items())


def summarise(
    installation: Installation,
    *,
    application: str,
    versions: tuple[str, str, str],
    is_bad_refused: bool,
    cause: Mapping[str, str],
    stages: Mapping[str, float],
    steps: Mapping[str, float],
    num_requests: int,
    num_right: int,
    num_trial_requests: int,
) -> Summary:
    """Gather the table from the reports, the dataset, and the registry."""
    first, second, bad = versions
    report = EvalReport.read(installation.report(second))
    bad_report = EvalReport.read(installation.report(bad))
    config = installation.application(application).evaluation
    dataset = DatasetStore(installation.lance).read(second).summary()
    return Summary(
        champion_before=first,
        champion_after=installation.registry.champion(application) or "none",
        before=report.champion,
        after=report.candidate,
        n=report.n,
        difference=(report.difference, report.difference_low, report.difference_high),
        majority_target=report.majority_target,
        majority_rate=report.majority_rate,
        cause=cause.get("llm_assets/reason", "unknown"),
        rows={
            "train": dataset["num_train"],
            "validation": dataset["num_validation"],
            "holdout": dataset["num_holdout"],
            **{f"from {source}": count for source, count in dataset["sources"].items()},
            "from late feedback": dataset["num_late"],
        },
        num_requests=num_requests,
        num_right=num_right,
        rollout=_rollout(installation.registry.history(application), second),
        num_trial_requests=num_trial_requests,
        bad_candidate=bad,
        is_bad_refused=is_bad_refused,
        bad_reason=gate(bad_report, config=config).reasons[0],
        stages=dict(stages),
        steps=dict(steps),
        ui_url=installation.settings.ui_url,
    )


def _rollout(history: Sequence[Transition], version: str) -> str:
    """Return the steps that a version took, and the seconds until it was the champion."""
    own = [step for step in history if step.model_version == version and step.action != "register"]
    steps = [str(t.step) for t in own if t.step is not None and t.action in ("start", "advance")]
    seconds = (own[-1].time - own[0].time).total_seconds()
    last = "promoted" if own[-1].action == "promote" else own[-1].action
    return f"{' → '.join([*steps, last])} in {seconds:.0f} s"


def _accuracy(score: ModelScore, n: int) -> str:
    interval = f"[{score.interval_low:.2f}, {score.interval_high:.2f}]"
    return f"{score.accuracy:.2f} {interval}, n={n}, mean over desks {score.macro_accuracy:.2f}"


def _seconds(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
