"""What a person, or a run on a person's behalf, does to a rollout: start, promote, roll back."""

from datetime import UTC, datetime

from llm_assets.deployment.decision import Decision
from llm_assets.deployment.registry import Rollout
from llm_assets.deployment.rollout import start_rollout
from llm_assets.deployment.steps import steps_of
from llm_assets.errors import UserError
from llm_assets.evaluation.gate import gate
from llm_assets.evaluation.report import EvalReport
from llm_assets.installation import Installation
from llm_assets.manifest import application_of
from llm_assets.rollouts.carry_out import carry_out


def start(
    installation: Installation,
    version: str,
    *,
    reason: str | None,
    run_id: str | None = None,
    is_again: bool = False,
) -> None:
    """Start the rollout of a version that its gate passed; the loop of `llm-assets up` goes on.

    Raises:
        UserError: as `deployment.rollout.start_rollout`.
    """
    name = application_of(version)
    application = installation.application(name)
    report = EvalReport.read(installation.report(version))
    passed = f"gate passed: {report.difference:+.3f} over {report.champion.model_version}"
    start_rollout(
        name,
        version,
        verdict=gate(report, config=application.evaluation),
        registry=installation.registry,
        steps=steps_of(application.deployment),
        time=datetime.now(UTC),
        reason=passed if reason is None else f"{reason} ({passed})",
        run_id=run_id,
        is_again=is_again,
    )


def promote(installation: Installation, application: str, *, reason: str) -> str:
    """Make the challenger on trial the champion now, and return it.

    Raises:
        UserError: no rollout runs.
    """
    rollout = installation.registry.entry(application).rollout
    if rollout is None:
        raise UserError(f"application {application!r}: no rollout runs; there is nobody to promote")
    _end(installation, application, rollout, Decision(move="promote", reason=reason))
    return rollout.challenger


def roll_back(installation: Installation, application: str, *, reason: str) -> str:
    """End the rollout in progress, or take the last promotion back; return who serves then.

    Raises:
        UserError: no rollout runs, and there is no earlier champion.
    """
    registry = installation.registry
    entry = registry.entry(application)
    if entry.rollout is None:
        return registry.roll_back(application, time=datetime.now(UTC), reason=reason)
    _end(installation, application, entry.rollout, Decision(move="reject", reason=reason))
    assert entry.champion is not None
    return entry.champion


def _end(
    installation: Installation, application: str, rollout: Rollout, decision: Decision
) -> None:
    if not carry_out(installation, application, rollout, decision, now=datetime.now(UTC)):
        raise UserError(f"{rollout.challenger}: the rollout went on meanwhile; look again")
