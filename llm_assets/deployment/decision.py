"""What a rollout does next: a pure function of its plan, the evidence, and the clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from llm_assets.deployment.config import AbConfig, DeploymentConfig
from llm_assets.deployment.evidence import Away, Evidence, Rate
from llm_assets.deployment.guardrails import Finding, State, look
from llm_assets.deployment.registry import Rollout
from llm_assets.deployment.statistics.difference import difference
from llm_assets.deployment.statistics.mean import confidence_sequence
from llm_assets.deployment.statistics.sample_ratio import sample_ratio
from llm_assets.intervals import Interval

Move = Literal["stay", "advance", "hold", "alert", "promote", "reject"]

# What is compared: the higher, the better.
_RATES = {
    "correction_rate": "not corrected",
    "satisfaction": "satisfied",
    "conversion": "converted",
}
# What a mismatch of the sample ratio may be by chance in a whole test.
_MISMATCH_ALPHA = 0.001


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The metric of an A/B test: the challenger's less the champion's, at every look."""

    metric: str
    champion: Rate
    challenger: Rate
    interval: Interval
    margin: float
    has_mismatch: bool

    @property
    def value(self) -> float:
        """The difference of the means; nan without users on both sides."""
        return self.challenger.mean - self.champion.mean

    def __str__(self) -> str:
        return (
            f"{self.metric} {self.challenger.mean:.3f} against {self.champion.mean:.3f}: "
            f"{self.value:+.3f} ({self.interval.low:+.3f} to {self.interval.high:+.3f}, "
            f"{self.challenger.n} and {self.champion.n} users)"
        )


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do, why, and what was looked at."""

    move: Move
    reason: str
    findings: Sequence[Finding] = field(default_factory=tuple)
    effect: Effect | None = None


def decide(
    rollout: Rollout, evidence: Evidence, *, config: DeploymentConfig, now: datetime
) -> Decision:
    """Return what a rollout does now.

    A breached guardrail ends it, whatever the step; only the smoke test has none, because no user
    asks yet. Otherwise the step says whether there is enough evidence to go on, and a step that
    could go on but for evidence that decides holds.
    """
    if rollout.step.stage == "smoke":
        decision = _smoke(evidence, config=config)
    else:
        decision = _guarded(rollout, evidence, config=config, now=now)
    if decision.move == "hold":
        return _patient(rollout, decision, config=config, now=now)
    if decision.move == "advance" and rollout.at_next_step(now) is None:
        return replace(decision, move="promote")
    return decision


def _guarded(
    rollout: Rollout, evidence: Evidence, *, config: DeploymentConfig, now: datetime
) -> Decision:
    findings = look(
        evidence,
        config=config.guardrails,
        alpha=_step_alpha(rollout, config),
        share=rollout.step.compared_share,
    )
    breached = [finding for finding in findings if finding.state is State.BREACHED]
    if breached:
        return Decision(move="reject", reason=str(breached[0]), findings=findings)
    decision = _STEPS[rollout.step.stage](rollout, evidence, config, now)
    if evidence.away is not None and decision.move != "reject":
        decision = _without_server(evidence.away, config=config)
    unclear = [finding for finding in findings if finding.state is State.OPEN]
    if decision.move == "advance" and unclear:
        decision = replace(decision, move="hold", reason=f"not decided: {unclear[0]}")
    return replace(decision, findings=findings)


def _step_alpha(rollout: Rollout, config: DeploymentConfig) -> float:
    """Return what the guardrails of a step have of `false_alarm_rate`; a judge has as much."""
    has_judge = any(step.stage == "shadow" for step in rollout.steps) and config.shadow_rules.judge
    return config.guardrails.false_alarm_rate / (len(rollout.steps) + bool(has_judge))


def effect_of(evidence: Evidence, *, share: float, config: AbConfig) -> Effect:
    """Return how the arms of an A/B test differ in its metric.

    Where allocation moves the share, the numbers of users say nothing of a mismatch.
    """
    champion, challenger = evidence.champion, evidence.challenger
    interval = difference(
        challenger.metric.total,
        challenger.metric.n,
        champion.metric.total,
        champion.metric.n,
        alpha=config.delta,
        share=share,
    )
    num_users = champion.num_users + challenger.num_users
    ratio = sample_ratio(challenger.num_users, num_users, share, alpha=_MISMATCH_ALPHA)
    return Effect(
        metric=_RATES[config.metric],
        champion=champion.metric,
        challenger=challenger.metric,
        interval=interval,
        margin=config.margin,
        has_mismatch=config.allocation == "fixed" and ratio.is_mismatch,
    )


def _smoke(evidence: Evidence, *, config: DeploymentConfig) -> Decision:
    limit = config.smoke_rules.timeout_seconds
    if evidence.smoke is True:
        return Decision(move="advance", reason="the server answers")
    if evidence.smoke is False:
        return Decision(move="reject", reason=f"smoke test: {evidence.problem}")
    problem = evidence.problem or "no answer yet"
    # Not since the step began: nobody may have looked for a night.
    if evidence.waited_seconds >= limit:
        return Decision(move="reject", reason=f"smoke test: after {limit:g} s: {problem}")
    return Decision(move="stay", reason=problem)


def _shadow(
    rollout: Rollout, evidence: Evidence, config: DeploymentConfig, now: datetime
) -> Decision:
    shadow = config.shadow_rules
    judged = evidence.judged
    told = f"; {evidence.problem}" if evidence.problem else ""
    if shadow.judge is not None and judged.n:
        alpha = _step_alpha(rollout, config)
        low, high = confidence_sequence(judged.total, judged.n, alpha=alpha)
        told += f"; mean score {judged.mean:.3f} ({low:.3f} to {high:.3f}, {judged.n} judged)"
        if high < 0.5:
            return Decision(move="reject", reason=f"loses the judged pairs{told}")
        is_open = low <= 0.5 - shadow.margin
    else:
        is_open = shadow.judge is not None
        told += "; none of them judged" if is_open and evidence.num_pairs else ""
    reason = f"{evidence.num_pairs} of {shadow.min_pairs} pairs{told}"
    if evidence.num_pairs < shadow.min_pairs or _is_early(rollout, shadow.min_minutes, now):
        return Decision(move="stay", reason=reason)
    if is_open:
        return Decision(move="hold", reason=f"not decided: {reason}")
    return Decision(move="advance", reason=reason)


def _canary(
    rollout: Rollout, evidence: Evidence, config: DeploymentConfig, now: datetime
) -> Decision:
    canary = config.canary_rules
    champion, challenger = evidence.champion.failures.n, evidence.challenger.failures.n
    is_enough = min(champion, challenger) >= canary.min_requests
    if not is_enough or _is_early(rollout, canary.min_minutes, now):
        reason = f"{challenger} and {champion} of {canary.min_requests} requests"
        return Decision(move="stay", reason=reason)
    reason = f"{challenger} and {champion} requests, no guardrail breached"
    return Decision(move="advance", reason=reason)


def _blue_green(
    rollout: Rollout, evidence: Evidence, config: DeploymentConfig, now: datetime
) -> Decision:
    switch = config.blue_green
    before, since = evidence.champion.failures.n, evidence.challenger.failures.n
    if since < switch.min_requests or _is_early(rollout, switch.min_minutes, now):
        return Decision(move="stay", reason=f"{since} of {switch.min_requests} requests")
    if before < switch.min_requests:
        reason = f"not decided: {before} of {switch.min_requests} requests before the switch"
        return Decision(move="hold", reason=f"{reason}, with which the {since} since are compared")
    return Decision(move="advance", reason=f"{since} requests, no guardrail breached")


def _ab(rollout: Rollout, evidence: Evidence, config: DeploymentConfig, now: datetime) -> Decision:
    ab = config.ab_rules
    effect = effect_of(evidence, share=rollout.step.share, config=ab)
    num_users = min(effect.champion.n, effect.challenger.n)
    if effect.has_mismatch:
        reason = (
            f"sample ratio mismatch: {evidence.challenger.num_users} and "
            f"{evidence.champion.num_users} users at a share of {rollout.step.share:g}"
        )
        return Decision(move="hold", reason=reason, effect=effect)
    if num_users < ab.min_users or _is_early(rollout, ab.min_minutes, now):
        reason = f"{num_users} of {ab.min_users} users"
        return Decision(move="stay", reason=reason, effect=effect)
    if effect.interval.low > -ab.margin:
        return Decision(move="advance", reason=f"better: {effect}", effect=effect)
    if effect.interval.high < -ab.margin:
        return Decision(move="reject", reason=f"worse: {effect}", effect=effect)
    is_over = ab.max_users is not None and num_users >= ab.max_users
    move = "hold" if is_over else "stay"
    return Decision(move=move, reason=f"not decided: {effect}", effect=effect)


_STEPS = {"shadow": _shadow, "canary": _canary, "ab": _ab, "blue_green": _blue_green}


def _without_server(away: Away, *, config: DeploymentConfig) -> Decision:
    """Return what is done while the challenger's server is not ready: nothing, then it holds.

    Users are served meanwhile, and what keeps it away need not be the version's fault.
    """
    limit = config.smoke_rules.timeout_seconds
    told = f": {away.problem}" if away.problem else ""
    if away.seconds < limit:
        return Decision(move="stay", reason=f"its server is not ready{told}")
    return Decision(move="hold", reason=f"its server has not been ready for {limit:g} s{told}")


def _is_early(rollout: Rollout, min_minutes: float, now: datetime) -> bool:
    return now - rollout.since < timedelta(minutes=min_minutes)


def _patient(
    rollout: Rollout, decision: Decision, *, config: DeploymentConfig, now: datetime
) -> Decision:
    """Say that it holds once, alert once when it has held for long, and else stay."""
    if rollout.holding_since is None:
        return decision
    has_waited = now - rollout.holding_since >= timedelta(minutes=config.alert_after_minutes)
    move = "alert" if has_waited and not rollout.has_alerted else "stay"
    return replace(decision, move=move)
