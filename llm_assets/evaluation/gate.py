"""Whether a candidate may replace the champion."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_assets.evaluation.config import EvaluationConfig

if TYPE_CHECKING:
    from llm_assets.evaluation.report import EvalReport


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule of the gate: whether it holds, and the numbers that decide."""

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The gate's answer: passed only if every rule holds."""

    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may be deployed."""
        return all(rule.passed for rule in self.rules)

    @property
    def reasons(self) -> list[str]:
        """The reasons of all rules, those that failed first."""
        return [rule.reason for rule in sorted(self.rules, key=lambda rule: rule.passed)]


def gate(report: "EvalReport", *, config: EvaluationConfig) -> Verdict:
    """Judge a report.

    The champion is beaten clearly (the whole interval of the improvement is above the wanted one)
    and not on the largest topic alone (the mean over targets rises as well); the trivial guess is
    beaten clearly too. A number that is nan fails its rule.
    """
    candidate, champion = report.candidate, report.champion
    return Verdict(
        rules=(
            _rule(
                "enough_samples",
                report.n >= config.min_samples,
                f"{report.n} samples, min_samples is {config.min_samples}",
            ),
            _rule(
                "beats_champion",
                report.difference_low > config.min_improvement,
                f"accuracy {candidate.accuracy:.3f} against {champion.accuracy:.3f} of "
                f"{champion.model_version}: the difference {report.difference:+.3f} "
                f"({report.difference_low:+.3f} to {report.difference_high:+.3f}, n={report.n}) "
                f"must lie above min_improvement {config.min_improvement:g}",
            ),
            _rule(
                "beats_champion_over_targets",
                candidate.macro_accuracy > champion.macro_accuracy,
                f"macro accuracy {candidate.macro_accuracy:.3f} over {len(report.targets)} "
                f"targets must be above {champion.macro_accuracy:.3f} of "
                f"{champion.model_version}",
            ),
            _rule(
                "beats_majority",
                candidate.interval_low > report.majority_rate,
                f"accuracy {candidate.accuracy:.3f} ({candidate.interval_low:.3f} to "
                f"{candidate.interval_high:.3f}) must lie above {report.majority_rate:.3f} of "
                "always giving the most frequent answer",
            ),
        )
    )


def _rule(name: str, passed: bool, reason: str) -> Rule:
    return Rule(name=name, passed=passed, reason=f"{'passed' if passed else 'FAILED'}: {reason}")
