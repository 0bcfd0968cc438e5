"""Starting a rollout: the gate's verdict is looked at once more, whoever asks.

What happens from then on is decided in `decision`, from evidence, and kept in `registry`.
"""

from datetime import datetime
from typing import Protocol

from llm_assets.deployment.registry import Registry
from llm_assets.deployment.steps import Step
from llm_assets.errors import UserError


class Verdict(Protocol):
    """What the gate said of a candidate; `passed` is None where the gate never ran."""

    @property
    def passed(self) -> bool | None:
        """Whether the candidate may be deployed."""
        ...


def start_rollout(
    application: str,
    version: str,
    *,
    verdict: Verdict | None,
    registry: Registry,
    steps: tuple[Step, ...],
    time: datetime,
    reason: str,
    run_id: str | None = None,
    is_again: bool = False,
) -> None:
    """Start the rollout of a registered candidate that its gate passed.

    Raises:
        UserError: the gate did not pass it, or never saw it; or as `Registry.begin`. Nothing was
            changed.
    """
    require_passed(version, verdict)
    registry.begin(
        application,
        version,
        steps=steps,
        time=time,
        reason=reason,
        run_id=run_id,
        is_again=is_again,
    )


def require_passed(version: str, verdict: Verdict | None) -> None:
    """Check the gate's verdict.

    Raises:
        UserError: it is missing or failed.
    """
    if verdict is None or verdict.passed is None:
        raise UserError(f"{version}: the gate has not passed it: there is no verdict")
    if verdict.passed is not True:
        raise UserError(f"{version}: the gate refused it")
