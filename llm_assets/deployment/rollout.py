"""Deploying a candidate: check its verdict once more, promote it, and see that it serves.

Today this is one switch from the champion to the candidate; there is no trial on a share of the
traffic in between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from llm_assets.deployment.registry import Registry
from llm_assets.errors import UserError

_POLL_SECONDS = 0.2


class Verdict(Protocol):
    """What the gate said of a candidate; `passed` is None where the gate never ran."""

    @property
    def passed(self) -> bool | None:
        """Whether the candidate may be deployed."""
        ...


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployment that succeeded; `previous` is None for the first version."""

    application: str
    model_version: str
    previous: str | None
    seconds: float


class DeploymentFailedError(RuntimeError):
    """The endpoint did not take the promoted version; the champion before it is back in charge."""


def deploy(
    application: str,
    version: str,
    *,
    verdict: Verdict | None,
    registry: Registry,
    probe: Callable[[], str | None],
    clock: Callable[[], datetime],
    sleep: Callable[[float], None],
    timeout_seconds: float,
    reason: str,
    run_id: str | None,
) -> Deployment:
    """Promote a registered candidate and wait until the endpoint answers with it.

    `probe` returns the model version that the endpoint answers with now, or None while it does not
    answer.

    Raises:
        UserError: the gate did not pass the candidate, or never saw it; nothing was changed.
        DeploymentFailedError: the endpoint did not answer with it in time; it was rolled back.
    """
    require_passed(version, verdict)
    start, previous = clock(), registry.champion(application)
    registry.promote(application, version, time=start.astimezone(UTC), reason=reason, run_id=run_id)
    answered = probe()
    while answered != version:
        seconds = (clock() - start).total_seconds()
        if seconds >= timeout_seconds:
            failure = f"{version} did not serve within {timeout_seconds:g} s; "
            failure += f"the endpoint answers with {answered or 'nothing'}"
            if previous not in (None, version):
                now = clock().astimezone(UTC)
                registry.roll_back(application, time=now, reason=failure, run_id=run_id)
                failure += f"; rolled back to {previous}"
            raise DeploymentFailedError(failure)
        sleep(_POLL_SECONDS)
        answered = probe()
    return Deployment(
        application=application,
        model_version=version,
        previous=previous,
        seconds=(clock() - start).total_seconds(),
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
